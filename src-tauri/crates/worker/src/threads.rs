//! How this process starts threads.

use std::thread::{Builder, JoinHandle};

/// Stack of every thread. Named here because the standard library would otherwise ask the environment.
const STACK: usize = 4 * 1024 * 1024;

/// Starts a named thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body)
}
