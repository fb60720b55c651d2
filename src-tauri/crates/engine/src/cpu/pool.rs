//! Threads that share the items of a list between them.

#![expect(unsafe_code, reason = "a borrowed closure is lent to threads that outlive it, and waited for")]

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Runs a closure for every item of a list, on several threads at a time. Whoever is free takes the next item, so a thread that the
/// system has taken away holds nobody up but for the item it has in hand.
pub(super) struct Pool {
    shared: Arc<Shared>,
    others: Vec<Other>,
    /// Whether a list is being worked on: whoever comes to the pool meanwhile does everything alone. A cell, so that one thread at a time
    /// can have the pool.
    busy: Cell<bool>,
}

struct Other {
    asleep: Arc<AtomicBool>,
    /// Wakes it. Dropped to end it.
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads see of the work.
struct Shared {
    /// How many threads are at work (the lowest 16 bits), whether more may join ([`OPEN`]), and above that a number that grows with
    /// every list.
    gate: AtomicU64,
    work: UnsafeCell<Option<Work>>,
    panicked: AtomicBool,
}

// SAFETY: `work` is written by the owner of the pool only, while the gate is closed and nobody is inside; it is read by threads that
// came through the open gate.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in it is to a closure that is `Sync`.
unsafe impl Send for Shared {}

/// The closure that takes items until none is left.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;

/// Looks for the next list this often before going to sleep: lists follow each other within microseconds while a batch is
/// computed, and waking a sleeping thread takes longer than most of them.
const SPINS: u32 = 20_000;

impl Pool {
    /// A pool of so many threads, the one that calls included. If they are not to be had, it does with fewer.
    pub(super) fn new(threads: usize) -> Self {
        let shared =
            Arc::new(Shared { gate: AtomicU64::new(0), work: UnsafeCell::new(None), panicked: AtomicBool::new(false) });
        let start = |_| {
            let asleep = Arc::new(AtomicBool::new(false));
            let (bell, rung) = sync_channel(1);
            let (inside, flag) = (Arc::clone(&shared), Arc::clone(&asleep));
            let serve = move || inside.serve(&flag, &rung);
            let thread = thread::Builder::new().name("engine".to_owned()).spawn(serve).ok()?;
            Some(Other { asleep, bell: Some(bell), thread: Some(thread) })
        };
        // As many as the gate can count.
        let others = (1..threads.min(INSIDE as usize)).map_while(start).collect();
        Self { shared, others, busy: Cell::new(false) }
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.others.len() + 1
    }

    /// Runs `run` once for every item and returns when all are through. A thread makes itself what it needs between items with
    /// `own`.
    pub(super) fn each<T: Send, S>(
        &self,
        items: &mut [T],
        own: impl Fn() -> S + Sync,
        run: impl Fn(&mut S, &mut T) + Sync,
    ) {
        if self.others.is_empty() || items.len() < 2 || self.busy.get() {
            let mut own = own();
            for item in items {
                run(&mut own, item);
            }
            return;
        }
        let (list, count) = (Items(items.as_mut_ptr()), items.len());
        let next = AtomicUsize::new(0);
        let take = || {
            // Not its field alone, which could not be shared.
            let list = &list;
            let mut index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let mut own = own();
            while index < count {
                // SAFETY: the index is in the list, and as `next` only grows, nobody else has it.
                run(&mut own, unsafe { &mut *list.0.add(index) });
                index = next.fetch_add(1, Ordering::Relaxed);
            }
        };
        self.open(&take);
    }

    /// Runs the closure here and on whichever threads come.
    fn open(&self, take: &(dyn Fn() + Sync)) {
        // SAFETY: the lifetime is only claimed to be static. Threads use the closure between coming through the gate and leaving, and
        // `Closing` does not let this frame end, not even by a panic, before the gate is closed and all have left.
        let take: &'static (dyn Fn() + Sync) = unsafe { std::mem::transmute(take) };
        self.busy.set(true);
        self.shared.panicked.store(false, Ordering::Relaxed);
        // SAFETY: the gate is closed and nobody is inside, as `Closing` waited for both the last time; nobody else opens it meanwhile, for
        // no other thread can have the pool, and this one finds it busy.
        unsafe { *self.shared.work.get() = Some(Work(take)) };
        let before = self.shared.gate.load(Ordering::Relaxed);
        let closing = Closing(&self.shared, &self.busy);
        self.shared.gate.store(((before & !(OPEN | INSIDE)) + 2 * OPEN) | OPEN, Ordering::SeqCst);
        for other in self.others.iter().filter(|other| other.asleep.load(Ordering::SeqCst)) {
            if let Some(bell) = &other.bell {
                // Full means that it rings already.
                let _ = bell.try_send(());
            }
        }
        take();
        drop(closing);
        if self.shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a thread of the engine panicked"));
        }
    }
}

/// The start of a list whose items are taken one by one, each by one thread.
struct Items<T>(*mut T);

// SAFETY: each item is handed to one thread only, and may be sent there.
unsafe impl<T: Send> Sync for Items<T> {}

/// Closes the gate, and waits until nobody is inside.
struct Closing<'a>(&'a Shared, &'a Cell<bool>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::Relaxed);
        let mut turns = 0_u32;
        while self.0.gate.load(Ordering::Acquire) & INSIDE != 0 {
            turns += 1;
            if turns > SPINS {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        self.1.set(false);
    }
}

impl Shared {
    /// What another thread does all its life.
    fn serve(&self, asleep: &AtomicBool, rung: &Receiver<()>) {
        let mut seen = 0;
        let mut spins = 0;
        loop {
            let gate = self.gate.load(Ordering::SeqCst);
            if gate & OPEN != 0 && gate >> 17 != seen {
                if self.gate.compare_exchange_weak(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                    continue;
                }
                seen = gate >> 17;
                spins = 0;
                // SAFETY: the gate was open, so the work is set and is not changed before this thread has left.
                let work = unsafe { *self.work.get() };
                let run = || {
                    if let Some(Work(take)) = work {
                        // SAFETY: whoever opened the gate keeps the closure until this thread has left.
                        unsafe { (*take)() };
                    }
                };
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.gate.fetch_sub(1, Ordering::Release);
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                asleep.store(true, Ordering::SeqCst);
                let gate = self.gate.load(Ordering::SeqCst);
                if (gate & OPEN == 0 || gate >> 17 == seen) && rung.recv().is_err() {
                    return;
                }
                asleep.store(false, Ordering::SeqCst);
                spins = 0;
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for other in &mut self.others {
            other.bell = None;
        }
        for thread in self.others.iter_mut().filter_map(|other| other.thread.take()) {
            // Panics are caught inside.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_taken_once_with_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            let mut numbers = vec![0_u64; 100];
            for round in 1..=500 {
                pool.each(&mut numbers, || round, |round, number| *number += *round);
            }
            assert!(numbers.iter().all(|&number| number == 500 * 501 / 2));
        }
    }

    #[test]
    fn threads_that_have_gone_to_sleep_come_back() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(30));
            let (here, elsewhere) = (thread::current().id(), AtomicUsize::new(0));
            let mut items = [(); 2];
            // Neither item ends before both threads have one.
            let met = std::sync::Barrier::new(2);
            pool.each(
                &mut items,
                || (),
                |(), ()| {
                    met.wait();
                    if thread::current().id() != here {
                        elsewhere.fetch_add(1, Ordering::Relaxed);
                    }
                },
            );
            assert_eq!(elsewhere.into_inner(), 1);
        }
    }

    /// What `thread_local!` would allow without a word.
    struct Smuggled<'a>(&'a Pool);

    // SAFETY: used on the thread that has the pool only.
    unsafe impl Sync for Smuggled<'_> {}

    impl Smuggled<'_> {
        fn sum_of_doubles(&self) -> u32 {
            let mut items = [1_u32, 2, 3];
            self.0.each(&mut items, || (), |(), item| *item *= 2);
            items.iter().sum()
        }
    }

    #[test]
    fn a_list_within_a_list_is_worked_on_alone() {
        let pool = Pool::new(2);
        let (smuggled, here) = (Smuggled(&pool), thread::current().id());
        let mut sums = [0_u32; 100];
        let inner = |(): &mut (), sum: &mut u32| {
            *sum = if thread::current().id() == here { smuggled.sum_of_doubles() } else { 12 };
        };
        pool.each(&mut sums, || (), inner);
        assert_eq!(sums, [12; 100]);
    }

    #[test]
    fn a_panic_on_either_side_comes_through_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for index in 0..2 {
            let met = std::sync::Barrier::new(2);
            let mut items = [0, 1];
            let all = || {
                pool.each(
                    &mut items,
                    || (),
                    |(), item| {
                        met.wait();
                        assert!(*item != index, "on purpose");
                    },
                );
            };
            assert!(catch_unwind(AssertUnwindSafe(all)).is_err());
        }
        let mut ran = [false; 5];
        pool.each(&mut ran, || (), |(), ran| *ran = true);
        assert_eq!(ran, [true; 5]);
    }
}
