//! The client of the toncenter v2 HTTP API.
