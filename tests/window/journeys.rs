//! What an owner does in the window.

use crate::{Setting, window_of, worker_of};
use serde_json::Value;
use system_tests::desk::Driver;
use system_tests::program::{is_alive, path, run};
use system_tests::registrar::Registrar;
use system_tests::tpm::Simulator;
use system_tests::until;

#[test]
fn an_owner_starts_sees_work_looks_at_jobs_and_pauses() {
    let Some(setting) = Setting::start() else { return };
    let driver = setting.desk.drive(&path("chrysalis"), &setting.words(&["--customers", "2"]));
    driver.until_it_shows("Practice");
    driver.until_it_shows("pays nothing");
    driver.picture("home-paused");
    let app = setting.app();
    assert!(worker_of(app).is_none(), "nothing runs before the owner wants it");

    driver.click_button("Start practising");
    until("a worker", || worker_of(app));
    until("answered questions", || (setting.answered() >= 3).then_some(()));
    driver.until_it_shows("measured");
    driver.picture("home-working");
    setting.desk.picture("screen-working");
    assert!(!driver.text().contains("NaN") && !driver.text().contains("undefined"), "{}", driver.text());

    driver.click_button("Jobs");
    driver.until_it_shows("Done");
    driver.click("button.open-job");
    driver.until_it_shows("How this was priced");
    until("the panel to have the focus", || {
        (driver.script("return document.activeElement.id") == "priced-title").then_some(())
    });
    driver.picture("jobs-priced");

    driver.click_button("Home");
    driver.click_button("Pause");
    // The fact, not the wish: the window says so when the process is gone.
    driver.until_it_shows("Paused");
    assert!(worker_of(app).is_none(), "the window says paused while the worker is there");
    driver.picture("home-paused-again");
    assert!(is_alive(app) && window_of(app).is_some());
}

/// Presses the first button whose name begins so, once it can be pressed.
fn press(driver: &Driver, beginning: &str) {
    let script = format!(
        "const it = [...document.querySelectorAll('button')].find((it) => (it.getAttribute('aria-label') ?? it.innerText).trim().startsWith({beginning:?})); \
         if (!it || it.disabled) return null; it.click(); return true;"
    );
    until(&format!("a button {beginning}"), || driver.script(&script).as_bool());
}

/// Types into the field with this label, as somebody who pastes does.
fn fill(driver: &Driver, label: &str, text: &str) {
    let script = format!(
        "const label = [...document.querySelectorAll('label')].find((it) => it.innerText.trim().startsWith({label:?})); \
         const field = label && (label.control ?? document.getElementById(label.htmlFor)); if (!field) return null; \
         field.focus(); field.value = {text:?}; field.dispatchEvent(new Event('input', {{ bubbles: true }})); return true;"
    );
    until(&format!("a field {label}"), || driver.script(&script).as_bool());
}

#[test]
fn what_was_earned_is_fetched_proved_and_sent_in_the_window() {
    let Some(setting) = Setting::start() else { return };
    // This owner wants to be asked: else there would be a payout every few seconds, and one transfer is under way at a time.
    std::fs::write(setting.ledger().with_file_name("wallet-rules.json"), r#"{"threshold":null}"#).unwrap();
    let driver = setting.desk.drive(&path("chrysalis"), &setting.words(&["--customers", "2", "--start"]));
    until("answered questions", || (setting.answered() >= 3).then_some(()));
    driver.click_button("Wallet");
    driver.until_it_shows("practice TON");
    driver.picture("wallet");
    press(&driver, "Send");
    fill(&driver, "Send to", "0:0000000000000000000000000000000000000000000000000000000000000000");
    press(&driver, "Continue");
    driver.until_it_shows("checksum");
    let stranger =
        ton::AddressText { address: ton::Address { workchain: 0, hash: [0x5a; 32] }, bounceable: false, testnet: true };
    fill(&driver, "Send to", &stranger.to_text());
    driver.picture("wallet-send");
    // Presses what leads on, until the sheet shows some words.
    let on = |last: &str| {
        driver.script(&format!(
            "const sheet = document.querySelector('[role=dialog], dialog'); if (!sheet) return null; \
             if (sheet.innerText.includes({last:?})) return true; \
             const box = [...sheet.querySelectorAll('label.check')].find((it) => it.innerText.includes('compared'))?.querySelector('input'); \
             if (box && !box.checked) box.click(); \
             const names = ['Send 0', 'Try it anew', 'Review', 'Continue']; \
             const buttons = [...sheet.querySelectorAll('button')].filter((it) => !it.disabled); \
             names.map((name) => buttons.find((it) => it.innerText.trim().startsWith(name))).find((it) => it)?.click(); return null;"
        ))
        .as_bool()
    };
    until("the amount's page", || on("Send everything"));
    fill(&driver, "Amount", "0.3");
    until("the review", || on("Left in this wallet"));
    driver.picture("wallet-review");
    until("the end of the transfer", || on("everything that was wanted happened"));
    driver.picture("wallet-sent");
    let ledger = ledger::Ledger::open_for_reading(&setting.ledger()).unwrap();
    let root = ledger.root_contracts().unwrap()[0];
    let rows = ledger.transfers(&root, None, 100).unwrap().transfers;
    let sent = rows.iter().find(|row| row.errand == accounting::Errand::Send).expect("it is written down");
    assert_eq!((sent.outgoing.to, sent.outgoing.value), (stranger.address, ton::Nanoton(300_000_000)));
    assert!(matches!(sent.stage, accounting::Stage::Ended(accounting::Outcome::Done { .. })), "{sent:?}");
    press(&driver, "Close");

    driver.click_button("Earnings");
    press(&driver, "Take it now");
    // It is tried on a copy of the chain first, and the button says what comes of it.
    let take = "const it = [...document.querySelectorAll('dialog button')].find((it) => it.innerText.trim().startsWith('Take ')); \
        if (!it || it.disabled) return null; it.click(); return true;";
    until("the button with what it brings", || driver.script(take).as_bool());
    press(&driver, "Close");
    press(&driver, "Verify the payout");
    driver.until_it_shows("9 of 9");
    driver.picture("earnings-proved");
    assert!(!driver.text().contains("NaN") && !driver.text().contains("undefined"), "{}", driver.text());
}

/// What the chart of the first card shows.
#[derive(Debug)]
struct Chart {
    /// Columns of pixels in which its line is drawn, in the colour of what is ours.
    columns: u64,
    /// What a screen reader says of it.
    said: String,
    /// The latest value, as it stands beside it.
    latest: String,
}

fn chart(driver: &Driver) -> Option<Chart> {
    let script = "const spark = document.querySelector('.gpu .spark[role=img]'); const canvas = spark?.querySelector('canvas'); \
        if (!canvas?.width || !canvas.height) return null; \
        const colour = getComputedStyle(spark).getPropertyValue('--chart-1').trim(); \
        const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)); \
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); \
        const columns = new Set(); \
        for (let at = 0; at < data.length; at += 4) { \
          const off = wanted.reduce((sum, part, i) => sum + Math.abs(part - data[at + i]), 0); \
          if (data[at + 3] > 127 && off < 48) columns.add((at / 4) % canvas.width); } \
        return [columns.size, spark.getAttribute('aria-label'), spark.closest('.gpu').querySelector('.chart-head .num').innerText];";
    let found = driver.script(script);
    let text = |at: usize| found[at].as_str().map(str::to_owned);
    Some(Chart { columns: found[0].as_u64()?, said: text(1)?, latest: text(2)? })
}

#[test]
fn what_this_pc_proves_is_checked_again_in_the_window_and_verified_by_somebody_else() {
    let Some(setting) = Setting::start() else { return };
    let tpm = Simulator::certified();
    // As makers do who certify through somebody between: the registrar knows the root alone.
    tpm.write(0x01c0_0100, &tpm.between());
    let elsewhere = tempfile::tempdir().unwrap();
    let registrar = Registrar::knowing(elsewhere.path(), &[tpm.root_file()]);
    registrar.enrol(setting.folder.path(), &tpm, &["--yes", "--proxy", &"22".repeat(32)]);
    let place = tpm.address().to_string();
    let driver = setting.desk.drive(&path("chrysalis"), &setting.words(&["--customers", "0", "--tpm", &place]));
    driver.click_button("Trust");
    driver.until_it_shows("Not verified");
    driver.click_button("Check again");
    driver.until_it_shows("Known computer");
    driver.picture("trust-known-machine");
    let proof = until("the proof", || {
        let proof = driver.script("return window.__TAURI_INTERNALS__.invoke('trust_proof')");
        proof.as_str().map(str::to_owned)
    });

    // Somebody else, who has the file and believes this registrar.
    let file = elsewhere.path().join("proof.json");
    let verify = |content: &Value, more: &[&str]| {
        std::fs::write(&file, content.to_string()).unwrap();
        let words = [&["verify", file.to_str().unwrap(), "--json"], more].concat();
        let (code, out, errors) = run("chrysalis", &words);
        (code, serde_json::from_str::<Value>(&out).unwrap_or_default(), errors)
    };
    let proof: Value = serde_json::from_str(&proof).unwrap();
    let believing = ["--registrar", &registrar.key];
    let (code, found, errors) = verify(&proof, &believing);
    assert_eq!(
        (code, &found["proved"], &found["claimed"]),
        (Some(0), &"known-machine".into(), &"known-machine".into())
    );
    assert_eq!(found["facts"]["vendor"].as_str().map(str::is_empty), Some(false), "{found} {errors}");
    // Who believes another registrar, or none, is shown nothing by it.
    let (code, found, errors) = verify(&proof, &[]);
    assert_eq!((code, &found["proved"]), (Some(1), &Value::Null));
    assert!(errors.contains("not trusted here"), "{errors}");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = proof.clone();
        change(&mut changed);
        let (code, found, errors) = verify(&changed, &believing);
        assert_eq!(code, Some(1), "{found}");
        errors
    };
    // Another question, another connection, and a claim that the evidence does not bear out.
    for field in ["nonce", "tls_key"] {
        let errors = changed(&|proof| proof["shown"][field] = "77".repeat(32).into());
        assert!(errors.contains("made for another question or for another connection"), "{errors}");
    }
    let errors = changed(&|proof| proof["claimed"] = "processor-isolated".into());
    assert!(errors.contains("claims processor-isolated and proves known-machine"), "{errors}");
    // One bit of what the TPM signed.
    let errors = changed(&|proof| {
        let mut evidence = hex::decode(proof["shown"]["evidence"].as_str().unwrap()).unwrap();
        let at = evidence.windows(4).position(|bytes| bytes == [0xff, 0x54, 0x43, 0x47]).expect("the quote");
        evidence[at + 20] ^= 1;
        proof["shown"]["evidence"] = hex::encode(evidence).into();
    });
    assert!(errors.contains("not signed as it should be"), "{errors}");
}

#[test]
fn the_chart_of_a_card_is_drawn_from_its_readings_while_questions_are_answered() {
    let Some(setting) = Setting::start() else { return };
    let driver = setting.desk.drive(&path("chrysalis"), &setting.words(&["--start", "--customers", "2"]));
    until("an answered question", || (setting.ledger().exists() && setting.answered() > 0).then_some(()));
    // Two readings make a line; each one more makes it longer.
    let answered = setting.answered();
    let first = until("a line in the chart", || chart(&driver).filter(|chart| chart.columns > 0));
    let later = until("a longer line", || chart(&driver).filter(|chart| chart.columns > first.columns));
    assert!(setting.answered() > answered, "nothing was answered meanwhile");
    driver.picture("home-chart");
    for chart in [first, later] {
        let percent = chart.latest.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        assert!(percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)), "{chart:?}");
        assert!(
            chart.said.starts_with("Load of ") && chart.said.contains(" in the last 10 minutes: between "),
            "{chart:?}"
        );
        assert!(chart.said.ends_with(&format!(", now {}.", chart.latest)), "{chart:?}");
    }
}

#[test]
fn closing_the_window_leaves_it_at_work_and_a_second_start_shows_it_again() {
    let Some(setting) = Setting::start() else { return };
    let words = setting.words(&["--start"]);
    let mut app = setting.desk.command(path("chrysalis")).args(&words).spawn().unwrap();
    let pid = app.id();
    let first = until("a window", || window_of(pid));
    until("the window on the screen", || setting.desk.windows().iter().any(|it| it == "Chrysalis").then_some(()));
    until("an answered question", || (setting.ledger().exists() && setting.answered() > 0).then_some(()));
    setting.desk.close_window();
    until("the window's process to end", || (!is_alive(first)).then_some(()));
    let before = setting.answered();
    until("more answers without a window", || (setting.answered() > before).then_some(()));
    assert!(is_alive(pid) && worker_of(pid).is_some());

    let again = setting.desk.command(path("chrysalis")).args(&words).status().unwrap();
    assert!(again.success(), "a second start ends well");
    let second = until("the window again", || window_of(pid));
    assert_ne!(first, second);
    system_tests::program::send(pid, rustix::process::Signal::TERM);
    assert!(app.wait().unwrap().success());
    until("the window to end with the app", || (!is_alive(second)).then_some(()));
    let left = setting.desk.home_folders(".local/share");
    assert!(!left.iter().any(|name| name.contains("chrysalis.")), "the web view leaves {left:?} behind");
}

#[test]
fn a_window_that_is_killed_harms_no_work() {
    let Some(setting) = Setting::start() else { return };
    let words = setting.words(&["--start"]);
    let mut app = setting.desk.command(path("chrysalis")).args(&words).spawn().unwrap();
    let window = until("a window", || window_of(app.id()));
    until("an answered question", || (setting.ledger().exists() && setting.answered() > 0).then_some(()));
    system_tests::program::send(window, rustix::process::Signal::KILL);
    let before = setting.answered();
    until("more answers", || (setting.answered() > before).then_some(()));
    system_tests::program::send(app.id(), rustix::process::Signal::TERM);
    assert!(app.wait().unwrap().success());
}

#[test]
fn the_window_can_end_the_app() {
    let Some(setting) = Setting::start() else { return };
    let words = setting.words(&["--start"]);
    let driver = setting.desk.drive(&path("chrysalis"), &words);
    let app = until("the app", || driver.app());
    until("an answered question", || (setting.ledger().exists() && setting.answered() > 0).then_some(()));
    driver.click_button("Quit Chrysalis");
    until("the app to end", || (!is_alive(app)).then_some(()));
}

#[test]
fn an_app_that_nobody_could_see_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = std::process::Command::new(path("chrysalis"))
        .args(["--data", folder.path().to_str().unwrap(), "--model", system_tests::tiny_model().to_str().unwrap()])
        .env("DISPLAY", ":7654")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such/bus")
        .env("XDG_RUNTIME_DIR", folder.path())
        .env_remove("WAYLAND_DISPLAY")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = app.id();
    until("the app to end", || (!is_alive(pid)).then_some(()));
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut app.stderr.take().unwrap(), &mut errors).unwrap();
    assert_eq!(app.wait().unwrap().code(), Some(1), "{errors}");
    assert!(errors.contains("neither a window nor an icon"), "{errors}");
}

#[test]
fn what_cannot_work_says_why_in_the_window() {
    let Some(setting) = Setting::start() else { return };
    let broken = setting.folder.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF, but not really").unwrap();
    let data = setting.folder.path().join("data");
    let words = ["--data", data.to_str().unwrap(), "--model", broken.to_str().unwrap(), "--start", "--backend", "cpu"];
    let driver = setting.desk.drive(&path("chrysalis"), &words);
    driver.until_it_shows("model");
    driver.until_it_shows("can't");
    driver.picture("home-failed");
}

#[test]
fn without_a_display_it_says_what_to_do_instead() {
    let folder = tempfile::tempdir().unwrap();
    let out = std::process::Command::new(path("chrysalis"))
        .args(["--data", folder.path().to_str().unwrap()])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(errors.contains("display") && errors.contains("chrysalis practice"), "{errors}");
}
