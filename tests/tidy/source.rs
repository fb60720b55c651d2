//! Rules about lines of source.

use crate::{code_of, read, root, tracked};

const CRATES: &str = "src-tauri/crates/";

#[test]
fn pure_code_never_touches_the_world() {
    let pure = [
        "tl/src",
        "ton/src",
        "accounting/src",
        "ratls/src",
        "evidence/src",
        "protocol/src",
        "link/src",
        "releases/src",
        "node/src/core",
        "node/src/doctor",
        "node/src/proof_file",
        "node/src/movements",
        "node/src/paper",
        "node/src/receipt",
        "sandbox/src/mode",
        "chain/src/machine",
        "chain/src/getter",
        "chain/src/transaction",
        "chain/src/toncenter/policy",
        "chain/src/toncenter/answer",
    ];
    let world = [
        "SystemTime::now",
        "Instant::now",
        "std::fs",
        // Addresses are data; sockets and look-ups are not.
        "TcpListener",
        "ToSocketAddrs",
        "std::thread",
        "std::process",
        "std::env",
        "tokio::",
        "rusqlite",
        "File::open",
        "TcpStream",
        "UdpSocket",
        "OnceLock",
        "thread::sleep",
    ];
    assert_nowhere(&sources_under(&pure), &world);
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let allowed = ["sandbox/", "engine/", "gpu/", "tpm/src/windows"];
    let files =
        rust_files().into_iter().filter(|path| !allowed.iter().any(|room| path.contains(&format!("{CRATES}{room}"))));
    let files: Vec<String> = files.filter(|path| !path.starts_with("tests/") && !path.contains("/tests/")).collect();
    assert_nowhere(&files, &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]);
}

#[test]
fn sql_stays_in_its_rooms() {
    let files: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| !path.contains("crates/ledger/") && !path.contains("crates/network/src/store"))
        .filter(|path| !path.starts_with("tests/") && !path.contains("/tests/"))
        .collect();
    assert_nowhere(&files, &["rusqlite", "INSERT INTO", "CREATE TABLE", "DELETE FROM"]);
}

#[test]
fn there_are_no_process_wide_statics() {
    let files: Vec<String> =
        rust_files().into_iter().filter(|path| !path.contains("/tests/") && !path.starts_with("tests/")).collect();
    assert_nowhere(&files, &["static mut", "lazy_static!", "LazyLock<", "thread_local!", "once_cell"]);
    // A value that is made once may be part of another; it may not be everybody's. The word is looked for anywhere in a line, and
    // behind a quote or in a name it is another.
    let everybodys = |line: &str| {
        line.match_indices("static ").any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|letter| letter != '\'' && letter != '_' && !letter.is_alphanumeric())
        })
    };
    for path in &files {
        let found: Vec<usize> =
            code_of(path).lines().enumerate().filter(|(_, line)| everybodys(line)).map(|(at, _)| at + 1).collect();
        assert!(found.is_empty(), "{path} has statics in lines {found:?}");
    }
}

#[test]
fn programs_are_started_only_where_the_map_says() {
    let allowed = ["crates/sandbox/", "crates/node/src/run", "crates/xtask/", "tests/", "src-tauri/src/"];
    let files: Vec<String> =
        rust_files().into_iter().filter(|path| !allowed.iter().any(|room| path.contains(room))).collect();
    assert_nowhere(&files, &["Command::new"]);
}

#[test]
fn nothing_is_left_unfinished() {
    let files: Vec<String> = rust_files().into_iter().filter(|path| !path.starts_with("tests/tidy/")).collect();
    assert_nowhere(&files, &["todo!(", "unimplemented!(", "#[ignore", "dbg!(", "assert!(true"]);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    for path in tracked() {
        for part in path.split('/') {
            let stem = part.split('.').next().unwrap_or(part);
            assert!(
                !["utils", "util", "manager", "helper", "helpers", "common", "misc"].contains(&stem),
                "{path}: {stem} says nothing"
            );
        }
    }
}

#[test]
fn hand_written_files_stay_under_a_thousand_lines() {
    for path in tracked() {
        let hand_written = [".rs", ".ts", ".svelte", ".sh", ".mjs"].iter().any(|end| path.ends_with(end))
            && !path.contains("/fixtures/")
            // Written by a test of `desktop`.
            && path != "ui/src/ipc/bindings.ts";
        if hand_written {
            let lines = read(&path).lines().count();
            assert!(lines < 1_000, "{path} has {lines} lines");
        }
    }
}

/// Types whose values hold a prompt, an answer or a key, by their file under the crates' folder. What contains one of them
/// can't derive `Debug` either: the compiler sees to that.
const SECRETIVE: &[(&str, &[&str])] = &[
    // Bytes as they travel. The generated types of messages without prompts have a `Debug`, which tests use.
    ("tl/src/http.rs", &["Header", "Request", "Response"]),
    (
        "tl/src/client.rs",
        &["AuthorizeWithProxyShort", "QueryAnswer", "QueryAnswerEx", "QueryAnswerPart", "RunQuery", "RunQueryEx"],
    ),
    ("tl/src/proxy.rs", &["QueryAnswer", "QueryAnswerEx", "QueryAnswerPart", "RunQuery", "RunQueryEx"]),
    ("tl/src/tcp.rs", &["Packet"]),
    ("tl/src/key_manager.rs", &["PrivateKey", "PrivateKeys"]),
    ("tl/src/key_manager_db.rs", &["Key"]),
    ("tl/src/client_runner.rs", &["Config"]),
    ("tl/src/key_storage_runner.rs", &["Config"]),
    ("tl/src/proxy_runner.rs", &["Config"]),
    ("tl/src/worker_runner.rs", &["Config"]),
    // Conversations.
    ("protocol/src/http.rs", &["Request", "ResponseHead"]),
    ("protocol/src/frame.rs", &["FrameReader"]),
    ("protocol/src/connection.rs", &["Event", "Connection"]),
    ("protocol/src/worker/mod.rs", &["Job", "Action", "Session"]),
    ("protocol/src/worker/jobs.rs", &["Query"]),
    ("protocol/src/client/mod.rs", &["Config", "ClientRequest", "Action", "Session"]),
    ("protocol/src/proxy/mod.rs", &["Config", "Action", "Core"]),
    ("protocol/src/proxy/jobs.rs", &["Wanted", "Attempt", "Job", "Work"]),
    ("protocol/src/proxy/answers.rs", &["Said"]),
    ("protocol/src/proxy/client_side.rs", &["Query"]),
    // TLS: keys, and text that is not yet or no longer encrypted.
    ("ratls/src/identity.rs", &["Identity", "CertificateKey"]),
    ("ratls/src/channel.rs", &["ClientChannel", "ServerChannel", "Tls"]),
    ("ratls/src/tls.rs", &["ClientTls", "ServerTls"]),
    // The model at work.
    ("engine/src/scheduler.rs", &["Request", "Output", "Sequence", "Engine"]),
    ("engine/src/stop.rs", &["StopFilter"]),
    ("engine/src/template.rs", &["Message", "RenderOptions"]),
    ("engine/src/tokenizer/specials.rs", &["Fragment"]),
    ("engine/src/tokenizer/detokenizer.rs", &["Detokenizer"]),
    ("engine/src/backend.rs", &["Row", "Batch", "Mask", "Masked"]),
    ("engine/src/constraint/json.rs", &["Json"]),
    ("engine/src/constraint/schema.rs", &["SchemaError", "Keywords", "Compiler"]),
    ("engine/src/constraint/grammar.rs", &["Grammar", "Builder"]),
    ("engine/src/constraint/matcher.rs", &["Way", "Matcher"]),
    // The boxed process.
    ("worker/src/completions/request.rs", &["Order", "Prompts", "Turn"]),
    ("worker/src/completions/format.rs", &["Format"]),
    ("worker/src/completions/answer.rs", &["Answer", "Choice"]),
    ("worker/src/completions/refusal.rs", &["Refusal"]),
    ("worker/src/inference.rs", &["Task", "Report"]),
    ("worker/src/inference/prepare.rs", &["Prepared"]),
    ("worker/src/inference/batch.rs", &["Waiting", "Batch"]),
    ("worker/src/job.rs", &["Running"]),
    ("worker/src/event.rs", &["Event"]),
    ("worker/src/lane.rs", &["Outcome", "Lane"]),
    ("worker/src/serve.rs", &["Server"]),
    ("worker/src/developer.rs", &["Generate"]),
    ("worker/src/main.rs", &["Arguments", "Command"]),
    // The owner's words, keys and password.
    ("wallet/src/words.rs", &["Words"]),
    ("wallet/src/key.rs", &["Key", "Wallet"]),
    ("wallet/src/keychain/mod.rs", &["WrappingKey"]),
    ("wallet/src/password.rs", &["Password"]),
    ("wallet/src/vault.rs", &["Save"]),
    // What signs the log of released programs.
    ("releases/src/note.rs", &["SignerKey"]),
    // An endpoint's key.
    ("chain/src/toncenter/mod.rs", &["Endpoint", "Settings", "Place", "Toncenter"]),
    // Proxy, gateway and chain.
    ("network/src/config.rs", &["Secret", "ProxyConfig", "GatewayConfig"]),
    ("network/src/chain/mod.rs", &["Settings", "Running"]),
    ("network/src/keys.rs", &["SigningKey"]),
    ("network/src/treasury/mod.rs", &["Wallet"]),
    ("network/src/treasury/purse.rs", &["Purse"]),
    ("network/src/proxy/treasurer.rs", &["OnChain", "Facts", "Treasurer"]),
    ("network/src/gateway/till.rs", &["OnChain", "Till"]),
    ("network/src/practice/identity.rs", &["Identity"]),
    ("network/src/wire.rs", &["Channel", "Wire", "Outgoing", "OutgoingQueue"]),
    ("network/src/misbehaviour.rs", &["Deed"]),
    ("network/src/proxy/mod.rs", &["Settings"]),
    ("network/src/proxy/doors.rs", &["Tls"]),
    ("network/src/proxy/host.rs", &["Event", "Host"]),
    ("network/src/gateway/mod.rs", &["Settings"]),
    ("network/src/gateway/request.rs", &["Wanted"]),
    ("network/src/gateway/answer.rs", &["Piece", "Sink", "Answer", "AnswerBody"]),
    ("network/src/gateway/proxies.rs", &["Command", "Dialler", "Talk"]),
];

/// What writes a value out: by hand, or derived.
const WRITERS: [&str; 5] = ["Debug", "Display", "Error", "LowerHex", "Serialize"];

#[test]
fn what_holds_secrets_cannot_be_printed() {
    let mut broken = Vec::new();
    for (file, names) in SECRETIVE {
        let path = format!("{CRATES}{file}");
        let code = code_of(&path);
        for name in *names {
            let declarations = declarations(&code, name);
            if declarations.len() != 1 {
                broken.push(format!("{path}: {name} is declared {} times: the list is stale", declarations.len()));
            }
            let attributes = declarations.iter().flat_map(|at| words(&attributes_before(&code, *at)));
            broken.extend(
                attributes
                    .filter(|word| WRITERS.contains(&word.as_str()))
                    .map(|word| format!("{path}: {name}: {word}")),
            );
        }
        // By hand it could be anywhere in the crate.
        let source = file.split_inclusive('/').take(2).collect::<String>();
        for path in sources_under(&[source.trim_end_matches('/')]) {
            let code = code_of(&path);
            for writer in WRITERS {
                for (at, sign) in code.match_indices(&format!("{writer} for ")) {
                    let target =
                        code[at + sign.len()..].split(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).next();
                    let target = target.and_then(|target| target.rsplit("::").next()).unwrap_or_default();
                    if names.contains(&target) {
                        broken.push(format!("{path}: {writer} for {target}"));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    // Rustls demands a `Debug` of whatever signs for it; this one says nothing.
    let tls = code_of(&format!("{CRATES}ratls/src/tls.rs"));
    let mute = "impl fmt::Debug for Key {\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        \
        f.write_str(\"Key(…)\")\n    }\n}";
    assert_eq!(tls.matches("Debug for Key ").count(), 1);
    assert!(tls.contains(mute), "the key that signs handshakes is printed");
}

/// Types that carry the owner's words and passwords between the window and the app. They are written to that line and to nothing else.
const CROSSING: &[(&str, &[&str])] = &[
    ("src-tauri/src/wire.rs", &["Question", "WalletQuestion", "Answer", "WalletAnswer", "ToApp", "ToWindow"]),
    ("src-tauri/src/view/wallet.rs", &["Protect", "Revealed"]),
    ("src-tauri/src/view/secret.rs", &["Secret"]),
];

#[test]
fn what_crosses_to_the_window_with_secrets_in_it_cannot_be_printed() {
    let mut broken = Vec::new();
    for (path, names) in CROSSING {
        let code = code_of(path);
        for name in *names {
            let declarations = declarations(&code, name);
            assert_eq!(declarations.len(), 1, "{path}: {name}: the list is stale");
            let attributes = words(&attributes_before(&code, declarations[0]));
            broken.extend(
                attributes
                    .into_iter()
                    .filter(|word| WRITERS.contains(&word.as_str()) && word != "Serialize")
                    .map(|word| format!("{path}: {name}: {word}")),
            );
            for writer in WRITERS.iter().filter(|writer| **writer != "Serialize") {
                let by_hand = format!("{writer} for {name} ");
                broken.extend(code.contains(&by_hand).then(|| format!("{path}: {by_hand}")));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn types_and_what_is_derived_for_them_are_found() {
    let code = "#[derive(Clone)]\nstruct Wide;\n\n#[derive(\n    Debug,\n    Clone,\n)]\n\n#[serde(default)]\npub(crate) enum Wid<'a> {}\n\
        \n    #[derive(Error)]\n    struct Wid = 0x1, \"wid\" {}\nlet enum_struct Wid;";
    let found = declarations(code, "Wid");
    assert_eq!(found.len(), 2);
    let derived = |at: usize| words(&attributes_before(code, at));
    assert_eq!(derived(found[0]), ["derive", "Debug", "Clone", "serde", "default"]);
    assert_eq!(derived(found[1]), ["derive", "Error"]);
    assert_eq!(derived(declarations(code, "Wide")[0]), ["derive", "Clone"]);
}

/// Where structs and enums of this name are declared.
fn declarations(code: &str, name: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for keyword in ["struct ", "enum "] {
        let sign = format!("{keyword}{name}");
        let whole = |at: usize| {
            let before = code[..at].chars().next_back();
            let after = code[at + sign.len()..].chars().next();
            before.is_none_or(char::is_whitespace) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        };
        found.extend(code.match_indices(&sign).map(|(at, _)| at).filter(|at| whole(*at)));
    }
    found.sort_unstable();
    found
}

/// The attributes of what begins at this place: all since the item before it ended.
fn attributes_before(code: &str, at: usize) -> String {
    let mut attributes: Vec<&str> = Vec::new();
    let (above, visibility) = code[..at].rsplit_once('\n').unwrap_or(("", &code[..at]));
    assert!(words(visibility).iter().all(|word| ["pub", "crate", "super"].contains(&word.as_str())), "{visibility}");
    let mut open = false;
    for line in above.lines().rev() {
        let line = line.trim();
        // The last line of an attribute of several lines comes first.
        open = (open || line.ends_with(")]")) && !line.starts_with("#[");
        if !(open || line.is_empty() || line.starts_with("#[")) {
            break;
        }
        attributes.insert(0, line);
    }
    attributes.concat()
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Private keys that may be read by everybody: recorded with the reference implementation's test programs, worth nothing.
const PUBLISHED_KEYS: &str = "tests/fixtures/cocoon/certs/";

#[test]
fn no_private_key_is_in_the_repository() {
    let mut found = Vec::new();
    let mut published = 0;
    for path in tracked() {
        let bytes = std::fs::read(root().join(&path)).unwrap();
        for what in private_keys(&bytes) {
            if path.starts_with(PUBLISHED_KEYS) {
                published += 1;
            } else {
                found.push(format!("{path}: {what}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(published > 0, "not even the published keys were found");
}

#[test]
fn a_private_key_is_told_from_what_speaks_of_one() {
    let signer = ["PRIVATE", "KEY", "log.example", "c74f20a3", &"Ab+/".repeat(11)].join("+");
    let pem = ["-----BEGIN EC PRIVATE", "KEY-----\nMHcCAQEEIIVgxtXFJmWTm9sO1pOQBBRW+Fe9u8Zq\n"].join(" ");
    let ssh = ["-----BEGIN OPENSSH PRIVATE", "KEY-----\r\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"].join(" ");
    for key in [&signer, &pem, &ssh] {
        let hidden = [b"\xff\0before ", key.as_bytes(), b" behind\xfe"].concat();
        assert_eq!(private_keys(&hidden).len(), 1, "{key}");
    }
    for talk in
        ["PRIVATE+KEY+name+id+key", "a signer's key begins with PRIVATE+KEY+", "-----BEGIN PRIVATE KEY----- and so on"]
    {
        assert!(private_keys(talk.as_bytes()).is_empty(), "{talk}");
    }
}

/// Private keys in these bytes, by what they are: of signed notes, and in PEM.
fn private_keys(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let is_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    let of_notes = text.split("PRIVATE+KEY+").skip(1).filter(|rest| {
        let parts: Vec<&str> = rest.splitn(3, '+').collect();
        let [_, id, key] = parts[..] else { return false };
        id.len() == 8
            && id.bytes().all(|digit| digit.is_ascii_hexdigit())
            && key.chars().take_while(|c| is_base64(*c)).count() >= 44
    });
    let pem = text.split("PRIVATE KEY-----").skip(1).filter(|rest| {
        rest.trim_start_matches(['\r', '\n', ' ', '\\', 'n', '"']).chars().take_while(|c| is_base64(*c)).count() >= 32
    });
    of_notes.map(|_| "a signer's key").chain(pem.map(|_| "a key in PEM")).collect()
}

#[test]
fn nothing_names_a_place_of_some_workshop() {
    // Paths of the machine a file was written on, and hosts of package registries, say nothing to a reader elsewhere.
    let workshop = ["/work/", "/ro", "ot/"];
    let signs = [
        format!("{}{}", workshop[0], "main"),
        format!("{}{}", workshop[0], "shared"),
        format!("{}{}", workshop[1], workshop[2]),
        ["..", "shared"].join("/"),
        ["crates", "io/api"].join("."),
        ["registry", "npmjs"].join("."),
        ["pypi", "org"].join("."),
        ["deb", "debian.org"].join("."),
    ];
    for path in tracked() {
        let text_like = [".rs", ".md", ".toml", ".sh", ".json", ".yml", ".sql", ".mjs", ".ts"]
            .iter()
            .any(|end| path.ends_with(end));
        if !text_like
            || path.contains("tests/fixtures/cocoon/")
            || path == "Cargo.lock"
            || path.ends_with("package-lock.json")
        {
            continue;
        }
        let text = read(&path);
        for sign in &signs {
            assert!(!text.contains(sign.as_str()), "{path} names {sign}");
        }
    }
}

fn rust_files() -> Vec<String> {
    tracked().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Rust files under folders given relative to the crates folder; a folder `x/y` also covers the file `x/y.rs`.
fn sources_under(folders: &[&str]) -> Vec<String> {
    let found: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| {
            folders.iter().any(|folder| {
                path.starts_with(&format!("{CRATES}{folder}/")) || *path == format!("{CRATES}{folder}.rs")
            })
        })
        .filter(|path| !is_for_tests_only(path))
        .collect();
    assert!(!found.is_empty(), "no source under {folders:?}");
    found
}

/// Whether the module above declares this file, or the folder it stands in, under `#[cfg(test)]`.
fn is_for_tests_only(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').expect("a folder");
    let declared = |folder: &str, module: &str| {
        let above = ["lib.rs", "mod.rs"].map(|name| format!("{folder}/{name}"));
        let line = format!("#[cfg(test)]\nmod {module};");
        above.iter().any(|above| root().join(above).exists() && read(above).contains(&line))
    };
    let inside = folder.rsplit_once('/').is_some_and(|(above, module)| declared(above, module));
    inside || declared(folder, file.trim_end_matches(".rs"))
}

fn assert_nowhere(files: &[String], signs: &[&str]) {
    let mut broken = Vec::new();
    for path in files {
        // A lifetime is no static.
        let code = code_of(path).replace("'static mut", "'static  mut");
        for (number, line) in code.lines().enumerate() {
            for sign in signs {
                if line.contains(sign) {
                    broken.push(format!("{path}:{}: {sign}", number + 1));
                }
            }
        }
    }
    assert!(!files.is_empty(), "no file to look at");
    assert!(broken.is_empty(), "{broken:#?}");
}
