//! The page Trust, made of facts: what was measured here, what networks would say of this PC, what proxies have said, what is proved, what the
//! kernel says of the box, and where bytes went.
//!
//! What is not known stays `None`, and nothing proved is what counts until something is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use node::doctor::{Answer as Verdict, Facts, Missing, Walls as Closed, examine};
use node::history::{Refusal, RefusedBy};
use node::proof_file::{MeasuredFile, ProofFile, ShownEvidence, VERSION, WallLine};
use node::run::Moved;
use node::snapshot::Snapshot;
use releases::ReleaseStanding;
use sandbox::Measured;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::walls;
use crate::doctor;
use crate::identity::{self, Contact, Place};
use crate::provider::program;
use crate::release;
use crate::view::trust::{
    AskedNetwork, Graded, Host, NetworkVerdict, Part, PartKind, Proxy, Purpose, Refused, Source, Standing, Trust,
    Verdict as Shown, Walls,
};
use crate::view::{ApiError, ErrorCode};
use crate::wire::{Answer, TrustAnswer, TrustQuestion};

/// As many refusals as the page shows.
pub(super) const SHOWN_REFUSALS: u32 = 16;
/// How long an answer about the firewall's rule holds: Windows takes a while for it, and the page asks every few seconds.
const RULE_HOLDS_MS: i64 = 60_000;

/// What the app knows at the moment of a question.
pub(super) struct Seen {
    /// Unix time in milliseconds.
    pub(super) now: i64,
    /// Whether only simulated customers ask.
    pub(super) practice: bool,
    /// What the running provider shows.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// SHA-256 of the model under the name it is served by, in hexadecimal digits.
    pub(super) served_hash: Option<String>,
    /// The chain's address, where one is asked.
    pub(super) chain: Option<String>,
    /// Bytes to and from proxies since the app was started.
    pub(super) moved: Vec<Moved>,
    /// When the app was started, Unix time in milliseconds.
    pub(super) since: i64,
    /// What the system says of the running worker's box.
    pub(super) walls: Option<walls::Read>,
    /// Who was refused, the newest first.
    pub(super) refusals: Vec<Refusal>,
}

/// Remembers what a look at this PC has found.
pub(super) struct Inspector {
    /// The app's folder, in which its registrations are.
    data: PathBuf,
    /// Where its TPM is.
    tpm: Place,
    found: Mutex<Option<Found>>,
    rule: Mutex<Option<KnownRule>>,
}

/// Whether the firewall's rule was there, and when that was asked.
#[derive(Clone, Copy)]
struct KnownRule {
    at: i64,
    there: Option<bool>,
}

impl KnownRule {
    /// A clock that was set back makes it old too.
    fn holds(self, now: i64) -> bool {
        (0..RULE_HOLDS_MS).contains(&now.saturating_sub(self.at))
    }
}

/// What belongs to the page besides what was seen and found.
#[derive(Default)]
struct Beside {
    walls: Option<Walls>,
    registrar: Option<Contact>,
}

/// What a look at this PC has found.
#[derive(Clone)]
struct Found {
    at: i64,
    facts: Facts,
    app: Option<Program>,
    worker: Option<Program>,
    /// Evidence that was made for the look itself.
    shown: Option<ShownEvidence>,
}

/// A program's file, and what the log of releases says of it.
#[derive(Clone)]
struct Program {
    sha256: String,
    standing: ReleaseStanding,
}

impl Inspector {
    /// Nothing was looked at yet.
    pub(super) fn new(data: PathBuf, tpm: Place) -> Self {
        Self { data, tpm, found: Mutex::new(None), rule: Mutex::new(None) }
    }

    /// Answers a question of the page. What takes long is done on a thread of its own.
    pub(super) async fn answer(&self, question: TrustQuestion, seen: Seen) -> Result<Answer, ApiError> {
        match question {
            TrustQuestion::Check => {
                let (at, data, tpm) = (seen.now, self.data.clone(), self.tpm.clone());
                let runs = seen.snapshot.as_deref().map(|snapshot| snapshot.program);
                let found = apart(move || look(&data, &tpm, at, runs)).await?;
                *held(&self.found) = Some(found);
            }
            TrustQuestion::Rule(change) => {
                let refused = |message| ApiError { code: ErrorCode::Refused, message };
                apart(move || walls::change_rule(change)).await?.map_err(refused)?;
            }
            TrustQuestion::Page | TrustQuestion::Proof => {}
        }
        let anew = matches!(question, TrustQuestion::Check | TrustQuestion::Rule(_));
        let rule = self.rule(&seen, anew).await?;
        let data = self.data.clone();
        let beside = Beside {
            walls: seen.walls.as_ref().map(|read| read.walls(rule)),
            registrar: apart(move || identity::contact(&data)).await?,
        };
        let found = held(&self.found).clone();
        let page = page(found.as_ref(), &seen, beside);
        Ok(Answer::Trust(match question {
            TrustQuestion::Page | TrustQuestion::Check | TrustQuestion::Rule(_) => TrustAnswer::Page(Box::new(page)),
            TrustQuestion::Proof => TrustAnswer::Proof(proof(&page, found.and_then(|found| found.shown)).to_json()),
        }))
    }

    /// Whether the firewall's rule is there, where one has to do with the worker's box.
    async fn rule(&self, seen: &Seen, anew: bool) -> Result<Option<bool>, ApiError> {
        if !seen.walls.as_ref().is_some_and(walls::Read::has_to_do_with_a_rule) {
            return Ok(None);
        }
        let known = held(&self.rule).filter(|known| !anew && known.holds(seen.now));
        if let Some(known) = known {
            return Ok(known.there);
        }
        let there = apart(walls::has_rule).await?;
        *held(&self.rule) = Some(KnownRule { at: seen.now, there });
        Ok(there)
    }
}

fn held<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On a thread that may block.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError { code: ErrorCode::NotRunning, message: error.to_string() })
}

/// `runs`: what was measured of the worker program that is started now.
fn look(data: &Path, tpm: &Place, at: i64, runs: Option<Measured>) -> Found {
    let key = release::built_in_key().ok().flatten();
    let known =
        |looked: release::Looked| Program { sha256: hex::encode(looked.measured.sha256), standing: looked.standing };
    let measured = |path: &Path| release::look(path, None, key.as_ref()).ok().map(known);
    let worker = |path: &Path| match runs {
        Some(Measured { sha256, bytes }) => {
            let measured = releases::Measured { sha256, bytes };
            release::judge(path, measured, None, key.as_ref()).ok().map(known)
        }
        None => measured(path),
    };
    let shown = identity::rehearse(data, tpm, &identity::Purpose::default()).unwrap_or_else(|error| {
        tracing::warn!("no evidence can be made: {error:#}");
        None
    });
    Found {
        at,
        facts: doctor::look(Some(data)),
        app: std::env::current_exe().ok().and_then(|path| measured(&path)),
        worker: program("chrysalis-worker").ok().and_then(|path| worker(&path)),
        shown,
    }
}

fn page(found: Option<&Found>, seen: &Seen, beside: Beside) -> Trust {
    let model = seen.snapshot.as_deref().and_then(|snapshot| snapshot.model.as_ref());
    Trust {
        card: model.map(|model| model.backend != "cpu"),
        at: seen.now as f64,
        checked_at: found.map(|found| found.at as f64),
        practice: seen.practice,
        parts: parts(found, seen),
        networks: found.map(|found| networks(&with_walls(&found.facts, beside.walls.as_ref()))),
        proxies: seen.snapshot.as_deref().map_or_else(Vec::new, |snapshot| proxies(snapshot, &seen.refusals)),
        refusals: seen.refusals.iter().map(refused).collect(),
        proved: found.and_then(|found| found.shown.as_ref()).and_then(graded),
        hosts: hosts(seen, beside.registrar.as_ref()),
        walls: beside.walls,
        counted_since: seen.since as f64,
    }
}

fn parts(found: Option<&Found>, seen: &Seen) -> Vec<Part> {
    let version = || Some(env!("CARGO_PKG_VERSION").to_owned());
    let program = |kind, measured: Option<&Program>| {
        let (expected, source, why) = measured.map_or((None, Source::Nobody, None), |program| said(&program.standing));
        Part { kind, name: version(), measured: measured.map(|program| program.sha256.clone()), expected, source, why }
    };
    let model = seen.snapshot.as_deref().and_then(|snapshot| snapshot.model.as_ref());
    vec![
        program(PartKind::App, found.and_then(|found| found.app.as_ref())),
        program(PartKind::Worker, worker_that_runs(found, seen)),
        Part {
            kind: PartKind::Model,
            name: model.and_then(|model| model.name.clone()),
            measured: model.map(|model| hex::encode(model.sha256)),
            // Practice names the file as it lies here: there is nothing to compare it with.
            expected: seen.served_hash.clone().filter(|_| !seen.practice),
            source: match (&seen.served_hash, seen.practice) {
                (None, _) => Source::Nobody,
                (Some(_), true) => Source::Practice,
                (Some(_), false) => Source::Network,
            },
            why: None,
        },
    ]
}

/// What was found out about the worker program; nothing, where another one was started since.
fn worker_that_runs<'a>(found: Option<&'a Found>, seen: &Seen) -> Option<&'a Program> {
    let runs = seen.snapshot.as_deref().map(|snapshot| hex::encode(snapshot.program.sha256));
    found?.worker.as_ref().filter(|worker| runs.is_none_or(|runs| runs == worker.sha256))
}

/// What the log of releases says a file should be.
fn said(standing: &ReleaseStanding) -> (Option<String>, Source, Option<String>) {
    match standing {
        ReleaseStanding::NoLogYet => (None, Source::Nobody, None),
        ReleaseStanding::NotLogged => (None, Source::NotLogged, None),
        ReleaseStanding::Logged { entry, log, .. } => {
            (Some(hex::encode(entry.sha256)), Source::ReleaseLog { log: log.clone() }, None)
        }
        ReleaseStanding::AnotherProgram { entry } => {
            (Some(hex::encode(entry.sha256)), Source::NotLogged, Some(standing.to_string()))
        }
        ReleaseStanding::BrokenProof(_) => (None, Source::NotLogged, Some(standing.to_string())),
    }
}

/// What was found out, with the box as it stands around the worker that runs.
fn with_walls(facts: &Facts, walls: Option<&Walls>) -> Facts {
    let mut facts = facts.clone();
    if let Some(walls) = walls {
        let open = walls.walls.iter().filter(|wall| wall.closed == Some(false));
        let open: Vec<String> = open.map(|wall| name_of(&wall.kind)).collect();
        facts.walls = if !open.is_empty() {
            Closed::Open { what: open.join(", ") }
        } else if walls.walls.iter().all(|wall| wall.closed == Some(true)) {
            Closed::Closed
        } else {
            Closed::Unknown
        };
    }
    facts
}

fn networks(facts: &Facts) -> Vec<NetworkVerdict> {
    doctor::usual()
        .into_iter()
        .filter_map(|(name, _, demand)| {
            let (verdict, missing) = examine(facts, &demand);
            Some(NetworkVerdict {
                network: named::<AskedNetwork>(name)?,
                verdict: match verdict {
                    Verdict::Yes => Shown::Yes,
                    Verdict::No => Shown::No,
                    Verdict::Unknown => Shown::Unknown,
                },
                missing: missing.map(Missing::name).and_then(named),
            })
        })
        .collect()
}

/// What has a name here and the same one there.
fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

fn refused(refusal: &Refusal) -> Refused {
    Refused {
        endpoint: refusal.endpoint.to_string(),
        by_proxy: refusal.by == RefusedBy::Proxy,
        why: refusal.reason.clone(),
        at: refusal.seen_unix_ms.1 as f64,
    }
}

fn proxies(snapshot: &Snapshot, refusals: &[Refusal]) -> Vec<Proxy> {
    // Since when a refusal stands, as the ledger has it; of what was not written down yet it is not known.
    let since = |proxy: &node::snapshot::ShownProxy| {
        let (by, why) = match (&proxy.untrusted, &proxy.standing) {
            (Some(why), _) => (RefusedBy::ThisPc, why),
            (None, Some(said)) if !said.accepted => (RefusedBy::Proxy, &said.reason),
            (None, _) => return None,
        };
        let same = |one: &&Refusal| one.endpoint == proxy.endpoint && one.by == by && one.reason == *why;
        refusals.iter().find(same).map(|one| one.seen_unix_ms.0 as f64)
    };
    let shown = |proxy: &node::snapshot::ShownProxy| Proxy {
        endpoint: proxy.endpoint.to_string(),
        standing: match (&proxy.untrusted, &proxy.standing, proxy.ready) {
            (Some(why), _, _) => Standing::NotTrusted { why: why.clone() },
            (None, Some(said), _) if !said.accepted => Standing::Refused { why: said.reason.clone() },
            (None, Some(said), _) => Standing::Accepted { grade: said.grade.and_then(|grade| named(grade.name())) },
            (None, None, true) => Standing::Accepted { grade: None },
            (None, None, false) => Standing::Connecting,
        },
        at: since(proxy),
    };
    snapshot.proxies.iter().map(shown).collect()
}

/// What evidence proves that was made here.
fn graded(shown: &ShownEvidence) -> Option<Graded> {
    let found = identity::appraised(shown)?;
    Some(Graded { grade: named(found.grade.name())?, at: shown.at as f64 * 1000.0 })
}

fn hosts(seen: &Seen, registrar: Option<&Contact>) -> Vec<Host> {
    let mut proxies: BTreeMap<IpAddr, (u64, u64)> = BTreeMap::new();
    for Moved { endpoint, sent, received } in &seen.moved {
        let entry = proxies.entry(IpAddr::V4(*endpoint.ip())).or_default();
        entry.0 += sent;
        entry.1 += received;
    }
    let proxies = proxies.into_iter().map(|(address, (sent, received))| Host {
        name: address.to_string(),
        purpose: Purpose::Proxy,
        local: address.is_loopback(),
        sent: Some(sent as f64),
        received: Some(received as f64),
        last: None,
    });
    let chain = seen.chain.as_deref().map(|endpoint| uncounted(host_of(endpoint), Purpose::Chain, None));
    let registrar = registrar.map(|contact| {
        uncounted(host_of(&contact.registrar), Purpose::Registrar, contact.last.map(|last| last as f64 * 1000.0))
    });
    proxies.chain(chain).chain(registrar).collect()
}

/// A host that is talked to by others than the relay, so that nobody counts.
fn uncounted(host: &str, purpose: Purpose, last: Option<f64>) -> Host {
    let local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    Host { name: host.to_owned(), purpose, local, sent: None, received: None, last }
}

/// The host of an address of the web.
fn host_of(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or(rest);
    place.rsplit_once(':').map_or(place, |(host, _)| host)
}

/// Adds what moved during a session to what moved before.
pub(super) fn add(all: &mut Vec<Moved>, more: Vec<Moved>) {
    for moved in more {
        match all.iter_mut().find(|known| known.endpoint == moved.endpoint) {
            Some(known) => {
                known.sent += moved.sent;
                known.received += moved.received;
            }
            None => all.push(moved),
        }
    }
}

/// What is handed out: the evidence, and what this PC says besides.
fn proof(page: &Trust, shown: Option<ShownEvidence>) -> ProofFile {
    let files = page.parts.iter().map(|part| MeasuredFile {
        what: name_of(&part.kind),
        name: part.name.clone(),
        measured: part.measured.clone(),
        expected: part.expected.clone(),
    });
    let walls = page.walls.as_ref().map(|walls| {
        let line = |wall: &crate::view::trust::Wall| WallLine { wall: name_of(&wall.kind), closed: wall.closed };
        walls.walls.iter().map(line).collect()
    });
    ProofFile {
        chrysalis_proof: VERSION,
        made_at: (page.at / 1000.0) as u64,
        app: env!("CARGO_PKG_VERSION").to_owned(),
        claimed: page
            .proved
            .as_ref()
            .and_then(|graded| evidence::Grade::from_name(&name_of(&graded.grade)))
            .unwrap_or(evidence::Grade::SelfClaim),
        shown,
        files: files.collect(),
        walls,
    }
}

fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::view::trust::{Grade, Missing as ShownMissing, Wall, WallKind, Witness};
    use evidence::Evidence;
    use node::doctor::{Isolation, SecureBoot, System, Tpm};

    fn seen() -> Seen {
        Seen {
            now: 1_800_000_000_000,
            practice: true,
            snapshot: None,
            served_hash: None,
            chain: Some("http://127.0.0.1:4711/api/v2/jsonRPC".to_owned()),
            moved: Vec::new(),
            since: 5,
            walls: None,
            refusals: Vec::new(),
        }
    }

    fn found() -> Found {
        let facts = Facts {
            system: System::Linux,
            cards: Vec::new(),
            tpm: Tpm::Absent,
            secure_boot: SecureBoot::Off,
            boot_log: Some(true),
            tdx: Isolation::Absent,
            sev_snp: Isolation::Absent,
            walls: node::doctor::Walls::Closed,
            registered_at: Vec::new(),
        };
        let app = Program { sha256: "aa".to_owned(), standing: ReleaseStanding::NotLogged };
        Found { at: 7, facts, app: Some(app), worker: None, shown: None }
    }

    fn moved(endpoint: &str, sent: u64, received: u64) -> Moved {
        Moved { endpoint: endpoint.parse::<SocketAddrV4>().unwrap(), sent, received }
    }

    #[test]
    fn where_nothing_was_looked_at_nothing_is_claimed() {
        let page = page(None, &seen(), Beside::default());
        assert_eq!(
            (page.checked_at, page.networks.is_none(), page.proved.is_none(), page.walls.is_none()),
            (None, true, true, true)
        );
        assert!(page.parts.iter().all(|part| part.measured.is_none()));
        let proof = proof(&page, None);
        assert_eq!((proof.claimed, proof.shown, proof.walls), (evidence::Grade::SelfClaim, None, None));
    }

    #[test]
    fn a_worker_program_that_was_started_since_the_look_is_not_shown_as_the_one_that_was_looked_at() {
        let program = Program { sha256: "09".repeat(32), standing: ReleaseStanding::NotLogged };
        let found = Found { worker: Some(program), ..found() };
        let shown = |sha256| {
            let mut seen = seen();
            let program = Measured { sha256, bytes: 1 };
            seen.snapshot = Some(Box::new(Snapshot { program, ..crate::report::tests::snapshot(0, None) }));
            page(Some(&found), &seen, Beside::default())
                .parts
                .into_iter()
                .find(|part| part.kind == PartKind::Worker)
                .unwrap()
                .measured
        };
        assert_eq!(shown([9; 32]), Some("09".repeat(32)));
        assert_eq!(shown([8; 32]), None);
    }

    #[test]
    fn every_name_of_the_verdict_is_known_to_the_page() {
        for missing in Missing::ALL {
            assert!(named::<ShownMissing>(missing.name()).is_some(), "{}", missing.name());
        }
        for grade in evidence::Grade::ALL {
            assert!(named::<Grade>(grade.name()).is_some(), "{grade}");
        }
        let networks = page(Some(&found()), &seen(), Beside::default()).networks.unwrap();
        assert_eq!(networks.len(), doctor::usual().len());
        assert_eq!(networks[2].missing, Some(ShownMissing::Tpm));
        assert_eq!((networks[0].verdict, networks[4].verdict), (Shown::Yes, Shown::No));
    }

    #[test]
    fn bytes_are_added_up_by_host_over_sessions_and_what_is_not_counted_is_unknown() {
        let mut all = vec![moved("192.0.2.1:1", 5, 6)];
        add(&mut all, vec![moved("192.0.2.1:1", 1, 1), moved("192.0.2.1:2", 10, 10), moved("127.0.0.1:9", 0, 0)]);
        let hosts = hosts(&Seen { moved: all, ..seen() }, None);
        let lines: Vec<_> =
            hosts.iter().map(|host| (host.name.as_str(), host.local, host.sent, host.received)).collect();
        assert_eq!(
            lines,
            [
                ("127.0.0.1", true, Some(0.0), Some(0.0)),
                ("192.0.2.1", false, Some(16.0), Some(17.0)),
                ("127.0.0.1", true, None, None)
            ]
        );
        assert_eq!(host_of("https://toncenter.com/api/v2/jsonRPC"), "toncenter.com");
    }

    #[test]
    fn the_proof_that_the_page_hands_out_is_what_verify_reads() {
        let shown = ShownEvidence {
            evidence: Evidence::SelfClaim.encode(),
            nonce: [1; 32],
            tls_key: [2; 32],
            audience: [3; 32],
            at: 1_799_999_990,
        };
        let walls = Walls { at: 1.0, walls: vec![wall(Some(false))], rule: None };
        let beside = Beside { walls: Some(walls), registrar: None };
        let page = page(Some(&Found { shown: Some(shown.clone()), ..found() }), &seen(), beside);
        assert_eq!(page.parts[0].source, Source::NotLogged);
        assert_eq!(page.proved.as_ref().map(|graded| graded.grade), Some(Grade::SelfClaim));
        let proof = proof(&page, Some(shown));
        let read = ProofFile::read(proof.to_json().as_bytes()).unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.walls, Some(vec![WallLine { wall: "files".to_owned(), closed: Some(false) }]));
        assert_eq!(read.files[0].measured.as_deref(), Some("aa"));
    }

    #[test]
    fn a_worker_that_runs_in_an_open_box_is_a_fact_of_the_verdict() {
        let walls =
            |all: &[Option<bool>]| Walls { at: 1.0, walls: all.iter().copied().map(wall).collect(), rule: None };
        let facts = found().facts;
        let closed = |all| with_walls(&facts, Some(&walls(all))).walls;
        assert_eq!(closed(&[Some(false), None]), Closed::Open { what: "files".to_owned() });
        assert_eq!(closed(&[Some(true), Some(true)]), Closed::Closed);
        // What nobody could say is not closed.
        assert_eq!(closed(&[Some(true), None]), Closed::Unknown);
        assert_eq!(closed(&[None, None]), Closed::Unknown);
        assert_eq!(with_walls(&facts, None).walls, facts.walls);
    }

    fn wall(closed: Option<bool>) -> Wall {
        Wall { kind: WallKind::Files, closed, partly: false, by: Witness::Kernel, limit: None, found: None }
    }

    #[test]
    fn the_registrar_is_among_those_that_are_talked_to_and_its_bytes_are_not_counted() {
        let contact = Contact { registrar: "registrar.example:4433".to_owned(), last: Some(1_700_000_000) };
        let hosts = hosts(&seen(), Some(&contact));
        let registrar = hosts.iter().find(|host| host.purpose == Purpose::Registrar).unwrap();
        assert_eq!((registrar.name.as_str(), registrar.local), ("registrar.example", false));
        assert_eq!((registrar.sent, registrar.received, registrar.last), (None, None, Some(1_700_000_000_000.0)));
    }

    #[test]
    fn what_practice_names_is_not_compared_with_itself() {
        let model = |practice| {
            let seen = Seen { practice, served_hash: Some("ab".to_owned()), ..seen() };
            let part = page(None, &seen, Beside::default()).parts.pop().unwrap();
            (part.expected, part.source)
        };
        assert_eq!(model(true), (None, Source::Practice));
        assert_eq!(model(false), (Some("ab".to_owned()), Source::Network));
    }

    #[test]
    fn an_answer_about_the_rule_holds_for_a_minute_and_not_over_a_clock_that_was_set_back() {
        let known = KnownRule { at: 1_000_000, there: Some(true) };
        assert!(known.holds(1_000_000) && known.holds(1_059_999));
        assert!(!known.holds(1_060_000) && !known.holds(999_999) && !known.holds(i64::MIN));
    }

    #[cfg(not(windows))]
    #[tokio::test]
    async fn where_there_is_no_such_rule_the_page_gets_a_sentence_instead_of_one() {
        use crate::view::trust::RuleChange;
        let inspector = Inspector::new(PathBuf::from("/nowhere"), Place::new(None));
        let answer = inspector.answer(TrustQuestion::Rule(RuleChange::Add), seen()).await;
        let refused = answer.err().unwrap();
        assert_eq!(refused.code, ErrorCode::Refused);
        assert!(refused.message.contains("only Windows"), "{}", refused.message);
    }

    #[test]
    fn evidence_that_proves_nothing_is_no_grade() {
        let broken =
            ShownEvidence { evidence: vec![1, 2, 3], nonce: [0; 32], tls_key: [0; 32], audience: [0; 32], at: 0 };
        assert!(graded(&broken).is_none());
    }
}
