//! The performance counters of graphics, the same that Task Manager shows: every maker's cards, every process.
#![expect(unsafe_code, reason = "the counters' library is C")]

use std::collections::{BTreeMap, BTreeSet};

use windows::Win32::System::Performance::{
    PDH_CSTATUS_NEW_DATA, PDH_CSTATUS_VALID_DATA, PDH_FMT, PDH_FMT_COUNTERVALUE_ITEM_W, PDH_FMT_DOUBLE, PDH_FMT_LARGE,
    PDH_HCOUNTER, PDH_HQUERY, PDH_MORE_DATA, PdhAddEnglishCounterW, PdhCloseQuery, PdhCollectQueryData,
    PdhGetFormattedCounterArrayW, PdhOpenQueryW,
};
use windows::core::{PCWSTR, w};

use crate::instances::instance;

/// Most bytes of one counter's instances that are taken: tens of thousands.
const MOST_BYTES: u32 = 16 << 20;

type Halves = (u32, u32);

/// One collection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Loads are differences; the first collection has none.
    pub(super) is_first: bool,
    /// Bytes of a card's own memory in use, by card.
    pub(super) card_memory: BTreeMap<Halves, u64>,
    /// Bytes of the machine's memory in use for a card.
    pub(super) card_shared: BTreeMap<Halves, u64>,
    process_memory: BTreeMap<(Halves, u32), u64>,
    /// Percent by card, engine and process.
    engines: Vec<(Halves, u32, u32, f64)>,
}

impl Counts {
    /// All processes seen.
    pub(super) fn pids(&self) -> BTreeSet<u32> {
        let by_memory = self.process_memory.keys().map(|(_, pid)| *pid);
        by_memory.chain(self.engines.iter().map(|(_, _, pid, _)| *pid)).collect()
    }

    /// A card is as busy as its busiest engine.
    pub(super) fn card_load(&self, luid: Halves) -> Option<f32> {
        busiest(self.engines.iter().filter(|(of, ..)| *of == luid))
    }

    /// Number, bytes and load of each process on a card.
    pub(super) fn processes(&self, luid: Halves) -> Vec<(u32, Option<u64>, Option<f32>)> {
        let on_card = |of: &Halves| *of == luid;
        // Number 0 counts what belongs to nobody.
        let pids: BTreeSet<u32> =
            self.process_memory.keys().filter(|(of, _)| on_card(of)).map(|(_, pid)| *pid).collect();
        pids.into_iter()
            .filter(|pid| *pid != 0)
            .map(|pid| {
                let load = busiest(self.engines.iter().filter(|(of, _, by, _)| on_card(of) && *by == pid));
                (pid, self.process_memory.get(&(luid, pid)).copied(), load)
            })
            .collect()
    }
}

fn busiest<'a>(engines: impl Iterator<Item = &'a (Halves, u32, u32, f64)>) -> Option<f32> {
    let mut by_engine: BTreeMap<u32, f64> = BTreeMap::new();
    for (_, engine, _, percent) in engines {
        *by_engine.entry(*engine).or_default() += percent;
    }
    let most = by_engine.into_values().fold(None, |most: Option<f64>, it| Some(most.map_or(it, |most| most.max(it))));
    most.map(|percent| percent.clamp(0.0, 100.0) as f32)
}

/// The open counters.
#[derive(Debug)]
pub(super) struct Counters {
    query: PDH_HQUERY,
    card_memory: PDH_HCOUNTER,
    card_shared: PDH_HCOUNTER,
    process_memory: PDH_HCOUNTER,
    engines: PDH_HCOUNTER,
    is_first: bool,
}

// SAFETY: PDH's handles are not bound to the thread that made them, and `Counters` is used by one thread at a time: whoever
// collects owns it.
unsafe impl Send for Counters {}

impl Counters {
    /// `None`: this Windows has no such counters (before 10, version 1709), or no counters at all.
    pub(super) fn open() -> Option<Self> {
        let mut query = PDH_HQUERY::default();
        // SAFETY: `query` is written to and outlives the call; no data source means the live one.
        if unsafe { PdhOpenQueryW(PCWSTR::null(), 0, &raw mut query) } != 0 {
            return None;
        }
        let mut counters = Self {
            query,
            card_memory: PDH_HCOUNTER::default(),
            card_shared: PDH_HCOUNTER::default(),
            process_memory: PDH_HCOUNTER::default(),
            engines: PDH_HCOUNTER::default(),
            is_first: true,
        };
        let wanted = [
            (w!(r"\GPU Adapter Memory(*)\Dedicated Usage"), &raw mut counters.card_memory),
            (w!(r"\GPU Adapter Memory(*)\Shared Usage"), &raw mut counters.card_shared),
            (w!(r"\GPU Process Memory(*)\Dedicated Usage"), &raw mut counters.process_memory),
            (w!(r"\GPU Engine(*)\Utilization Percentage"), &raw mut counters.engines),
        ];
        for (path, counter) in wanted {
            // SAFETY: the query is open, the path ends in a zero, and `counter` points into `counters`, which is not moved
            // meanwhile.
            if unsafe { PdhAddEnglishCounterW(query, path, 0, counter) } != 0 {
                return None;
            }
        }
        Some(counters)
    }

    /// Takes all counters at one time.
    pub(super) fn collect(&mut self) -> Option<Counts> {
        // SAFETY: the query is open as long as `self` lives.
        if unsafe { PdhCollectQueryData(self.query) } != 0 {
            return None;
        }
        let mut counts = Counts { is_first: self.is_first, ..Counts::default() };
        for (name, bytes) in self.bytes(self.card_memory) {
            if let Some(found) = instance(&name).filter(|found| found.pid.is_none()) {
                *counts.card_memory.entry(found.luid).or_default() += bytes;
            }
        }
        for (name, bytes) in self.bytes(self.card_shared) {
            if let Some(found) = instance(&name).filter(|found| found.pid.is_none()) {
                *counts.card_shared.entry(found.luid).or_default() += bytes;
            }
        }
        for (name, bytes) in self.bytes(self.process_memory) {
            if let Some(found) = instance(&name)
                && let Some(pid) = found.pid
            {
                *counts.process_memory.entry((found.luid, pid)).or_default() += bytes;
            }
        }
        if !self.is_first {
            for (name, percent) in self.percents(self.engines) {
                if let Some(found) = instance(&name)
                    && let (Some(pid), Some((engine, _))) = (found.pid, found.engine)
                {
                    counts.engines.push((found.luid, engine, pid, percent));
                }
            }
        }
        self.is_first = false;
        Some(counts)
    }

    fn bytes(&self, counter: PDH_HCOUNTER) -> Vec<(String, u64)> {
        let values = array(counter, PDH_FMT_LARGE, |item| {
            // SAFETY: `PDH_FMT_LARGE` was asked for, so this is the field that was written.
            unsafe { item.FmtValue.Anonymous.largeValue }
        });
        values.into_iter().filter_map(|(name, bytes)| Some((name, u64::try_from(bytes).ok()?))).collect()
    }

    fn percents(&self, counter: PDH_HCOUNTER) -> Vec<(String, f64)> {
        let values = array(counter, PDH_FMT_DOUBLE, |item| {
            // SAFETY: `PDH_FMT_DOUBLE` was asked for, so this is the field that was written.
            unsafe { item.FmtValue.Anonymous.doubleValue }
        });
        values.into_iter().filter(|(_, percent)| percent.is_finite() && *percent >= 0.0).collect()
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the query was opened by us and is closed once; its counters go with it.
        unsafe { PdhCloseQuery(self.query) };
    }
}

/// All instances of a counter that have a valid value.
fn array<T>(
    counter: PDH_HCOUNTER,
    format: PDH_FMT,
    value: impl Fn(&PDH_FMT_COUNTERVALUE_ITEM_W) -> T,
) -> Vec<(String, T)> {
    let (mut bytes, mut count) = (0_u32, 0_u32);
    // SAFETY: without a buffer the call only says how large it must be.
    let status = unsafe { PdhGetFormattedCounterArrayW(counter, format, &raw mut bytes, &raw mut count, None) };
    if status != PDH_MORE_DATA || bytes == 0 || bytes > MOST_BYTES {
        return Vec::new();
    }
    // The items stand at the start, their names behind them in the same buffer. Counted in items, so that it is aligned.
    let item_size = size_of::<PDH_FMT_COUNTERVALUE_ITEM_W>();
    let capacity = (bytes as usize).div_ceil(item_size);
    let mut buffer = vec![PDH_FMT_COUNTERVALUE_ITEM_W::default(); capacity];
    let mut bytes = (capacity * item_size) as u32;
    // SAFETY: the buffer is as long as `bytes` says and aligned for its items.
    let status = unsafe {
        PdhGetFormattedCounterArrayW(counter, format, &raw mut bytes, &raw mut count, Some(buffer.as_mut_ptr()))
    };
    if status != 0 {
        return Vec::new();
    }
    let valid = |item: &&PDH_FMT_COUNTERVALUE_ITEM_W| {
        matches!(item.FmtValue.CStatus, PDH_CSTATUS_VALID_DATA | PDH_CSTATUS_NEW_DATA) && !item.szName.is_null()
    };
    buffer
        .iter()
        .take(count as usize)
        .filter(valid)
        .filter_map(|item| {
            // SAFETY: the name is a text ending in zero inside `buffer`, which is alive.
            let name = unsafe { item.szName.to_string() }.ok()?;
            Some((name, value(item)))
        })
        .collect()
}
