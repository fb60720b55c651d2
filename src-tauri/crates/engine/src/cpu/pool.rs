//! One partner thread, for splitting work in two.

#![expect(unsafe_code, reason = "a borrowed closure is lent to a thread that outlives it, and waited for")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Runs two closures at a time; without a partner, one after the other.
pub(super) struct Pool {
    partner: Option<Partner>,
}

struct Partner {
    slot: Arc<Slot>,
    /// Says that there may be something in the slot. Dropped to end the thread.
    bell: Option<SyncSender<()>>,
    done: Mutex<Receiver<bool>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a job lies until someone takes it: the partner, or, if that has not come around to it, whoever put it there.
type Slot = Mutex<Option<Job>>;

struct Job(&'static mut (dyn FnMut() + Send));

/// Looks for the next job this often before going to sleep: jobs follow each other within microseconds while a batch is
/// computed, and waking a sleeping thread takes longer than most of them.
const SPINS: u32 = 2_000;

impl Pool {
    /// A pool for one or two threads. If no thread is to be had, it does with one.
    pub(super) fn new(threads: usize) -> Self {
        if threads < 2 {
            return Self { partner: None };
        }
        let slot = Arc::new(Slot::default());
        let (bell, rung) = sync_channel(1);
        let (report, done) = channel();
        let inbox = Arc::clone(&slot);
        let run = move || {
            while receive(&rung).is_some() {
                let Some(job) = take(&inbox) else { continue };
                let whole = catch_unwind(AssertUnwindSafe(|| (job.0)())).is_ok();
                if report.send(whole).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(run).ok();
        Self {
            partner: thread.map(|thread| Partner {
                slot,
                bell: Some(bell),
                done: Mutex::new(done),
                thread: Some(thread),
            }),
        }
    }

    /// Runs both closures and returns when both are through.
    pub(super) fn join(&self, here: impl FnOnce(), there: impl FnOnce() + Send) {
        let Some((partner, bell)) = self.partner.as_ref().and_then(|partner| Some((partner, partner.bell.as_ref()?)))
        else {
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
        // SAFETY: the lifetime is only claimed to be static. The partner uses the closure between taking it from the slot and
        // reporting, and `Waiting` does not let this frame end, not even by a panic of `here`, before the closure is back out of
        // the slot or the report is in.
        let lent: &'static mut (dyn FnMut() + Send) = unsafe { std::mem::transmute(lent) };
        *lock(&partner.slot) = Some(Job(lent));
        let waiting = Waiting(partner);
        // Full means that the bell rings already; a partner that is gone takes nothing, and then it is done here.
        let _ = bell.try_send(());
        here();
        if let Some(job) = take(&partner.slot) {
            std::mem::forget(waiting);
            (job.0)();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(partner) = &mut self.partner {
            partner.bell = None;
            if let Some(thread) = partner.thread.take() {
                // It ends when its bell is gone; it has reported its panics with the jobs they belong to.
                let _ = thread.join();
            }
        }
    }
}

/// Ends when the job is nobody's any more.
struct Waiting<'a>(&'a Partner);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if take(&self.0.slot).is_some() {
            return;
        }
        let whole = receive(&lock(&self.0.done)).unwrap_or(false);
        assert!(whole || thread::panicking(), "the partner thread panicked");
    }
}

fn take(slot: &Slot) -> Option<Job> {
    lock(slot).take()
}

/// What is locked here is whole at any time, also if someone panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn both_halves_run_with_and_without_a_partner() {
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
