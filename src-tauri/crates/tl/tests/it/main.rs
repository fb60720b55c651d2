//! Outside tests of `tl`. This binary counts what it allocates, thread by thread.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

// What bytes from outside can do: cut, flipped and lying objects.
mod hostile;
