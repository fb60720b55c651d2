//! What this computer can prove of itself to proxies, and what its owner has agreed to: the TPM's side of `headless`, and the command
//! `identity`.
//!
//! An endorsement key names a machine for life. It goes to the one registrar that the owner has named, and to nobody else; proxies get an
//! attestation key that is another one for each of them.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use evidence::{Anchors, Appraisal, Binding, Evidence, Grade, Policy, Statement, appraise, registrar};
use node::Enrolment;
use node::folder::Folder;
use node::proof_file::{MeasuredFile, ProofFile, ShownEvidence, VERSION};
use node::run::attester::{Attester, Question};
use node::run::enrol::enrol;
use releases::ReleaseStanding;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tpm::{Chip, Tpm, TpmError};

use crate::cli::{EnrolArguments, IdentityCommand, IdentityWords, ProveArguments};
use crate::named_file;
use crate::payout::now;
use crate::provider::{MAX_POW_DIFFICULTY, program, worker};
use crate::release;

/// How long a TPM may take for one command; some make keys slowly.
const TPM_PATIENCE: Duration = Duration::from_secs(20);
/// A statement that ends sooner than this is asked for anew.
const RENEW_BEFORE: u64 = 7 * 86_400;
const CONSENT: &str = "registrar.json";
const FOLDER: &str = "identity";
/// Longest file that is read here, in bytes.
const FILE_LIMIT: u64 = 16 * 1024;

/// What the owner has agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    /// `host:port` of the registrar.
    registrar: String,
    /// Its key, in hexadecimal.
    key: String,
    /// When, Unix seconds.
    agreed_at: u64,
}

impl Consent {
    fn key(&self) -> Result<[u8; 32]> {
        key(&self.key)
    }
}

fn key(text: &str) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .with_context(|| format!("{text} is no key: it has 64 hexadecimal digits"))?;
    Ok(key)
}

/// The files: consent and statements.
struct Files(PathBuf);

impl Files {
    fn of(data: &Path) -> Self {
        Self(data.join(FOLDER))
    }

    fn consent(&self) -> Result<Option<Consent>> {
        let Some(bytes) = read(&self.0.join(CONSENT))? else { return Ok(None) };
        let consent: Consent = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} can't be read; `chrysalis identity forget` removes it", self.0.display()))?;
        consent.key()?;
        Ok(Some(consent))
    }

    fn agree(&self, consent: &Consent) -> Result<()> {
        write(&self.0.join(CONSENT), serde_json::to_string_pretty(consent)?.as_bytes())
    }

    fn place(&self, audience: &[u8; 32]) -> PathBuf {
        self.0.join(format!("{}.statement", hex::encode(audience)))
    }

    /// The statement for a proxy and when it ends, if there is one that still counts.
    fn statement(&self, audience: &[u8; 32], registrar: &[u8; 32], now: u64) -> Option<(Vec<u8>, u64)> {
        let bytes = read(&self.place(audience)).ok().flatten()?;
        let said = Statement::verify(&bytes).ok()?;
        let counts = said.registrar == *registrar && said.audience == *audience && said.expires_at > now;
        counts.then_some((bytes, said.expires_at))
    }

    fn keep(&self, audience: &[u8; 32], statement: &[u8]) -> Result<()> {
        write(&self.place(audience), statement)
    }

    fn all(&self) -> Result<Vec<Statement>> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", self.0.display())),
        };
        let statements = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_one = path.extension().is_some_and(|extension| extension == "statement");
            is_one.then(|| Statement::verify(&read(&path).ok()??).ok()).flatten()
        });
        Ok(statements.collect())
    }

    /// Statements of this registrar's; what another one said counts for nothing under it.
    fn all_by(&self, registrar: &[u8; 32]) -> Result<Vec<Statement>> {
        Ok(self.all()?.into_iter().filter(|said| said.registrar == *registrar).collect())
    }

    /// Removes what was said by anybody else.
    fn drop_others(&self, registrar: &[u8; 32]) -> Result<()> {
        for said in self.all()?.iter().filter(|said| said.registrar != *registrar) {
            let path = self.place(&said.audience);
            std::fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
        Ok(())
    }

    /// Whether there was anything.
    fn forget(&self) -> Result<bool> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{} can't be removed", self.0.display())),
            Ok(()) => Ok(true),
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match named_file::bytes(path, FILE_LIMIT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).with_context(|| format!("{} can't be read", path.display())),
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("{} can't be written", path.display());
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(failed)?;
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).with_context(failed)?;
    std::fs::rename(&new, path).with_context(failed)
}

/// Where the TPM is: the system's, or for tests a simulator.
#[derive(Debug, Clone)]
pub(crate) struct Place(Option<String>);

impl Place {
    pub(crate) fn new(named: Option<String>) -> Self {
        Self(named)
    }

    fn open(&self) -> Result<Box<dyn Chip>> {
        if let Some(address) = self.0.as_deref().and_then(|text| text.parse::<SocketAddr>().ok()) {
            let socket = tpm::Socket::connect(address, TPM_PATIENCE);
            return Ok(Box::new(Tpm::new(socket.with_context(|| format!("no TPM answers at {address}"))?)));
        }
        let named = self.0.as_deref();
        tpm::system::open(named.map(Path::new), TPM_PATIENCE).with_context(|| {
            format!("the TPM{} can't be opened", named.map_or_else(String::new, |path| format!(" at {path}")))
        })
    }
}

/// Gets a statement about this TPM's key for this proxy.
fn enrolled(place: &Place, consent: &Consent, audience: &[u8; 32], files: &Files) -> Result<Vec<u8>> {
    let address = consent
        .registrar
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .with_context(|| format!("the registrar {} is not found", consent.registrar))?;
    let registrar = consent.key()?;
    let mut tpm = place.open()?;
    let request = tpm.request(audience)?;
    let enrolment = Enrolment {
        ek_certificates: request.ek_certificate.into_iter().chain(request.carried).collect(),
        ek_public: request.ek_public,
        ak_public: request.ak_public,
        audience: *audience,
        registrar,
        max_pow_difficulty: MAX_POW_DIFFICULTY,
        unix_ms: 0,
    };
    let mut opens = |credential: &[u8], secret: &[u8]| {
        let challenge = registrar::Challenge { credential: credential.to_vec(), secret: secret.to_vec() };
        tpm.answer(audience, &challenge).map(|secret| secret.to_vec()).map_err(|error| error.to_string())
    };
    let statement = enrol(&worker()?, address, enrolment, &mut opens)?;
    let said = Statement::verify(&statement).context("the registrar's statement does not hold")?;
    ensure!(
        said.registrar == registrar && said.audience == *audience,
        "the registrar's statement is by somebody else, or for somebody else"
    );
    files.keep(audience, &statement)?;
    Ok(statement)
}

/// Shows proxies what this computer can prove.
struct OfTpm {
    place: Place,
    files: Files,
}

impl OfTpm {
    fn evidence(&self, question: &Question) -> Result<Vec<u8>> {
        let consent = self
            .files
            .consent()?
            .context("no registrar was agreed to; `chrysalis identity enrol` tells you what that means and does it")?;
        let (audience, now) = (&question.audience, now());
        let had = self.files.statement(audience, &consent.key()?, now);
        let statement = match had {
            Some((statement, ends)) if ends > now.saturating_add(RENEW_BEFORE) => statement,
            had => match (enrolled(&self.place, &consent, audience, &self.files), had) {
                (Ok(statement), _) => statement,
                (Err(error), Some((statement, _))) => {
                    tracing::warn!("the registrar's statement ends soon and was not renewed: {error:#}");
                    statement
                }
                (Err(error), None) => return Err(error),
            },
        };
        let binding = Binding { nonce: question.nonce, tls_key: question.tls_key };
        let log = tpm::system::boot_log();
        let shown = match self.place.open()?.evidence(audience, &binding, statement, log.clone()) {
            // The system lost the key, or somebody destroyed it: the statement is about nothing any more.
            Err(TpmError::KeyGone) => {
                let statement = enrolled(&self.place, &consent, audience, &self.files)?;
                self.place.open()?.evidence(audience, &binding, statement, log)?
            }
            shown => shown?,
        };
        Ok(Evidence::Tpm(shown).encode())
    }
}

impl Attester for OfTpm {
    fn attest(&mut self, question: &Question) -> Result<Vec<u8>, String> {
        self.evidence(question).map_err(|error| format!("{error:#}"))
    }
}

/// What proves to proxies what this computer is.
pub(crate) fn attester(data: &Path, place: Place) -> Box<dyn Attester> {
    Box::new(OfTpm { place, files: Files::of(data) })
}

/// Whether what is kept about an agreement can be read.
pub(crate) fn check(data: &Path) -> Result<()> {
    Files::of(data).consent().map(drop)
}

/// The registrar at which this PC is registered, by its key in hexadecimal digits, if a statement of it still counts.
pub(crate) fn registered_at(data: &Path) -> Option<String> {
    let files = Files::of(data);
    let registrar = files.consent().ok().flatten()?.key().ok()?;
    let now = now();
    let counts = |said: &Statement| said.registrar == registrar && said.expires_at > now;
    files.all().ok()?.iter().any(counts).then(|| hex::encode(registrar))
}

/// A registrar that is shown this computer's endorsement key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    /// `host:port`.
    pub(crate) registrar: String,
    /// When it last gave a statement, Unix seconds by its clock; none: it has given none that is still there.
    pub(crate) last: Option<u64>,
}

/// The registrar that the owner has agreed to; `None`: none, so nobody is shown the key.
pub(crate) fn contact(data: &Path) -> Option<Contact> {
    let files = Files::of(data);
    let consent = files.consent().ok().flatten()?;
    let key = consent.key().ok()?;
    let given = files.all().unwrap_or_default().into_iter().filter(|said| said.registrar == key);
    Some(Contact { registrar: consent.registrar, last: given.map(|said| said.issued_at).max() })
}

/// What evidence is made for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Purpose {
    /// Whoever asked drew it; none: it is drawn here.
    pub(crate) nonce: Option<[u8; 32]>,
    /// The proxy whose statement is shown; none: any that is there.
    pub(crate) audience: Option<[u8; 32]>,
}

/// Makes evidence as a proxy would get it, for a key of our own, by a statement that is there already: nobody is asked.
/// `None`: this PC is registered nowhere.
pub(crate) fn rehearse(data: &Path, place: &Place, purpose: &Purpose) -> Result<Option<ShownEvidence>> {
    let files = Files::of(data);
    let Some(consent) = files.consent()? else { return Ok(None) };
    let (registrar, now) = (consent.key()?, now());
    let wanted = |said: &Statement| purpose.audience.is_none_or(|audience| audience == said.audience);
    let mut had = files.all()?.into_iter().filter(wanted);
    let Some((audience, statement)) =
        had.find_map(|said| Some((said.audience, files.statement(&said.audience, &registrar, now)?.0)))
    else {
        return Ok(None);
    };
    let mut drawn = [0; 64];
    getrandom::fill(&mut drawn).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let (mut nonce, mut tls_key) = ([0; 32], [0; 32]);
    nonce.copy_from_slice(purpose.nonce.as_ref().map_or(&drawn[..32], |asked| asked));
    tls_key.copy_from_slice(&drawn[32..]);
    let log = tpm::system::boot_log();
    let shown = place.open()?.evidence(&audience, &Binding { nonce, tls_key }, statement, log)?;
    Ok(Some(ShownEvidence { evidence: Evidence::Tpm(shown).encode(), nonce, tls_key, audience, at: now }))
}

/// What evidence proves that was made here: computed as its verifier does. This PC believes the registrar that it was registered at.
pub(crate) fn appraised(shown: &ShownEvidence) -> Option<Appraisal> {
    let evidence = Evidence::decode(&shown.evidence).ok()?;
    let registrars = match &evidence {
        Evidence::Tpm(tpm) => Statement::verify(&tpm.statement).ok().map(|statement| statement.registrar),
        Evidence::SelfClaim | Evidence::Tdx(_) | Evidence::Snp(_) => None,
    };
    let anchors = Anchors { registrars: registrars.into_iter().collect(), audience: shown.audience };
    let binding = Binding { nonce: shown.nonce, tls_key: shown.tls_key };
    appraise(&evidence, &binding, shown.at, &anchors, &Policy::default()).ok()
}

/// The command `identity`.
pub(crate) fn run(words: IdentityWords) -> Result<()> {
    match words.command {
        IdentityCommand::Enrol(arguments) => agree(&arguments),
        IdentityCommand::Show { data } => show(&data),
        IdentityCommand::Proof(arguments) => prove(&arguments),
        IdentityCommand::Forget { data } => {
            let folder = Folder::take(&data)?;
            let had = Files::of(folder.path()).forget()?;
            tpm::system::forget().context("the keys that this system keeps for it are still there")?;
            say(if had {
                "Forgotten: proxies are shown nothing from now on. The registrar knows what it was shown."
            } else {
                "There was nothing to forget: no registrar was agreed to in this folder, and proxies are shown nothing."
            });
            Ok(())
        }
    }
}

fn agree(arguments: &EnrolArguments) -> Result<()> {
    let registrar = arguments.registrar_key;
    if !arguments.yes {
        bail!(
            "the registrar {} is going to be shown the endorsement key of this computer's TPM and its maker's certificate. They name this \
             computer for as long as it has this chip, whoever owns it. Proxies are never shown them: each gets a number of its own, and the \
             log of how this computer was started. If you agree, say so with --yes",
            arguments.registrar
        );
    }
    let folder = Folder::take(&arguments.data)?;
    let files = Files::of(folder.path());
    let consent = Consent { registrar: arguments.registrar.clone(), key: hex::encode(registrar), agreed_at: now() };
    let before = files.consent().ok().flatten().filter(|before| before.key != consent.key);
    let place = Place::new(arguments.tpm.clone());
    let mut lines = Vec::new();
    for audience in &arguments.proxy {
        let statement = enrolled(&place, &consent, audience, &files)?;
        lines.extend(Statement::verify(&statement).ok().as_ref().map(one));
    }
    if arguments.proxy.is_empty() {
        // What can't work is said now, not when a proxy asks.
        place.open()?.about()?;
    }
    files.agree(&consent)?;
    files.drop_others(&registrar)?;
    if let Some(before) = before {
        tell(&format!(
            "This takes the place of the agreement with {}, whose statements are removed.",
            before.registrar
        ));
    }
    if arguments.proxy.is_empty() {
        tell(&format!(
            "Nobody was contacted. {} is asked when a proxy wants proof, and whether it has that key is seen only then; name a proxy with \
             --proxy to do it now.",
            consent.registrar
        ));
    }
    say(&json!({
        "registrar": consent.registrar,
        "key": consent.key,
        "contacted": !arguments.proxy.is_empty(),
        "statements": lines,
    })
    .to_string());
    Ok(())
}

/// Prints what the page Trust copies, made anew for a question. No worker runs, so its box and its model are not in it.
fn prove(arguments: &ProveArguments) -> Result<()> {
    let named = |text: &Option<String>, what| text.as_deref().map(key).transpose().context(what);
    let purpose = Purpose { nonce: named(&arguments.nonce, "--nonce")?, audience: named(&arguments.proxy, "--proxy")? };
    let place = Place::new(arguments.tpm.clone());
    let shown = rehearse(&arguments.data, &place, &purpose)?.context(
        "there is nothing to prove it by: no registrar has said which computer this is, or its word has ended; see `chrysalis identity show`",
    )?;
    let key = release::built_in_key().ok().flatten();
    let file = |what: &str, path: Option<PathBuf>| {
        let looked = path.and_then(|path| release::look(&path, None, key.as_ref()).ok());
        let expected = looked.as_ref().and_then(|looked| match &looked.standing {
            ReleaseStanding::Logged { entry, .. } | ReleaseStanding::AnotherProgram { entry } => {
                Some(hex::encode(entry.sha256))
            }
            ReleaseStanding::NoLogYet | ReleaseStanding::NotLogged | ReleaseStanding::BrokenProof(_) => None,
        });
        MeasuredFile {
            what: what.to_owned(),
            name: Some(env!("CARGO_PKG_VERSION").to_owned()),
            measured: looked.map(|looked| hex::encode(looked.measured.sha256)),
            expected,
        }
    };
    let proof = ProofFile {
        chrysalis_proof: VERSION,
        made_at: shown.at,
        app: env!("CARGO_PKG_VERSION").to_owned(),
        claimed: appraised(&shown).map_or(Grade::SelfClaim, |found| found.grade),
        shown: Some(shown),
        files: vec![file("app", std::env::current_exe().ok()), file("worker", program("chrysalis-worker").ok())],
        walls: None,
    };
    say(&proof.to_json());
    Ok(())
}

fn one(statement: &Statement) -> serde_json::Value {
    json!({
        "proxy": hex::encode(statement.audience),
        "machine": hex::encode(statement.machine),
        "certified_by_maker": statement.certified,
        "maker": statement.vendor,
        "ends_at": statement.expires_at,
    })
}

fn show(data: &Path) -> Result<()> {
    let files = Files::of(data);
    let consent = files.consent()?;
    let statements: Vec<_> = match &consent {
        Some(consent) => files.all_by(&consent.key()?)?.iter().map(one).collect(),
        None => Vec::new(),
    };
    say(&json!({
        "registrar": consent.as_ref().map(|consent| &consent.registrar),
        "key": consent.as_ref().map(|consent| &consent.key),
        "agreed_at": consent.as_ref().map(|consent| consent.agreed_at),
        "statements": statements,
    })
    .to_string());
    Ok(())
}

/// For the owner, beside the result.
fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn what_another_registrar_said_is_not_told_as_this_ones_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path());
        let (old, new) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let by = |key: &SigningKey, audience: u8| {
            let statement = Statement {
                registrar: key.verifying_key().to_bytes(),
                ak_name: [2; 34],
                certified: true,
                machine: [3; 32],
                audience: [audience; 32],
                issued_at: 100,
                expires_at: 200,
                vendor: String::new(),
            };
            files.keep(&[audience; 32], &statement.sign(key)).unwrap();
        };
        by(&old, 4);
        by(&new, 5);
        let registrar = new.verifying_key().to_bytes();
        let audiences = |all: Vec<Statement>| all.iter().map(|said| said.audience[0]).collect::<Vec<_>>();
        assert_eq!(audiences(files.all_by(&registrar).unwrap()), [5]);
        files.drop_others(&registrar).unwrap();
        assert_eq!(audiences(files.all().unwrap()), [5]);
        assert!(files.forget().unwrap());
        assert!(!files.forget().unwrap(), "there is nothing any more");
    }

    #[test]
    fn a_statement_counts_for_its_proxy_by_its_registrar_and_while_it_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path());
        let key = SigningKey::from_bytes(&[1; 32]);
        let registrar = key.verifying_key().to_bytes();
        let statement = Statement {
            registrar,
            ak_name: [2; 34],
            certified: true,
            machine: [3; 32],
            audience: [4; 32],
            issued_at: 100,
            expires_at: 200,
            vendor: String::new(),
        };
        files.keep(&[4; 32], &statement.sign(&key)).unwrap();
        assert!(files.statement(&[4; 32], &registrar, 150).is_some());
        assert!(files.statement(&[4; 32], &registrar, 200).is_none());
        assert!(files.statement(&[4; 32], &[9; 32], 150).is_none());
        assert!(files.statement(&[5; 32], &registrar, 150).is_none());
        // Under another proxy's name it is still this one's.
        files.keep(&[5; 32], &statement.sign(&key)).unwrap();
        assert!(files.statement(&[5; 32], &registrar, 150).is_none());
        assert_eq!(files.all().unwrap().len(), 2);
        // Without a consent nobody is shown the key.
        assert_eq!(contact(folder.path()), None);
        let consent = |key| Consent { registrar: "a.example:4".to_owned(), key: hex::encode(key), agreed_at: 7 };
        files.agree(&consent(registrar)).unwrap();
        assert_eq!(contact(folder.path()), Some(Contact { registrar: "a.example:4".to_owned(), last: Some(100) }));
        files.agree(&consent([9; 32])).unwrap();
        assert_eq!(contact(folder.path()).unwrap().last, None, "what another one has signed is not its");
        files.forget().unwrap();
        files.forget().unwrap();
        assert!(files.all().unwrap().is_empty() && files.consent().unwrap().is_none());
    }

    #[test]
    fn without_consent_nothing_is_asked_of_the_tpm() {
        let folder = tempfile::tempdir().unwrap();
        let mut attester = attester(folder.path(), Place::new(Some("/nowhere/tpm".to_owned())));
        let question = Question { audience: [1; 32], tls_key: [2; 32], nonce: [3; 32] };
        let why = attester.attest(&question).unwrap_err();
        assert!(why.contains("no registrar was agreed to"), "{why}");
    }
}
