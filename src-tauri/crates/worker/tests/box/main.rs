//! The battery: what somebody tries who runs code of their own in the real worker program, and what the box lets them do.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::print_stdout, reason = "a test says what it skipped")]
#![allow(clippy::cast_lossless, reason = "what a system call takes is a word, whatever it began as")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

/// What is tried.
mod attempts;

/// The whole list, at every moment, and the table made of it.
mod battery;

/// What the kernel says of the walls.
mod walls;

/// A kernel that refuses a part of them.
mod refusals;

/// A worker that was taken over.
mod taken;
