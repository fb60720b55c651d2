//! No sentence about secrecy or income is stronger than what is proved.
//!
//! Every text that people see and that holds a word of [`TRIGGERS`] stands in `claims.json` with the lowest grade at which it may be shown and
//! with why it may: a new or changed sentence fails until somebody has read it and written that down. What is listed is checked as far as a
//! machine can: what a grade says is what its verifier's wording says, what is promised names the test that keeps it, and some words are never
//! right. `ui/tests/claims.test.ts` renders the window at every grade and looks for texts of a higher one.
//!
//! `CHRYSALIS_WRITE_CLAIMS=1 cargo test -p system-tests --test tidy claims` puts new sentences into the file, to be reviewed.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Grade;
use node::doctor::Missing;
use serde_json::{Map, Value, json};

use crate::{documents, read, root, tracked};

/// The list.
const LIST: &str = "tests/tidy/claims.json";
/// Sets that new sentences are written into it.
const WRITE: &str = "CHRYSALIS_WRITE_CLAIMS";
/// Why a new sentence may stand there: nobody has said it yet.
const UNREVIEWED: &str = "REVIEW";

/// Beginnings of words, by language, that speak of secrecy, safety or income. A language without them is not shipped.
const TRIGGERS: [(&str, &[&str]); 1] = [(
    "en",
    &[
        "private",
        "privacy",
        "privately",
        "secret",
        "confidential",
        "encrypt",
        "anonym",
        "nobody",
        "no one",
        "unreadable",
        "safe",
        "secur",
        "protect",
        "guard",
        "seal",
        "isolat",
        "tamper",
        "hidden",
        "hides",
        "hide",
        "guarantee",
        "earn",
        "income",
        "profit",
        "revenue",
        "lucrative",
        "can't be read",
        "can't be seen",
        "can't read",
        "can't see",
        "cannot read",
        "cannot see",
        "cannot be read",
        "cannot be seen",
        "from its owner",
        "from the owner",
        "from the computer's owner",
        "from this computer's owner",
        "never leave",
        "stored here",
        "unhackable",
        "bulletproof",
        "fortune",
        "rich",
    ],
)];

/// A text that names one of these and, somewhere, one of [`DENIALS`], speaks of secrecy too: "writes neither questions nor answers down".
const GUARDED: [&str; 3] = ["question", "answer", "prompt"];
/// See [`GUARDED`].
const DENIALS: [&str; 9] =
    ["never", "neither", "cannot", "can't", "no question", "no answer", "not written", "nothing of", "kept from"];

/// Names of things, in which a trigger means nothing.
const NAMES: [&str; 4] = ["secure boot", "security chip", "secret service", "rich text"];

/// What no text may say at any grade, whatever the list says: no wording of a grade carries it.
const NEVER: [&str; 14] = [
    "nobody can read",
    "no one can read",
    "nobody can see",
    "no one can see",
    "nobody else can read",
    "completely private",
    "fully private",
    "100% private",
    "absolutely safe",
    "completely safe",
    "guaranteed income",
    "guaranteed profit",
    "passive income",
    "easy money",
];

/// Why a sentence with a trigger may stand there.
const KINDS: [(&str, &str); 8] = [
    ("denies", "it says that something is not so, or warns"),
    ("wallet", "it is about the owner's own key, words, address or password"),
    ("file", "it is about a file or a table that is read or can't be read"),
    ("counted", "it is about what was counted, signed or paid, and promises nothing"),
    ("name", "it names a thing, a place or a button, and says nothing about it"),
    ("grade", "it says what a grade's wording says, and no more"),
    ("asks", "it says what somebody else asks for"),
    ("kept", "it promises, and the named test keeps it"),
];

#[test]
fn every_sentence_about_secrecy_or_income_was_reviewed() {
    let found = found();
    let mut list = list();
    if std::env::var_os(WRITE).is_some() {
        for (place, texts) in &found {
            let listed = list.entry(*place).or_insert_with(|| json!({})).as_object_mut().unwrap();
            listed.retain(|text, _| texts.contains(text));
            for text in texts {
                listed.entry(text.clone()).or_insert_with(|| json!({ "lowest": "self-claim", "kind": UNREVIEWED }));
            }
        }
        let text = serde_json::to_string_pretty(&list).unwrap() + "\n";
        std::fs::write(root().join(LIST), text).unwrap();
    }
    for (place, texts) in &found {
        let listed: BTreeSet<String> = entries(&list, place).map(|(text, _)| text.clone()).collect();
        let new: Vec<_> = texts.difference(&listed).collect();
        assert!(
            new.is_empty(),
            "nobody has reviewed these texts in {place}; run once with {WRITE}=1 and fill in {LIST}: {new:#?}"
        );
        let gone: Vec<_> = listed.difference(texts).collect();
        assert!(gone.is_empty(), "these texts are no longer in {place}; run once with {WRITE}=1: {gone:#?}");
    }
    assert!(found.values().map(BTreeSet::len).sum::<usize>() > 60, "hardly any text was found");
}

#[test]
fn what_was_reviewed_says_why_it_may_be_said() {
    let list = list();
    let wording = wording();
    for place in ["messages", "program", "documents"] {
        for (text, entry) in entries(&list, place) {
            let lowest =
                entry["lowest"].as_str().and_then(Grade::from_name).unwrap_or_else(|| panic!("{text}: no such grade"));
            let kind = entry["kind"].as_str().unwrap_or_default();
            assert!(KINDS.iter().any(|(known, _)| *known == kind), "{text}: {kind:?} is none of {KINDS:#?}");
            match kind {
                "kept" => {
                    let by = entry["by"].as_str().unwrap_or_else(|| panic!("{text}: by which test?"));
                    assert!(documents::names_a_test(by), "{text}: {by} does not exist");
                }
                // Text of a grade is shown with that grade, or says by its name which one it is about.
                "grade" => {
                    let own = wording
                        .iter()
                        .filter(|(words, _)| text_of(text) == words.as_str())
                        .map(|(_, grade)| *grade)
                        .min();
                    assert!(
                        own.is_none_or(|grade| lowest == grade),
                        "{text}: it is the wording of {own:?}, and may not be shown at {lowest}"
                    );
                }
                _ => assert_eq!(lowest, Grade::SelfClaim, "{text}: only texts of a grade depend on one"),
            }
            let everybody = place != "messages" && lowest > Grade::SelfClaim;
            assert!(
                !everybody
                    || wording.iter().any(|(words, _)| words == text_of(text))
                    || text.contains(lowest.wording().title),
                "{text}: it is shown to everybody, so it has to say that it holds at {lowest} only"
            );
        }
    }
}

#[test]
fn some_words_are_never_right() {
    for (place, texts) in all_texts() {
        for text in texts {
            assert!(never(&text).is_none(), "{place}: {text}");
        }
    }
}

#[test]
fn the_page_says_what_a_grade_means_in_the_verifiers_words() {
    let messages = messages("en");
    let message = |key: &str| messages.get(key).unwrap_or_else(|| panic!("there is no message {key}"));
    for grade in Grade::ALL {
        let (key, words) = (grade.name().replace('-', "_"), grade.wording());
        assert_eq!(message(&format!("grade_{key}_title")), words.title);
        assert_eq!(message(&format!("grade_{key}_proves")), words.proves);
        assert_eq!(message(&format!("grade_{key}_not")), words.does_not_prove);
        assert_eq!(message(&format!("grade_{key}_read")), words.who_can_read);
    }
    for missing in Missing::ALL {
        assert_eq!(*message(&format!("missing_{}", missing.name())), missing.words().replace('`', ""));
    }
}

#[test]
fn every_language_of_the_window_has_its_words_to_look_for() {
    let settings: Value = serde_json::from_str(&read("ui/project.inlang/settings.json")).unwrap();
    for locale in settings["locales"].as_array().unwrap() {
        let locale = locale.as_str().unwrap();
        assert!(TRIGGERS.iter().any(|(known, words)| *known == locale && words.len() > 10), "no words for {locale}");
    }
}

#[test]
fn a_claim_that_somebody_slips_in_is_found() {
    for claim in [
        "Your questions are private here.",
        "Nobody reads what you ask.",
        "You will earn 5 TON a day.",
        "Answers are end-to-end encrypted.",
        "Everything stays SAFE with us.",
        "It's a guaranteed return.",
        "Answers never leave this PC.",
    ] {
        assert!(triggers("en", claim), "{claim}");
    }
    for harmless in [
        "It asks for Secure Boot.",
        "The Secret Service keeps the key.",
        "Learn more",
        "enriched",
        "{income} of {amount}",
    ] {
        assert!(!triggers("en", harmless), "{harmless}");
    }
    assert!(never("Sleep well: Nobody can read it.").is_some());
    let source = "// private\nlet a = \"this is private\"; let b = 'x'; let c = r#\"raw \"safe\" text\"#; /* \"secret\" */ let d = \"two \\\n   lines\";";
    assert_eq!(literals(source), ["this is private", "raw \"safe\" text", "two lines"]);
    let page =
        "# Safe\n\nOne is safe. Two\nis `secret::test` not.\n\n| a | b safe |\n|---|---|\n```\nsafe\n```\n- three";
    assert_eq!(sentences(page), ["Safe", "One is safe.", "Two is `…` not.", "a", "b safe", "three"]);
}

/// The texts with a trigger, by place.
fn found() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for (place, texts) in all_texts() {
        // What a grade says is a claim, whatever words it takes.
        let spoken = |text: &&String| {
            text.starts_with("grade_") || TRIGGERS.iter().any(|(language, _)| triggers(language, text_of(text)))
        };
        found.insert(place, texts.iter().filter(spoken).cloned().collect());
    }
    found
}

/// Everything that people see. A message stands with its key before it: `key: text`.
fn all_texts() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut all: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for (language, _) in TRIGGERS {
        let texts = messages(language).into_iter().map(|(key, text)| format!("{key}: {text}"));
        all.entry("messages").or_default().extend(texts);
    }
    for path in tracked() {
        let shown = [
            "src-tauri/src/",
            "src-tauri/crates/node/src/",
            "src-tauri/crates/evidence/src/",
            "src-tauri/crates/tpm/src/",
            "src-tauri/crates/releases/src/",
            "src-tauri/crates/sandbox/src/",
        ];
        let is_test = path.contains("/tests") || path.ends_with("tests.rs");
        if path.ends_with(".rs") && !is_test && shown.iter().any(|folder| path.starts_with(folder)) {
            let source = read(&path);
            let end = source.find("#[cfg(test)]").unwrap_or(source.len());
            let texts = all.entry("program").or_default();
            texts.extend(literals(&source[..end]).into_iter().filter(|text| text.contains(' ')));
            // What stands over a word of the command line is its help.
            if source.contains("clap::") {
                texts.extend(
                    source[..end].lines().filter_map(|line| line.trim().strip_prefix("/// ")).map(str::to_owned),
                );
            }
        } else if ["README.md", "src-tauri/docs/security.md"].contains(&path.as_str())
            || path.starts_with("installers/")
        {
            let page = read(&path);
            let texts = all.entry("documents").or_default();
            if path.ends_with(".md") {
                texts.extend(sentences(&page));
            } else {
                texts.extend(page.lines().map(|line| line.trim().to_owned()));
            }
        }
    }
    all
}

/// The messages of a language: every form of each in one text, without what is filled in.
fn messages(language: &str) -> BTreeMap<String, String> {
    fn forms(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(all) => all.iter().for_each(|value| forms(value, texts)),
            Value::Object(object) => {
                for form in object.get("match").and_then(Value::as_object).into_iter().flat_map(Map::values) {
                    forms(form, texts);
                }
            }
            _ => {}
        }
    }
    let messages: Map<String, Value> = serde_json::from_str(&read(&format!("ui/messages/{language}.json"))).unwrap();
    messages
        .into_iter()
        .filter(|(key, _)| key != "$schema")
        .map(|(key, value)| {
            let mut texts = Vec::new();
            forms(&value, &mut texts);
            (key, texts.join(" / "))
        })
        .collect()
}

/// A message without its key.
fn text_of(text: &str) -> &str {
    match text.split_once(": ") {
        Some((key, rest))
            if key.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_') =>
        {
            rest
        }
        _ => text,
    }
}

/// Whether a text holds a trigger at the beginning of a word.
fn triggers(language: &str, text: &str) -> bool {
    let mut plain = without_placeholders(text).to_lowercase().replace('’', "'");
    for name in NAMES {
        plain = plain.replace(name, "");
    }
    let words = TRIGGERS.iter().find(|(known, _)| *known == language).map_or(&[][..], |(_, words)| words);
    let holds = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    if holds(&GUARDED) && holds(&DENIALS) {
        return true;
    }
    words.iter().any(|word| {
        plain.match_indices(word).any(|(at, _)| {
            let before = plain[..at].chars().next_back();
            // "rich" and "hide" are whole words: "richer" promises too, "hidebound" does not matter.
            before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_')
        })
    })
}

fn without_placeholders(text: &str) -> String {
    let mut plain = String::new();
    let mut depth = 0_usize;
    for letter in text.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(letter),
            _ => {}
        }
    }
    plain
}

fn never(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    NEVER.into_iter().find(|words| text.contains(words))
}

/// What grades say, with the grade.
fn wording() -> Vec<(String, Grade)> {
    let texts = |grade: Grade| {
        let words = grade.wording();
        [words.title, words.proves, words.does_not_prove, words.who_can_read].map(|text| (text.to_owned(), grade))
    };
    Grade::ALL.into_iter().flat_map(texts).collect()
}

fn list() -> Map<String, Value> {
    std::fs::read(root().join(LIST)).ok().map_or_else(Map::new, |bytes| serde_json::from_slice(&bytes).unwrap())
}

fn entries<'a>(list: &'a Map<String, Value>, place: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    list.get(place).and_then(Value::as_object).into_iter().flatten()
}

/// The text literals of Rust source, comments left out.
fn literals(source: &str) -> Vec<String> {
    let letters: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    let starts = |at: usize, word: &str| letters[at..].iter().copied().take(word.len()).eq(word.chars());
    while at < letters.len() {
        if starts(at, "//") {
            while at < letters.len() && letters[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            while at < letters.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if starts(at, "'\"'") || starts(at, "b'\"'") {
            at += 3;
        } else if starts(at, "'\\\"'") {
            at += 4;
        } else if letters[at] == 'r'
            && matches!(letters.get(at + 1), Some('#' | '"'))
            && !at.checked_sub(1).is_some_and(|before| letters[before].is_alphanumeric())
        {
            let hashes = letters[at + 1..].iter().take_while(|letter| **letter == '#').count();
            if letters.get(at + 1 + hashes) != Some(&'"') {
                at += 1;
                continue;
            }
            let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let from = at + hashes + 2;
            let mut to = from;
            while to < letters.len() && !starts(to, &end) {
                to += 1;
            }
            found.push(letters[from..to].iter().collect());
            at = to + end.len();
        } else if letters[at] == '"' {
            let mut text = String::new();
            at += 1;
            while at < letters.len() && letters[at] != '"' {
                if letters[at] == '\\' {
                    at += 1;
                    match letters.get(at) {
                        Some('\n') => {
                            while letters.get(at + 1).is_some_and(|letter| letter.is_whitespace()) {
                                at += 1;
                            }
                        }
                        Some('n' | 't') => text.push(' '),
                        Some(letter) => text.push(*letter),
                        None => {}
                    }
                } else {
                    text.push(letters[at]);
                }
                at += 1;
            }
            at += 1;
            found.push(text);
        } else {
            at += 1;
        }
    }
    found
}

/// The sentences of a page in Markdown: without code blocks, cells of tables each for itself, and what stands in backticks as `…`, so that
/// another test's name is no other sentence.
fn sentences(page: &str) -> Vec<String> {
    let mut pieces: Vec<String> = vec![String::new()];
    let mut in_code = false;
    for line in page.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            in_code = !in_code;
            pieces.push(String::new());
        } else if in_code {
        } else if line.starts_with('|') {
            pieces.extend(line.split('|').map(|cell| cell.trim().to_owned()));
            pieces.push(String::new());
        } else if line.is_empty() {
            pieces.push(String::new());
        } else {
            let begins = ["- ", "* ", "#", ">"].iter().any(|mark| line.starts_with(mark));
            if begins {
                pieces.push(String::new());
            }
            if let Some(last) = pieces.last_mut() {
                last.push(' ');
                last.push_str(line.trim_start_matches(['#', '-', '*', '>', ' ']));
            }
        }
    }
    let mut found = Vec::new();
    for piece in pieces {
        let shown: String = piece
            .split('`')
            .enumerate()
            .map(|(at, part)| if at % 2 == 0 { part.to_owned() } else { "`…`".to_owned() })
            .collect();
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut from = 0;
        for (at, _) in shown.match_indices(". ") {
            found.push(shown[from..=at].to_owned());
            from = at + 2;
        }
        found.push(shown[from..].to_owned());
    }
    found.retain(|text| text.chars().any(char::is_alphanumeric));
    found
}
