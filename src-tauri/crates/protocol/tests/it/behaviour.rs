//! Refusals with their codes, and what we do differently from the genuine programs.

/// A machine and a registrar, against each other and against liars.
mod of_enrolment;
/// Questions for evidence, and workers that get no jobs without it.
mod of_evidence;
/// The client's session against a proxy written by hand.
mod of_the_client;
/// The layer that all three share.
mod of_the_connection;
/// The core against workers and clients written by hand.
mod of_the_proxy;
/// The worker's session against a proxy written by hand.
mod of_the_worker;
/// The core on a chain: who is let in, and for how much.
mod on_a_chain;
