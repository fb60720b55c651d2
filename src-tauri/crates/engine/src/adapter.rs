//! Which graphics card a model runs on, and why: a pure choice from a list.

/// What kind of card it is, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Part of the processor, in its memory.
    Integrated,
    /// A share of another machine's card.
    Virtual,
    /// The driver does not say.
    Other,
    /// No card: the processor computes what a card would.
    Software,
}

impl AdapterKind {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        }
    }
}

/// A graphics card as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The driver's name of it.
    pub name: String,
    /// The driver and its version.
    pub driver: String,
    /// `Vulkan`, `DX12` or `CUDA`: a card may be there once for each.
    pub api: &'static str,
    /// What kind of card it is.
    pub kind: AdapterKind,
    /// PCI number of whoever made it, 0 if unknown.
    pub vendor: u32,
    /// PCI number of the product, if the driver says.
    pub device: Option<u32>,
    /// Where it is plugged in, as `0000:01:00.0`, if the driver says.
    pub pci: Option<String>,
    /// The most bytes that a kernel can see of one buffer. Larger tensors are split.
    pub binding_bytes: u64,
    /// The most bytes of one buffer.
    pub buffer_bytes: u64,
    /// Arithmetic with 16-bit floats.
    pub half_floats: bool,
    /// Threads that compute in step, least and most; `None` where kernels cannot use that.
    pub subgroup: Option<(u32, u32)>,
    /// Side of the square matrices of 16-bit floats, 8 or 16, that threads which compute in step multiply together, with sums in 32 bits;
    /// `None` where kernels cannot use that.
    pub cooperative: Option<u32>,
    /// Why kernels cannot run on it, if so.
    pub unusable: Option<String>,
}

impl Adapter {
    /// Name and driver, as they are shown.
    pub fn describe(&self) -> String {
        if self.driver.is_empty() { self.name.clone() } else { format!("{}, {}", self.name, self.driver) }
    }

    /// Who made it, if that is well known.
    pub fn vendor_name(&self) -> Option<&'static str> {
        Some(match self.vendor {
            0x10de => "NVIDIA",
            0x1002 | 0x1022 => "AMD",
            0x8086 => "Intel",
            0x1414 => "Microsoft",
            0x1ae0 => "Google",
            0x5143 => "Qualcomm",
            0x10005 => "Mesa",
            _ => return None,
        })
    }
}

/// Which card the owner wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Part of its name or driver, in any case, or its number in the list; `None`: the best one.
    pub adapter: Option<String>,
    /// Whether a card may be none at all but a program.
    pub software: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { adapter: None, software: true }
    }
}

/// A card that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its number in the list.
    pub index: usize,
    /// One sentence.
    pub why: String,
}

/// Why there is none. Each says what works instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAdapter {
    /// The program was built without that.
    #[error("this program was built without support for graphics cards; --backend cpu runs the model on the processor")]
    NotBuilt,
    /// NVIDIA's driver cannot be used.
    #[error("CUDA cannot be used: {reason}; --backend wgpu takes any graphics card, --backend cpu the processor")]
    NoCuda {
        /// Why, in the driver's words or ours.
        reason: String,
    },
    /// There is no card, or no driver for it.
    #[error("no graphics card with a Vulkan or DX12 driver was found; --backend cpu runs the model on the processor")]
    None,
    /// There are only programs that play a card, and they are not allowed.
    #[error("only software adapters were found ({listed}); --backend cpu is faster than they are")]
    OnlySoftware {
        /// What there is.
        listed: String,
    },
    /// None is called so.
    #[error(
        "no graphics card is called {wanted:?}; there are: {listed}; --backend cpu runs the model on the processor"
    )]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// What there is.
        listed: String,
    },
    /// The card lacks something that kernels need.
    #[error("{adapter} cannot run the kernels: {reason}; --backend cpu runs the model on the processor")]
    Unusable {
        /// Which.
        adapter: String,
        /// What is lacking.
        reason: String,
    },
}

/// Chooses a card. Of the same kind Vulkan is preferred, because it is what the kernels were tried on, and then the first.
pub fn choose(adapters: &[Adapter], wish: &Wish) -> Result<Chosen, NoAdapter> {
    if adapters.is_empty() {
        return Err(NoAdapter::None);
    }
    if let Some(wanted) = &wish.adapter {
        return named(adapters, wanted);
    }
    let allowed = |adapter: &&Adapter| wish.software || adapter.kind != AdapterKind::Software;
    let usable = adapters.iter().filter(allowed).filter(|adapter| adapter.unusable.is_none());
    let best = usable.min_by_key(|adapter| (adapter.kind, adapter.api != "Vulkan"));
    if let Some(best) = best {
        let index = adapters.iter().position(|adapter| std::ptr::eq(adapter, best)).unwrap_or_default();
        return Ok(Chosen { index, why: why(adapters, best) });
    }
    match adapters.iter().filter(allowed).find_map(|adapter| Some((adapter, adapter.unusable.clone()?))) {
        Some((adapter, reason)) => Err(NoAdapter::Unusable { adapter: adapter.describe(), reason }),
        None => Err(NoAdapter::OnlySoftware { listed: list(adapters) }),
    }
}

fn named(adapters: &[Adapter], wanted: &str) -> Result<Chosen, NoAdapter> {
    let lower = wanted.to_lowercase();
    let number = wanted.parse::<usize>().ok().filter(|&number| number < adapters.len());
    let index = number.or_else(|| {
        let is_called = |adapter: &&Adapter| adapter.describe().to_lowercase().contains(&lower);
        // A name that fits several means the best of them.
        let best =
            adapters.iter().filter(is_called).min_by_key(|adapter| (adapter.unusable.is_some(), adapter.kind))?;
        adapters.iter().position(|adapter| std::ptr::eq(adapter, best))
    });
    let Some(index) = index else {
        return Err(NoAdapter::NotFound { wanted: wanted.to_owned(), listed: list(adapters) });
    };
    match &adapters[index].unusable {
        None => {
            let by = if number.is_some() { "its number" } else { "its name" };
            Ok(Chosen { index, why: format!("{} was asked for by {by}.", adapters[index].name) })
        }
        Some(reason) => Err(NoAdapter::Unusable { adapter: adapters[index].describe(), reason: reason.clone() }),
    }
}

fn why(adapters: &[Adapter], best: &Adapter) -> String {
    let name = &best.name;
    let others = adapters.len() - 1;
    let same = adapters.iter().filter(|adapter| adapter.kind == best.kind && adapter.unusable.is_none()).count() > 1;
    match (best.kind, others) {
        (AdapterKind::Software, 0) => {
            format!("{name} is the only adapter; it is software on the processor, and --backend cpu is faster.")
        }
        (AdapterKind::Software, _) => format!(
            "{name} was chosen although it is software, and --backend cpu is faster: there is no graphics card."
        ),
        (_, 0) => format!("{name} is the only graphics card."),
        (kind, _) if same => format!("{name} is the first of several {} cards.", kind.name()),
        (kind, _) => format!("{name} is {}, which comes before the other kinds that are here.", kind.name()),
    }
}

fn list(adapters: &[Adapter]) -> String {
    let one = |(number, adapter): (usize, &Adapter)| format!("{number}: {}", adapter.describe());
    adapters.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
}

/// The cards of this machine, in the order of their numbers. Empty where there is no driver, and in a program that was built without
/// support for graphics cards.
pub fn adapters() -> Vec<Adapter> {
    crate::wgpu::list()
}

/// NVIDIA's cards of this machine as CUDA numbers them, or in one sentence why none can be had that way.
pub fn cuda_adapters() -> Result<Vec<Adapter>, String> {
    crate::cuda::list()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: AdapterKind) -> Adapter {
        Adapter {
            name: name.to_owned(),
            driver: "Driver 1.0".to_owned(),
            api: "Vulkan",
            kind,
            vendor: 0x10de,
            device: Some(1),
            pci: None,
            binding_bytes: 1 << 31,
            buffer_bytes: 1 << 40,
            half_floats: true,
            subgroup: Some((32, 32)),
            cooperative: None,
            unusable: None,
        }
    }

    fn machine() -> Vec<Adapter> {
        vec![
            adapter("llvmpipe", AdapterKind::Software),
            adapter("Iris Xe", AdapterKind::Integrated),
            adapter("GeForce RTX 3060", AdapterKind::Discrete),
            adapter("GeForce RTX 4090", AdapterKind::Discrete),
        ]
    }

    fn wish(adapter: &str) -> Wish {
        Wish { adapter: Some(adapter.to_owned()), software: true }
    }

    #[test]
    fn the_best_kind_wins_and_of_equals_the_first() {
        let mut machine = machine();
        let mut kinds = Vec::new();
        while let Ok(chosen) = choose(&machine, &Wish::default()) {
            assert!(chosen.why.contains(&machine[chosen.index].name) && chosen.why.ends_with('.'));
            kinds.push(machine.remove(chosen.index).name);
        }
        assert_eq!(kinds, ["GeForce RTX 3060", "GeForce RTX 4090", "Iris Xe", "llvmpipe"]);
        assert_eq!(choose(&machine, &Wish::default()), Err(NoAdapter::None));
    }

    #[test]
    fn a_card_is_found_by_number_and_by_part_of_its_name() {
        let machine = machine();
        assert_eq!(choose(&machine, &wish("1")).unwrap().index, 1);
        assert_eq!(choose(&machine, &wish("rtx 4090")).unwrap().index, 3);
        assert_eq!(choose(&machine, &wish("driver 1")).unwrap().index, 2, "the best of those that fit");
        let error = choose(&machine, &wish("Radeon")).unwrap_err().to_string();
        assert!(error.contains("Radeon") && error.contains("1: Iris Xe") && error.contains("--backend cpu"), "{error}");
        assert!(choose(&machine, &wish("4")).is_ok(), "no number 4, but a name with a 4 in it");
        assert!(choose(&machine, &wish("77")).is_err());
    }

    #[test]
    fn vulkan_comes_before_dx12_on_the_same_card() {
        let mut twice = vec![adapter("Arc A770", AdapterKind::Discrete), adapter("Arc A770", AdapterKind::Discrete)];
        twice[0].api = "DX12";
        assert_eq!(choose(&twice, &Wish::default()).unwrap().index, 1);
    }

    #[test]
    fn software_can_be_forbidden_and_what_cannot_run_is_passed_over() {
        let only = [adapter("llvmpipe", AdapterKind::Software)];
        assert!(choose(&only, &Wish::default()).unwrap().why.contains("software"));
        let none = choose(&only, &Wish { adapter: None, software: false }).unwrap_err();
        assert!(matches!(&none, NoAdapter::OnlySoftware { listed } if listed.contains("llvmpipe")), "{none}");
        let mut machine = machine();
        machine[2].unusable = Some("it is too old".to_owned());
        assert_eq!(choose(&machine, &Wish::default()).unwrap().index, 3);
        let asked = choose(&machine, &wish("3060")).unwrap_err().to_string();
        assert!(asked.contains("too old") && asked.contains("--backend cpu"), "{asked}");
    }
}
