//! One helper thread, for splitting work in two.

#![expect(unsafe_code, reason = "a borrowed closure is lent to a thread that outlives it, and waited for")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

/// Runs two closures at a time; without a helper, one after the other.
pub(super) struct Pool {
    helper: Option<Helper>,
}

struct Helper {
    jobs: Option<Sender<Job>>,
    done: Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Job(&'static mut (dyn FnMut() + Send));

/// Looks for the next job this often before going to sleep: jobs follow each other within microseconds while a batch is
/// computed, and waking a sleeping thread takes longer than most of them.
const SPINS: u32 = 20_000;

impl Pool {
    /// A pool for one or two threads. If no thread is to be had, it does with one.
    pub(super) fn new(threads: usize) -> Self {
        if threads < 2 {
            return Self { helper: None };
        }
        let (jobs, inbox) = channel::<Job>();
        let (report, done) = channel();
        let run = move || {
            while let Some(job) = receive(&inbox) {
                let whole = catch_unwind(AssertUnwindSafe(|| (job.0)())).is_ok();
                if report.send(whole).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(run);
        Self { helper: thread.ok().map(|thread| Helper { jobs: Some(jobs), done, thread: Some(thread) }) }
    }

    /// Runs both closures and returns when both are through.
    pub(super) fn join(&self, here: impl FnOnce(), there: impl FnOnce() + Send) {
        let Some((helper, jobs)) = self.helper.as_ref().and_then(|helper| Some((helper, helper.jobs.as_ref()?))) else {
            here();
            there();
            return;
        };
        let mut there = Some(there);
        let mut call = || {
            if let Some(there) = there.take() {
                there();
            }
        };
        let lent: &mut (dyn FnMut() + Send) = &mut call;
        // SAFETY: the lifetime is only claimed to be static. The helper uses the closure between receiving it and reporting, and
        // `Waiting` does not let this frame end, not even by a panic of `here`, before the report is in.
        let lent: &'static mut (dyn FnMut() + Send) = unsafe { std::mem::transmute(lent) };
        if let Err(refused) = jobs.send(Job(lent)) {
            (refused.0.0)();
            here();
            return;
        }
        let waiting = Waiting(&helper.done);
        here();
        drop(waiting);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            helper.jobs = None;
            if let Some(thread) = helper.thread.take() {
                // It ends when its inbox closes; it reports its own panics with each job.
                let _ = thread.join();
            }
        }
    }
}

struct Waiting<'a>(&'a Receiver<bool>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let whole = receive(self.0).unwrap_or(false);
        assert!(whole || thread::panicking(), "the helper thread panicked");
    }
}

fn receive<T>(inbox: &Receiver<T>) -> Option<T> {
    for _ in 0..SPINS {
        match inbox.try_recv() {
            Ok(item) => return Some(item),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    inbox.recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_run_with_and_without_a_helper() {
        for threads in [1, 2] {
            let pool = Pool::new(threads);
            let mut numbers = vec![0_u64; 1000];
            for round in 1..=200 {
                let (left, right) = numbers.split_at_mut(500);
                pool.join(
                    || left.iter_mut().for_each(|number| *number += round),
                    || right.iter_mut().for_each(|number| *number += round),
                );
            }
            assert!(numbers.iter().all(|&number| number == 200 * 201 / 2));
        }
    }

    #[test]
    fn a_panic_in_either_half_comes_through_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        assert!(catch_unwind(AssertUnwindSafe(|| pool.join(|| (), || panic!("there")))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| pool.join(|| panic!("here"), || ()))).is_err());
        let mut ran = (false, false);
        pool.join(|| ran.0 = true, || ran.1 = true);
        assert_eq!(ran, (true, true));
    }
}
