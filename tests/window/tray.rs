//! What an owner does in the tray.

use crate::{Setting, window_of, worker_of};
use system_tests::program::{is_alive, path};
use system_tests::until;

#[test]
fn the_tray_starts_pauses_finishes_opens_and_quits() {
    let Some(setting) = Setting::start() else { return };
    let host = setting.desk.tray_host();
    let words = setting.words(&["--hidden"]);
    let mut app = setting.desk.command(path("chrysalis")).args(&words).spawn().unwrap();
    let pid = app.id();
    host.icon();
    let (sizes, paused) = host.pixels();
    assert_eq!(sizes, [22, 32, 64]);
    for label in [
        "Start",
        "Pause",
        "15 minutes",
        "1 hour",
        "Until tomorrow 08:00",
        "Until I say so",
        "Finish and pause",
        "Open",
        "Quit",
    ] {
        assert!(host.labels().iter().any(|it| it == label), "{label} is not in {:?}", host.labels());
    }
    assert!(window_of(pid).is_none(), "it was to start in the tray");

    host.click("Start");
    until("a worker", || worker_of(pid));
    until("live numbers", || {
        host.labels().iter().any(|it| it.starts_with("Today ") && !it.starts_with("Today 0 ")).then_some(())
    });
    let working = until("another picture", || Some(host.pixels().1).filter(|it| *it != paused));
    assert_eq!(host.status(), "Active");
    assert!(
        host.labels()[0].starts_with("Chrysalis: ") && host.labels()[0].ends_with("(practice)"),
        "{:?}",
        host.labels()
    );

    host.click("15 minutes");
    until("the card to be free", || worker_of(pid).is_none().then_some(()));
    until("the first picture", || (host.pixels().1 == paused).then_some(()));
    until("the words", || host.labels()[0].contains("Paused for a while").then_some(()));

    host.click("Start");
    until("a worker", || worker_of(pid));
    until("the picture of work or waiting", || (host.pixels().1 != paused).then_some(()));
    host.click("Finish and pause");
    until("the card to be free", || worker_of(pid).is_none().then_some(()));
    let totals = ledger::Ledger::open(&setting.ledger(), 0).unwrap().all_time_totals().unwrap();
    assert!(totals.answered > 0 && working != paused);

    host.click("Open");
    let window = until("a window", || window_of(pid));
    host.activate();
    host.click("Quit");
    assert!(app.wait().unwrap().success());
    until("the window to end with the app", || (!is_alive(window)).then_some(()));
}

#[test]
fn a_tray_host_that_comes_late_gets_the_icon() {
    let Some(setting) = Setting::start() else { return };
    let words = setting.words(&["--hidden"]);
    let mut app = setting.desk.command(path("chrysalis")).args(&words).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let host = setting.desk.tray_host();
    host.icon();
    host.click("Quit");
    assert!(app.wait().unwrap().success());
}

#[test]
fn without_a_bus_it_works_and_a_second_start_shows_the_window() {
    let Some(setting) = Setting::start() else { return };
    let words = setting.words(&["--start", "--hidden"]);
    let start = || {
        let mut command = setting.desk.command(path("chrysalis"));
        command.args(&words).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");
        command
    };
    let mut app = start().spawn().unwrap();
    until("an answered question", || (setting.ledger().exists() && setting.answered() > 0).then_some(()));
    assert!(start().status().unwrap().success());
    until("a window", || window_of(app.id()));
    system_tests::program::send(app.id(), rustix::process::Signal::TERM);
    assert!(app.wait().unwrap().success());
}
