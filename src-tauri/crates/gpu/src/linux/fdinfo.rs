//! What a driver says of one open file of a card: `/proc/PID/fdinfo/N`. The keys are the kernel's (`drm-usage-stats`).

use std::collections::BTreeMap;

use crate::card::PciAddress;

/// Most engines of one client that are kept.
const MOST_ENGINES: usize = 64;

/// One user of a card. Several open files, even of several processes, can be one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) card: PciAddress,
    pub(crate) number: u64,
    /// Bytes of the card's own memory; where the card has none, of the machine's.
    pub(crate) memory: Option<u64>,
    pub(crate) engines: BTreeMap<String, Engine>,
}

/// How long a client kept one kind of engine busy since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Engine {
    /// Nanoseconds; where `total` is known, cycles.
    pub(crate) busy: u64,
    /// Cycles that passed.
    pub(crate) total: Option<u64>,
    /// How many engines of the kind there are, at least 1.
    pub(crate) capacity: u32,
}

/// `None`: not an open file of a card on the PCI bus, or a kernel from before these keys.
pub(crate) fn client(text: &str) -> Option<Client> {
    let mut card = None;
    let mut number = None;
    let (mut own, mut machine) = (Memory::default(), Memory::default());
    let (mut times, mut cycles, mut totals) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut capacities = BTreeMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let Some(key) = key.trim().strip_prefix("drm-") else { continue };
        let value = value.trim();
        // The longer prefixes first: `engine-capacity-x` is no engine called `capacity-x`.
        if key == "pdev" {
            card = value.parse().ok();
        } else if key == "client-id" {
            number = value.parse().ok();
        } else if let Some(engine) = key.strip_prefix("engine-capacity-") {
            put(&mut capacities, engine, value);
        } else if let Some(engine) = key.strip_prefix("engine-") {
            put(&mut times, engine, value.trim_end_matches("ns").trim_end());
        } else if let Some(engine) = key.strip_prefix("total-cycles-") {
            put(&mut totals, engine, value);
        } else if let Some(engine) = key.strip_prefix("cycles-") {
            put(&mut cycles, engine, value);
        } else if let Some((measure, region)) = key.split_once('-')
            && let Some(bytes) = bytes(value)
        {
            let is_own = region.starts_with("vram") || region.starts_with("local");
            let memory = if is_own { &mut own } else { &mut machine };
            match measure {
                "resident" => memory.resident = Some(memory.resident.unwrap_or(0).saturating_add(bytes)),
                // amdgpu's older word for what is resident.
                "memory" => memory.older = Some(memory.older.unwrap_or(0).saturating_add(bytes)),
                _ => {}
            }
        }
    }
    let mut engines = BTreeMap::new();
    for (name, busy) in cycles {
        // Cycles without their total are no measure of anything.
        if let Some(total) = totals.get(&name) {
            engines.insert(name, (busy, Some(*total)));
        }
    }
    for (name, busy) in times {
        engines.entry(name).or_insert((busy, None));
    }
    let engines = engines
        .into_iter()
        .map(|(name, (busy, total))| {
            let capacity = capacities.get(&name).copied().and_then(|count: u64| u32::try_from(count).ok()).unwrap_or(1);
            (name, Engine { busy, total, capacity: capacity.max(1) })
        })
        .collect();
    Some(Client { card: card?, number: number?, memory: own.known().or_else(|| machine.known()), engines })
}

#[derive(Debug, Default)]
struct Memory {
    resident: Option<u64>,
    older: Option<u64>,
}

impl Memory {
    fn known(&self) -> Option<u64> {
        self.resident.or(self.older)
    }
}

fn put(engines: &mut BTreeMap<String, u64>, name: &str, value: &str) {
    if let Ok(value) = value.parse()
        && engines.len() < MOST_ENGINES
    {
        engines.insert(name.to_owned(), value);
    }
}

/// `123 KiB`, `4 MiB` or plain bytes.
fn bytes(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amdgpu_counts_nanoseconds_and_kibibytes() {
        let client = client(
            "pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-client-id:\t57\ndrm-pdev:\t0000:03:00.0\n\
             drm-memory-vram:\t1048576 KiB\ndrm-memory-gtt: \t2048 KiB\ndrm-engine-gfx:\t1234 ns\ndrm-engine-dec:\t7 ns\n",
        )
        .unwrap();
        assert_eq!((client.number, client.memory), (57, Some(1 << 30)));
        assert_eq!(client.engines["gfx"], Engine { busy: 1234, total: None, capacity: 1 });
    }

    #[test]
    fn xe_counts_cycles_of_how_many_engines() {
        let client = client(
            "drm-client-id: 3\ndrm-pdev: 0000:03:00.0\ndrm-resident-vram0: 23992 KiB\ndrm-total-vram0: 1 MiB\n\
             drm-resident-gtt: 192 KiB\ndrm-cycles-ccs: 50\ndrm-total-cycles-ccs: 100\ndrm-engine-capacity-ccs: 4\n\
             drm-cycles-rcs: 9\n",
        )
        .unwrap();
        assert_eq!(client.memory, Some(23_992 << 10));
        assert_eq!(client.engines.len(), 1, "cycles without a total are no engine");
        assert_eq!(client.engines["ccs"], Engine { busy: 50, total: Some(100), capacity: 4 });
    }

    #[test]
    fn a_card_without_memory_of_its_own_counts_the_machines() {
        let client = client("drm-client-id: 3\ndrm-pdev: 0000:00:02.0\ndrm-resident-system0: 10 MiB\ndrm-resident-stolen-system0: 1 KiB\n")
            .unwrap();
        assert_eq!(client.memory, Some((10 << 20) + 1024));
    }

    #[test]
    fn what_names_no_card_is_no_client() {
        assert_eq!(client(""), None);
        assert_eq!(client("pos:\t0\nflags:\t02\n"), None);
        assert_eq!(client("drm-client-id: 3\ndrm-pdev: platform\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            text in "(drm-(pdev|client-id|engine-|cycles-|total-cycles-|engine-capacity-|resident-vram|memory-)?[a-z0-9]{0,3}: ?[0-9a-f:.]{0,21}( ns| KiB| MiB)?\n|.{0,9}){0,20}"
        ) {
            let _ = client(&text);
        }
    }
}
