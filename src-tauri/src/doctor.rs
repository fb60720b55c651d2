//! `chrysalis doctor`: what this PC can prove today, which networks would take it, and the one thing that is missing. It looks;
//! `node::doctor` decides.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use evidence::Grade;
use gpu::{Card, Machine, Probe, Roots, Tdx};
use node::doctor::{
    Answer, CardFacts, Demand, Facts, Isolation, Missing, SecureBoot, System, Tpm, Walls, demand, examine, grades,
    stated,
};
use node::history::{History, LedgerError, Refusal, RefusedBy};
use serde_json::{Value, json};

use crate::cli::DoctorArguments;
use crate::identity;
use crate::printable;
use crate::provider::{read_network_text, unix_ms};

/// As many refusals as are told.
const MOST_REFUSALS: u32 = 64;
/// How long a security chip may take for one answer; discrete ones take seconds for a key.
const TPM_PATIENCE: Duration = Duration::from_secs(30);

/// Looks and prints.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<()> {
    // What the owner named is read first: a wrong name is no reason to wait for a chip.
    let named = arguments.network.iter().map(|path| named(path.as_path())).collect::<Result<Vec<_>>>()?;
    if let Some(data) = &arguments.data {
        if !data.is_dir() {
            bail!(
                "there is no folder {}; name the data folder that practice, headless or the window uses",
                data.display()
            );
        }
        identity::check(data)?;
    }
    let facts = look(arguments.data.as_deref());
    let networks = usual().into_iter().map(|(name, about, demand)| Asked {
        name: name.to_owned(),
        about: about.to_owned(),
        demand,
    });
    let networks: Vec<Asked> = networks.chain(named).collect();
    let refusals = arguments.data.as_deref().map(refusals).transpose()?.flatten();
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", as_object(&facts, &networks, refusals.as_deref())?)?;
    } else {
        write(&mut out, &facts, &networks)?;
        write_refusals(&mut out, refusals.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// A network that is asked about.
struct Asked {
    name: String,
    about: String,
    demand: Demand,
}

/// Networks as there are: practice, three kinds of open ones, and Cocoon's.
pub(crate) fn usual() -> [(&'static str, &'static str, Demand); 5] {
    let open = |accepted: &[Grade], secure_boot| Demand::Open {
        accepted: accepted.iter().copied().collect(),
        secure_boot,
        registrars: BTreeSet::new(),
    };
    let known = [Grade::KnownMachineUncertified, Grade::KnownMachine];
    [
        ("practice", "Practice, on this PC", Demand::Practice),
        ("open_anybody", "An open network that asks for no proof", open(&Grade::ALL, false)),
        ("open_known", "An open network that asks for a known computer", open(&known, false)),
        (
            "open_certified",
            "An open network that asks for a certified chip and Secure Boot",
            open(&[Grade::KnownMachine], true),
        ),
        ("cocoon_main", "Cocoon's main network", Demand::CocoonMain),
    ]
}

fn named(path: &Path) -> Result<Asked> {
    let text = read_network_text(path)?;
    let said = stated(&text).with_context(|| format!("the network file {}", path.display()))?;
    // A network that states nothing takes everybody.
    let demand = said.map_or_else(
        || Demand::Open { accepted: Grade::ALL.into(), secure_boot: false, registrars: BTreeSet::new() },
        |said| demand(&said),
    );
    let name = path.display().to_string();
    let about = format!("The network of {}", printable(&name));
    Ok(Asked { name, about, demand })
}

/// What there is to know about this PC, with the registrations in a data folder. Takes seconds where there is a security chip.
pub(crate) fn look(data: Option<&Path>) -> Facts {
    let roots = Roots::of_this_machine();
    let machine = Machine::read(&roots);
    let cards = Probe::new(roots).cards_and_sample(Instant::now(), &BTreeSet::new());
    let boot = tpm::system::machine();
    Facts {
        system: if cfg!(windows) {
            System::Windows
        } else if cfg!(target_os = "linux") {
            System::Linux
        } else {
            System::Other
        },
        cards: cards.iter().map(|(card, _)| card_facts(card)).collect(),
        tpm: security_chip(),
        secure_boot: match (boot.efi, boot.secure_boot) {
            (_, Some(true)) => SecureBoot::On,
            (_, Some(false)) => SecureBoot::Off,
            (Some(false), None) => SecureBoot::Impossible,
            (_, None) => SecureBoot::Unknown,
        },
        boot_log: Some(tpm::system::boot_log().is_some()),
        tdx: tdx(machine.tdx),
        sev_snp: match (boot.snp_guest, boot.snp_host) {
            (true, _) => Isolation::Guest,
            (false, Some(true)) => Isolation::Host,
            (false, Some(false)) => Isolation::Absent,
            (false, None) => Isolation::Unknown,
        },
        walls: if cfg!(target_os = "linux") { box_of(Path::new("/")) } else { Walls::Unknown },
        registered_at: data.and_then(identity::registered_at).into_iter().collect(),
    }
}

/// What the worker's box would be on a Linux with this root folder, as far as the system says without a worker.
fn box_of(root: &Path) -> Walls {
    let filters = std::fs::read_to_string(root.join("proc/sys/kernel/seccomp/actions_avail"));
    let modules = std::fs::read_to_string(root.join("sys/kernel/security/lsm"));
    match (filters.is_ok_and(|actions| actions.contains("kill_process")), modules) {
        (true, Ok(modules)) if modules.split(',').any(|module| module.trim() == "landlock") => Walls::Closed,
        // Namespaces may do what Landlock does not, and whether they are allowed shows when they are tried.
        _ => Walls::Unknown,
    }
}

fn tdx(seen: Option<Tdx>) -> Isolation {
    match seen {
        Some(Tdx::Host) => Isolation::Host,
        Some(Tdx::Guest) => Isolation::Guest,
        Some(Tdx::Absent) => Isolation::Absent,
        None => Isolation::Unknown,
    }
}

/// What matters of a card here.
pub(crate) fn card_facts(card: &Card) -> CardFacts {
    CardFacts {
        name: card.name.clone(),
        pci_vendor: card.pci.map(|pci| pci.vendor),
        pci_device: card.pci.map(|pci| pci.device),
        driver: card.driver.clone(),
        driver_version: card.driver_version.clone(),
        memory: card.vram_total,
    }
}

fn security_chip() -> Tpm {
    use evidence::registrar::{self, Certification};

    match tpm::system::presence() {
        tpm::Presence::Absent => return Tpm::Absent,
        tpm::Presence::TooOld => return Tpm::TooOld,
        tpm::Presence::NotAllowed { .. } => {
            return Tpm::Forbidden { group: cfg!(target_os = "linux").then(|| "tss".to_owned()) };
        }
        tpm::Presence::Broken { why } => return Tpm::Silent { why },
        tpm::Presence::Unknown { why } => return Tpm::Unknown { why },
        tpm::Presence::Usable => {}
    }
    let asked = || -> Result<Tpm> {
        let mut chip = tpm::system::open(None, TPM_PATIENCE)?;
        let about = chip.about()?;
        // The lifelong key stays here: it is looked at for its maker's certificate and shown to nobody.
        let seen = chip.preview().ok();
        let now = u64::try_from(unix_ms() / 1000).unwrap_or_default();
        let certificate_is_hidden = cfg!(windows) && seen.as_ref().is_some_and(|seen| seen.ek_certificate.is_none());
        let certified = seen.and_then(|request| registrar::challenge(&request, now).ok());
        let certified =
            certified.map(|(pending, _)| matches!(pending.certification(), Certification::Certified { .. }));
        // Windows shows the certificate to administrators; that it was not shown is no sign that there is none.
        Ok(Tpm::Ready { maker: Some(about.maker), certified: certified.filter(|_| !certificate_is_hidden) })
    };
    asked().unwrap_or_else(|error| Tpm::Silent { why: crate::sentence(&error) })
}

/// Who was refused while this folder served, the newest first; `None`: nothing was written down here yet.
fn refusals(data: &Path) -> Result<Option<Vec<Refusal>>> {
    let path = data.join("ledger.sqlite");
    if !path.exists() {
        return Ok(None);
    }
    match History::open_for_reading(&path).and_then(|history| history.refusals(MOST_REFUSALS)) {
        Ok(refusals) => Ok(Some(refusals)),
        // It had no place for them yet.
        Err(LedgerError::OlderVersion { .. }) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
    }
}

fn write_refusals(out: &mut impl Write, refusals: &[Refusal]) -> io::Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWho was refused, the newest first")?;
    for refusal in refusals {
        let who = match refusal.by {
            RefusedBy::Proxy => "this PC, by the proxy",
            RefusedBy::ThisPc => "by this PC, the proxy",
        };
        let minutes = unix_ms().saturating_sub(refusal.seen_unix_ms.1).max(0) / 60_000;
        let when = match minutes {
            0..120 => format!("{minutes} minutes ago"),
            120..2_880 => format!("{} hours ago", minutes / 60),
            _ => format!("{} days ago", minutes / 1_440),
        };
        writeln!(out, "  {when}, {who} {}: {}", refusal.endpoint, refusal.reason)?;
    }
    Ok(())
}

fn as_object(facts: &Facts, networks: &[Asked], refusals: Option<&[Refusal]>) -> Result<Value> {
    let refusals = refusals.map(|all| {
        let one = |refusal: &Refusal| {
            json!({
                "proxy": refusal.endpoint.to_string(),
                "refused_by": match refusal.by {
                    RefusedBy::Proxy => "proxy",
                    RefusedBy::ThisPc => "this-pc",
                },
                "reason": refusal.reason,
                "first_unix_ms": refusal.seen_unix_ms.0,
                "last_unix_ms": refusal.seen_unix_ms.1,
                "times": refusal.times,
            })
        };
        all.iter().map(one).collect::<Vec<_>>()
    });
    let networks: Vec<Value> = networks
        .iter()
        .map(|asked| {
            let (answer, missing) = examine(facts, &asked.demand);
            json!({
                "name": asked.name,
                "about": asked.about,
                "answer": answer.name(),
                "missing": missing.map(Missing::name),
                "missing_text": missing.map(Missing::words),
            })
        })
        .collect();
    Ok(json!({
        "facts": serde_json::to_value(facts)?,
        "grades": grades(facts).iter().map(|grade| grade.name()).collect::<Vec<_>>(),
        "networks": networks,
        "refusals": refusals,
    }))
}

fn write(out: &mut impl Write, facts: &Facts, networks: &[Asked]) -> io::Result<()> {
    writeln!(out, "This PC")?;
    for card in &facts.cards {
        let name = card.name.clone().unwrap_or_else(|| "a card of unknown name".to_owned());
        let driver = card.driver.as_ref().map_or_else(String::new, |driver| {
            format!(", driver {driver} {}", card.driver_version.as_deref().unwrap_or_default())
        });
        line(out, "card", &format!("{name}{driver}"))?;
    }
    if facts.cards.is_empty() {
        line(out, "card", "none was found")?;
    }
    line(out, "security chip", &chip_words(&facts.tpm))?;
    line(
        out,
        "Secure Boot",
        match facts.secure_boot {
            SecureBoot::On => "on",
            SecureBoot::Off => "off",
            SecureBoot::Impossible => "started in the old way, in which there is none",
            SecureBoot::Unknown => "unknown: this system does not say",
        },
    )?;
    line(
        out,
        "boot log",
        match facts.boot_log {
            Some(true) => "this user can read it",
            Some(false) => "this user can't read it, so Secure Boot can't be shown to others",
            None => "unknown",
        },
    )?;
    line(out, "Intel TDX", isolation_words(facts.tdx))?;
    line(out, "AMD SEV-SNP", isolation_words(facts.sev_snp))?;
    let walls = match &facts.walls {
        Walls::Closed => "it closes: no network, no files, no other programs".to_owned(),
        Walls::Open { what } => format!("it closes, but for this: {what}"),
        Walls::Impossible { why } => format!("it can't be closed: {why}"),
        Walls::Unknown => "unknown until a worker has started; practice and headless say it then".to_owned(),
    };
    line(out, "the box", &walls)?;
    let registered = match facts.registered_at.len() {
        0 => "nowhere".to_owned(),
        _ => facts.registered_at.join(", "),
    };
    line(out, "registered at", &registered)?;
    writeln!(out, "\nWhat it can be given today")?;
    let given = grades(facts);
    for grade in &given {
        let wording = grade.wording();
        writeln!(out, "  {}: {}", wording.title, wording.proves)?;
    }
    if given.is_empty() {
        writeln!(out, "  Nothing: no worker would run here.")?;
    }
    writeln!(out, "\nWhich networks would take it")?;
    for asked in networks {
        let (answer, missing) = examine(facts, &asked.demand);
        let answer = match answer {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::Unknown => "not known",
        };
        let missing = missing.map_or_else(String::new, |missing| format!(". {}", missing.words()));
        writeln!(out, "  {}: {answer}{missing}", asked.about)?;
    }
    Ok(())
}

fn chip_words(chip: &Tpm) -> String {
    match chip {
        Tpm::Unknown { why } => format!("unknown: {why}"),
        Tpm::Absent => "none is seen".to_owned(),
        Tpm::TooOld => "older than TPM 2.0".to_owned(),
        Tpm::Forbidden { group: Some(group) } => format!(
            "there, and this user may not use it; the group {group} may: sudo usermod -aG {group} $USER, then log in anew"
        ),
        Tpm::Forbidden { group: None } => {
            "there, and this user may not use it; whoever administers this PC can allow it".to_owned()
        }
        Tpm::Silent { why } => format!("there, and it does not answer: {why}"),
        Tpm::Ready { maker, certified } => {
            let maker = maker.as_deref().unwrap_or("an unknown maker");
            match certified {
                Some(true) => format!("TPM 2.0 of {maker}, with its maker's certificate"),
                Some(false) => format!("TPM 2.0 of {maker}, without a certificate of a maker that is known"),
                None => format!("TPM 2.0 of {maker}; whether its maker vouches for it is not known"),
            }
        }
    }
}

fn isolation_words(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Absent => "not seen",
        Isolation::Host => "yes, this PC can host sealed machines",
        Isolation::Guest => "yes, this is a sealed machine",
        Isolation::Unknown => "unknown: this system does not say",
    }
}

fn line(out: &mut impl Write, what: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {what:<14} {}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            system: System::Linux,
            cards: Vec::new(),
            tpm: Tpm::Forbidden { group: Some("tss".to_owned()) },
            secure_boot: SecureBoot::On,
            boot_log: Some(false),
            tdx: Isolation::Absent,
            sev_snp: Isolation::Unknown,
            walls: Walls::Unknown,
            registered_at: Vec::new(),
        }
    }

    fn asked() -> Vec<Asked> {
        let one = |(name, about, demand): (&str, &str, Demand)| Asked {
            name: name.to_owned(),
            about: about.to_owned(),
            demand,
        };
        usual().into_iter().map(one).collect()
    }

    #[test]
    fn the_owner_reads_facts_grades_and_for_each_network_the_one_thing_missing() {
        let mut out = Vec::new();
        write(&mut out, &facts(), &asked()).unwrap();
        let text = String::from_utf8(out).unwrap();
        for expected in [
            "card           none was found",
            "there, and this user may not use it; the group tss may",
            "AMD SEV-SNP    unknown",
            "Not verified: Nothing. This computer says what it runs, and nobody checked it.",
            "Practice, on this PC: yes\n",
            "An open network that asks for a known computer: no. The security chip is here and this user may not use it.",
            "Cocoon's main network: no. It takes only machines with Intel TDX",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn who_was_refused_is_told_from_what_was_written_down() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refusals(folder.path()).unwrap(), None);
        let refusal = Refusal {
            root_contract: ton::Address { workchain: 0, hash: [1; 32] },
            endpoint: "192.0.2.7:30080".parse().unwrap(),
            by: RefusedBy::ThisPc,
            reason: "it proves the grade self-claim".to_owned(),
            seen_unix_ms: (5, unix_ms() - 3 * 3_600_000),
            times: 2,
        };
        let object = as_object(&facts(), &asked(), Some(std::slice::from_ref(&refusal))).unwrap();
        assert_eq!(object["refusals"][0]["refused_by"], "this-pc");
        assert_eq!((&object["refusals"][0]["times"], &object["refusals"][0]["first_unix_ms"]), (&json!(2), &json!(5)));
        let mut out = Vec::new();
        write_refusals(&mut out, &[refusal]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("3 hours ago, by this PC, the proxy 192.0.2.7:30080: it proves the grade"), "{text}");
    }

    #[test]
    fn a_chip_that_is_closed_to_this_user_comes_with_what_opens_it_on_that_system() {
        let words = |group: Option<&str>| chip_words(&Tpm::Forbidden { group: group.map(str::to_owned) });
        assert!(words(Some("tss")).contains("sudo usermod -aG tss"));
        // Windows has neither the group nor the program.
        assert!(!words(None).contains("sudo") && words(None).contains("administers this PC"));
    }

    #[test]
    fn json_has_facts_in_the_form_of_the_described_pcs() {
        let object = as_object(&facts(), &asked(), None).unwrap();
        assert_eq!(object["refusals"], Value::Null, "nothing was written down, which is not that nobody was refused");
        assert_eq!(serde_json::from_value::<Facts>(object["facts"].clone()).unwrap(), facts());
        assert_eq!(object["grades"], json!(["self-claim"]));
        assert_eq!(object["networks"][2]["missing"], "leave");
        assert_eq!(object["networks"][4]["answer"], "no");
    }

    #[test]
    fn what_is_seen_here_is_a_described_pc_too() {
        let seen = look(None);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), seen);
    }

    #[test]
    fn the_box_is_known_to_close_only_where_the_system_names_both_of_its_means() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(box_of(root.path()), Walls::Unknown);
        write("proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread errno allow\n");
        assert_eq!(box_of(root.path()), Walls::Unknown);
        write("sys/kernel/security/lsm", "lockdown,capability,yama\n");
        assert_eq!(box_of(root.path()), Walls::Unknown);
        write("sys/kernel/security/lsm", "lockdown,capability,landlock,yama");
        assert_eq!(box_of(root.path()), Walls::Closed);
    }
}
