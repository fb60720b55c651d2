//! Who has a card open: walks `/proc`, and turns two walks into how busy each kept the card.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::fdinfo::{self, Client, Engine};
use super::list;
use crate::card::{PciAddress, Why};
use crate::files;
use crate::sample::{Counted, Load, Process, Processes};

/// Looking through every process costs tens of milliseconds of a busy desktop, so newcomers are found this often only; those
/// known are read every time.
const NEWCOMERS_EVERY: Duration = Duration::from_secs(4);

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Open files of cards: process and number of the file.
    places: Vec<(u32, String)>,
    clients: Vec<(u32, Client)>,
    names: BTreeMap<u32, String>,
    /// Whether nothing was hidden from us.
    complete: bool,
}

/// Walks. `known`: only these places, and the rest as the last walk had it.
pub(crate) fn walk(proc: &Path, known: Option<(Vec<(u32, String)>, bool)>) -> Walk {
    let mut found = Walk::default();
    (found.places, found.complete) = known.unwrap_or_else(|| places(proc));
    let mut seen = BTreeSet::new();
    for (pid, file) in &found.places {
        match files::text(&proc.join(format!("{pid}/fdinfo/{file}"))) {
            Ok(text) => match fdinfo::client(&text) {
                Some(client) => {
                    if seen.insert((client.card, client.number)) {
                        found.clients.push((*pid, client));
                    }
                }
                // A card is open here, but the driver does not say what for.
                None => found.complete = false,
            },
            // It was closed meanwhile.
            Err(Why::NotTold) => {}
            Err(_) => found.complete = false,
        }
    }
    for (pid, _) in &found.clients {
        if let Some(name) = name(proc, *pid) {
            found.names.insert(*pid, name);
        }
    }
    found
}

/// The short name of a process.
pub(crate) fn name(proc: &Path, pid: u32) -> Option<String> {
    crate::parse::line(&files::text(&proc.join(format!("{pid}/comm"))).ok()?).ok()
}

fn places(proc: &Path) -> (Vec<(u32, String)>, bool) {
    let mut places = Vec::new();
    let mut complete = true;
    let Ok(names) = list(proc) else { return (places, false) };
    let mut pids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let folder = proc.join(format!("{pid}/fd"));
        match list(&folder) {
            Ok(open) => {
                for file in open {
                    if std::fs::read_link(folder.join(&file)).is_ok_and(|at| at.starts_with("/dev/dri")) {
                        places.push((pid, file));
                    }
                }
            }
            Err(Why::NotTold) => {}
            Err(_) => complete = false,
        }
    }
    (places, complete)
}

/// The last walk, to compare the next with.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: BTreeMap<(PciAddress, u64), BTreeMap<String, Engine>>,
    at: Option<Instant>,
    places: Vec<(u32, String)>,
    complete: bool,
    all_at: Option<Instant>,
    /// By card.
    pub(crate) users: BTreeMap<PciAddress, Users>,
    walked: bool,
}

/// What one process uses of one card.
#[derive(Debug, Default)]
struct Used {
    memory: Option<u64>,
    /// By kind of engine, 0 to 1.
    shares: BTreeMap<String, f64>,
}

/// Who uses one card.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Users {
    pub(crate) processes: Vec<Process>,
    /// `None` on the first walk.
    pub(crate) percent: Option<f32>,
}

impl Clients {
    /// What [`walk`] is to look at now.
    pub(crate) fn next(&self, now: Instant) -> Option<(Vec<(u32, String)>, bool)> {
        let is_due = self.all_at.is_none_or(|at| now.saturating_duration_since(at) >= NEWCOMERS_EVERY);
        (!is_due).then(|| (self.places.clone(), self.complete))
    }

    /// Takes a walk, or that there was none.
    pub(crate) fn take(&mut self, walk: Option<Walk>, was_for_all: bool, now: Instant, ours: &BTreeSet<u32>) {
        self.users.clear();
        self.walked = walk.is_some();
        let Some(walk) = walk else { return };
        if was_for_all {
            self.all_at = Some(now);
        }
        let elapsed =
            self.at.map(|at| now.saturating_duration_since(at).as_nanos() as f64).filter(|nanos| *nanos > 0.0);
        let mut busy: BTreeMap<PciAddress, BTreeMap<String, f64>> = BTreeMap::new();
        let mut per_process: BTreeMap<(PciAddress, u32), Used> = BTreeMap::new();
        for (pid, client) in &walk.clients {
            let before = self.last.get(&(client.card, client.number));
            let own = per_process.entry((client.card, *pid)).or_default();
            if let Some(bytes) = client.memory {
                own.memory = Some(own.memory.unwrap_or(0).saturating_add(bytes));
            }
            for (name, engine) in &client.engines {
                // A newcomer's first reading says nothing of now.
                let Some(share) = before.and_then(|before| share(*before.get(name)?, *engine, elapsed?)) else {
                    continue;
                };
                *own.shares.entry(name.clone()).or_default() += share;
                *busy.entry(client.card).or_default().entry(name.clone()).or_default() += share;
            }
        }
        for ((card, pid), Used { memory, shares }) in per_process {
            let users = self.users.entry(card).or_default();
            let load = elapsed.and_then(|_| busiest(&shares));
            users.processes.push(Process {
                pid,
                name: walk.names.get(&pid).cloned(),
                memory,
                load,
                ours: ours.contains(&pid),
            });
        }
        for (card, users) in &mut self.users {
            users.percent = elapsed.and_then(|_| busiest(busy.get(card)?));
        }
        self.last =
            walk.clients.into_iter().map(|(_, client)| ((client.card, client.number), client.engines)).collect();
        self.at = Some(now);
        self.places = walk.places;
        self.complete = walk.complete;
    }

    /// Who uses this card. `tells`: its driver is known to say so, hence nobody seen means nobody.
    pub(crate) fn processes(&self, card: PciAddress, tells: bool) -> Result<Processes, Why> {
        match self.users.get(&card) {
            _ if !self.walked => Err(Why::Unresponsive),
            Some(users) => Ok(Processes { seen: users.processes.clone(), complete: self.complete }),
            None if tells => Ok(Processes { seen: Vec::new(), complete: self.complete }),
            None => Err(Why::NotTold),
        }
    }

    /// How busy they keep it together. `tells` as for [`Self::processes`].
    pub(crate) fn load(&self, card: PciAddress, tells: bool) -> Result<Load, Why> {
        match self.users.get(&card) {
            _ if !self.walked => Err(Why::Unresponsive),
            Some(Users { percent: Some(percent), .. }) => {
                let counted = if self.complete { Counted::Card } else { Counted::VisibleProcesses };
                Ok(Load { percent: *percent, counted })
            }
            Some(_) => Err(Why::FirstReading),
            None if !tells => Err(Why::NotTold),
            None if self.complete => Ok(Load { percent: 0.0, counted: Counted::Card }),
            // Others may use it that we must not see: "at least 0" is no reading.
            None => Err(Why::Refused),
        }
    }
}

/// What part of its kind of engine a client kept busy between two readings, 0 to 1.
fn share(before: Engine, now: Engine, elapsed_nanos: f64) -> Option<f64> {
    let busy = now.busy.checked_sub(before.busy)? as f64;
    let passed = match (before.total, now.total) {
        (Some(before), Some(now)) => now.checked_sub(before)? as f64,
        (None, None) => elapsed_nanos,
        _ => return None,
    };
    (passed > 0.0).then(|| busy / (passed * f64::from(now.capacity)))
}

/// A card is as busy as its busiest kind of engine: one that plays a film on its decoder is not idle.
fn busiest(shares: &BTreeMap<String, f64>) -> Option<f32> {
    let most = shares
        .values()
        .copied()
        .fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share))));
    most.map(|share| ((share * 1000.0).round() / 10.0).clamp(0.0, 100.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64, gfx: u64, memory: u64) -> Client {
        Client {
            card: "0000:03:00.0".parse().unwrap(),
            number,
            memory: Some(memory),
            engines: [("gfx".to_owned(), Engine { busy: gfx, total: None, capacity: 1 })].into(),
        }
    }

    fn walk_of(clients: Vec<(u32, Client)>, complete: bool) -> Walk {
        Walk { places: Vec::new(), clients, names: BTreeMap::new(), complete }
    }

    #[test]
    fn two_walks_say_how_busy_and_a_first_reading_does_not_count() {
        let card = "0000:03:00.0".parse().unwrap();
        let (start, ours) = (Instant::now(), [7].into());
        let mut clients = Clients::default();
        clients.take(
            Some(walk_of(vec![(7, client(1, 1_000, 10)), (9, client(2, 5_000, 20))], true)),
            true,
            start,
            &ours,
        );
        assert_eq!(clients.load(card, true), Err(Why::FirstReading));
        let later = start + Duration::from_micros(10);
        let newcomer = (11, client(3, 900_000_000, 1));
        clients.take(
            Some(walk_of(vec![(7, client(1, 3_500, 10)), (9, client(2, 6_000, 20)), newcomer], false)),
            true,
            later,
            &ours,
        );
        assert_eq!(clients.load(card, true), Ok(Load { percent: 35.0, counted: Counted::VisibleProcesses }));
        let processes = clients.processes(card, true).unwrap();
        let seen: Vec<_> = processes.seen.iter().map(|one| (one.pid, one.load, one.ours)).collect();
        assert_eq!(seen, [(7, Some(25.0), true), (9, Some(10.0), false), (11, None, false)]);
    }

    #[test]
    fn a_counter_that_falls_or_time_that_stands_still_is_no_load() {
        let card = "0000:03:00.0".parse().unwrap();
        let start = Instant::now();
        let mut clients = Clients::default();
        clients.take(Some(walk_of(vec![(7, client(1, u64::MAX, 10))], true)), true, start, &BTreeSet::new());
        clients.take(Some(walk_of(vec![(7, client(1, 3, 10))], true)), true, start, &BTreeSet::new());
        assert_eq!(clients.load(card, true), Err(Why::FirstReading));
        clients.take(
            Some(walk_of(vec![(7, client(1, 2, 10))], true)),
            true,
            start + Duration::from_secs(1),
            &BTreeSet::new(),
        );
        assert_eq!(clients.load(card, true), Err(Why::FirstReading));
    }

    #[test]
    fn nobody_seen_is_nobody_only_where_the_driver_would_tell() {
        let card = "0000:03:00.0".parse().unwrap();
        let mut clients = Clients::default();
        assert_eq!(clients.processes(card, true), Err(Why::Unresponsive));
        clients.take(Some(walk_of(Vec::new(), true)), true, Instant::now(), &BTreeSet::new());
        assert_eq!(clients.processes(card, true), Ok(Processes { seen: Vec::new(), complete: true }));
        assert_eq!(clients.processes(card, false), Err(Why::NotTold));
        assert_eq!(clients.load(card, true), Ok(Load { percent: 0.0, counted: Counted::Card }));
        clients.take(Some(walk_of(Vec::new(), false)), true, Instant::now(), &BTreeSet::new());
        assert_eq!(clients.load(card, true), Err(Why::Refused));
    }
}
