//! A real GNOME Keyring on a bus of its own, with a home folder that is thrown away. The bus starts nothing by itself, so what is
//! not there is absent. What asks the keychain is this same program once more, because a process has one session bus.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ton::Network;
use wallet::{Keychain as _, KeychainError, OsKeychain, Protection, Save, Vault, Words, WrappingKey};

const REQUIRED: &str = "CHRYSALIS_REQUIRE_KEYCHAIN";
const STEPS: &str = "CHRYSALIS_TEST_KEYCHAIN_STEPS";
const ANSWER: &str = "answer: ";
/// What the questions of the client are given, the owner's time included.
const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(30);
const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";

/// A process that ends with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A session: a bus, and whoever is started on it.
struct Session {
    folder: TempDir,
    address: String,
    _bus: Running,
}

impl Session {
    /// `None`: this machine has no bus or no GNOME Keyring, and need not.
    fn start() -> Option<Self> {
        let missing = ["dbus-daemon", "gnome-keyring-daemon"].into_iter().find(|name| !on_path(name));
        if let Some(missing) = missing {
            assert!(std::env::var_os(REQUIRED).is_none(), "{missing} is not here");
            println!("skipped: {missing} is not here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("bus.conf");
        // No folder of services: nothing is started because somebody asks for it.
        let text = format!(
            "<busconfig><type>session</type><listen>unix:dir={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            folder.path().display()
        );
        std::fs::write(&conf, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--print-address").arg(format!("--config-file={}", conf.display()));
        let mut bus = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut address = String::new();
        BufReader::new(bus.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "the bus says {address:?}");
        Some(Self { folder, address: address.trim().to_owned(), _bus: bus })
    }

    fn tell<'a>(&self, command: &'a mut Command, home: &str) -> &'a mut Command {
        let home = self.home(home);
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }

    fn home(&self, home: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let home = self.folder.path().join(home);
        std::fs::create_dir_all(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    /// GNOME Keyring over this home; with a password it makes or unlocks the login keyring.
    fn keyring(&self, home: &str, password: Option<&str>) -> Running {
        let mut command = Command::new("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]);
        if password.is_some() {
            command.arg("--unlock");
        }
        self.tell(&mut command, home).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keyring = Running(command.spawn().unwrap());
        let mut stdin = keyring.0.stdin.take().unwrap();
        if let Some(password) = password {
            stdin.write_all(password.as_bytes()).unwrap();
        }
        drop(stdin);
        let bus = zbus::blocking::connection::Builder::address(self.address.as_str()).unwrap().build().unwrap();
        let names = zbus::blocking::fdo::DBusProxy::new(&bus).unwrap();
        let since = Instant::now();
        while !names.name_has_owner("org.freedesktop.secrets".try_into().unwrap()).unwrap() {
            assert!(since.elapsed() < SOON, "GNOME Keyring did not come onto the bus");
            std::thread::sleep(Duration::from_millis(50));
        }
        keyring
    }

    /// Has a process of its own do these steps, and gives what each came to.
    fn ask(&self, steps: &[&str]) -> Vec<String> {
        self.ask_for(PATIENCE, steps)
    }

    fn ask_for(&self, patience: Duration, steps: &[&str]) -> Vec<String> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "secret_service::client_of_a_keychain", "--nocapture"]);
        let text =
            [&[patience.as_millis().to_string()], &steps.iter().map(ToString::to_string).collect::<Vec<_>>()[..]];
        self.tell(&mut command, "client").env(STEPS, text.concat().join("\n"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text.lines().filter_map(|line| line.split_once(ANSWER)).map(|(_, answer)| answer.to_owned()).collect()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Not a test of its own: it is what the others run on their bus.
#[test]
fn client_of_a_keychain() {
    // Only the tests beside it give it something to do.
    let Ok(steps) = std::env::var(STEPS) else { return };
    let mut steps = steps.lines();
    let keychain = OsKeychain::with_patience(Duration::from_millis(steps.next().unwrap().parse().unwrap()));
    for step in steps {
        let words: Vec<&str> = step.split(' ').collect();
        println!("{ANSWER}{}", take(keychain, &words));
    }
}

fn take(keychain: OsKeychain, words: &[&str]) -> String {
    let id = |text: &str| <[u8; 16]>::try_from(hex::decode(text).unwrap()).unwrap();
    let told = |error: KeychainError| match error {
        KeychainError::Absent { missing } => format!("absent, {missing}"),
        KeychainError::Locked => "locked".to_owned(),
        KeychainError::NoAnswer { seconds } => format!("no answer in {seconds} s"),
        KeychainError::Form => "no key".to_owned(),
        KeychainError::Failed { why } => format!("failed, {why}"),
    };
    match words {
        ["read", number] => match keychain.read(&id(number)) {
            Ok(Some(key)) => hex::encode(key.bytes()),
            Ok(None) => "no entry".to_owned(),
            Err(error) => told(error),
        },
        ["write", number, byte] => {
            let key = WrappingKey::from_bytes(&[byte.parse().unwrap(); 32]).unwrap();
            keychain.write(&id(number), &key).map_or_else(told, |()| "kept".to_owned())
        }
        ["delete", number] => keychain.delete(&id(number)).map_or_else(told, |()| "gone".to_owned()),
        ["save", path] => {
            let words = Words::generate().unwrap();
            let candidate = words.candidates(Network::Main)[0];
            let (network, protection) = (Network::Main, Protection::Keychain);
            let save = Save { words: &words, candidate, network, protection, password: None };
            match Vault::new(path.into(), keychain).save(&save) {
                Ok(public) => public.address().to_string(),
                Err(error) => error.to_string(),
            }
        }
        ["state", path] => {
            let state = format!("{:?}", Vault::new(path.into(), keychain).state().unwrap());
            state.split(['(', ' ']).next().unwrap().to_owned()
        }
        ["unlock", path] => match Vault::new(path.into(), keychain).unlock(None) {
            Ok(wallet) => wallet.address().to_string(),
            Err(error) => error.to_string(),
        },
        // Puts another key under the number of a file's key.
        ["replace", path] => {
            let file = std::fs::read(path).unwrap();
            let number = wallet::Header::read(&file).unwrap().key_id;
            keychain
                .write(&number, &WrappingKey::from_bytes(&[9; 32]).unwrap())
                .map_or_else(told, |()| "kept".to_owned())
        }
        _ => panic!("{words:?}"),
    }
}

#[test]
fn a_key_is_kept_over_restarts_of_the_keyring_replaced_and_forgotten() {
    let Some(session) = Session::start() else { return };
    let (read, first, second, delete) =
        (format!("read {ID}"), format!("write {ID} 1"), format!("write {ID} 2"), format!("delete {ID}"));
    let keyring = session.keyring("home", Some("swordfish"));
    let answers = session.ask(&[&read, &first, &read, &second, &read]);
    assert_eq!(answers, ["no entry", "kept", &"01".repeat(32), "kept", &"02".repeat(32)]);
    drop(keyring);
    let _keyring = session.keyring("home", Some("swordfish"));
    assert_eq!(session.ask(&[&read, &delete, &delete, &read]), [&"02".repeat(32), "gone", "gone", "no entry"]);
}

#[test]
fn what_is_missing_is_named() {
    let Some(session) = Session::start() else { return };
    let (read, write) = (format!("read {ID}"), format!("write {ID} 1"));
    for answer in session.ask(&[&read, &write]) {
        assert!(answer.starts_with("absent, no Secret Service"), "{answer}");
    }
    // A keyring that nobody ever logged into has nothing to keep it in.
    let _keyring = session.keyring("fresh", None);
    let answers = session.ask(&[&read, &write]);
    assert_eq!(answers[0], "no entry");
    assert!(answers[1].starts_with("absent, the Secret Service has no default keyring"), "{answers:?}");
    // No bus at all.
    let nowhere = Session { address: format!("unix:path={}", session.file("nowhere")), ..session };
    for answer in nowhere.ask(&[&read, &write]) {
        assert!(answer.starts_with("absent, there is no session bus"), "{answer}");
    }
}

#[test]
fn a_wallet_whose_keychain_is_locked_absent_or_replaced_is_never_taken_for_none() {
    let Some(session) = Session::start() else { return };
    let path = session.file("wallet");
    let [save, state, unlock, replace] = ["save", "state", "unlock", "replace"].map(|word| format!("{word} {path}"));
    // Where nothing answers nothing is saved.
    let answers = session.ask(&[&state, &save, &state]);
    assert!(answers[1].contains("no keychain answers") && !Path::new(&path).exists(), "{answers:?}");
    assert_eq!((answers[0].as_str(), answers[2].as_str()), ("None", "None"));
    let keyring = session.keyring("home", Some("swordfish"));
    let answers = session.ask(&[&save, &state, &unlock, &save]);
    let address = answers[0].clone();
    assert_eq!(answers[1..], ["Locked", &address, "there is a wallet already"]);
    drop(keyring);

    // Gone.
    let answers = session.ask(&[&state, &unlock]);
    assert!(answers[0] == "NoKeychain" && answers[1].contains("no keychain answers"), "{answers:?}");
    // Locked; nobody can be asked for its password, which is what a dismissed question comes to.
    let keyring = session.keyring("home", None);
    let answers = session.ask(&[&state, &unlock, &save]);
    assert!(answers[0] == "NoKeychain" && answers[1].contains("is locked"), "{answers:?}");
    assert_eq!(answers[2], "there is a wallet already");
    drop(keyring);
    // Another keyring in its place: it answers, and knows nothing.
    let keyring = session.keyring("other", Some("another"));
    let answers = session.ask(&[&state, &unlock, &save, &replace, &state, &unlock]);
    assert_eq!((answers[0].as_str(), answers[3].as_str(), answers[4].as_str()), ("Orphaned", "kept", "Replaced"));
    assert!(answers[1].contains("does not have the key") && answers[5].contains("another key"), "{answers:?}");
    assert_eq!(answers[2], "there is a wallet already");
    drop(keyring);
    // The first one again: nothing was lost.
    let _keyring = session.keyring("home", Some("swordfish"));
    assert_eq!(session.ask(&[&state, &unlock]), ["Locked", &address]);
}

/// Says that it will ask, and never does: a dialog that nobody sees or answers. It counts what it was told.
#[derive(Default)]
struct Silent {
    told: Vec<zbus::zvariant::OwnedObjectPath>,
}

#[zbus::interface(name = "org.gnome.keyring.internal.Prompter")]
impl Silent {
    fn begin_prompting(&mut self, callback: zbus::zvariant::ObjectPath<'_>) {
        self.told.push(callback.into());
    }

    fn stop_prompting(&mut self, callback: zbus::zvariant::ObjectPath<'_>) {
        let ended = callback.into();
        self.told.retain(|told| *told != ended);
    }
}

#[test]
fn a_question_that_is_never_answered_is_waited_for_only_so_long() {
    let Some(session) = Session::start() else { return };
    let (read, write) = (format!("read {ID}"), format!("write {ID} 1"));
    let keyring = session.keyring("home", Some("swordfish"));
    assert_eq!(session.ask(&[&write]), ["kept"]);
    drop(keyring);
    let _prompter = zbus::blocking::connection::Builder::address(session.address.as_str())
        .unwrap()
        .name("org.gnome.keyring.SystemPrompter")
        .unwrap()
        .serve_at("/org/gnome/keyring/Prompter", Silent::default())
        .unwrap()
        .build()
        .unwrap();
    let _keyring = session.keyring("home", None);
    let answers = session.ask_for(Duration::from_secs(3), &[&read, &write]);
    assert_eq!(answers, ["no answer in 3 s", "no answer in 3 s"]);
}
