//! Memory and times of the app and its window. They are printed for docs/benchmarks.md; what is judged leaves room for a slow machine.

use std::time::Instant;

use crate::{Setting, window_family, window_of};
use system_tests::program::path;
use system_tests::{memory, until};

#[test]
fn the_app_in_the_tray_stays_small_before_and_after_a_window() {
    let Some(setting) = Setting::start() else { return };
    let host = setting.desk.tray_host();
    let words = setting.words(&["--hidden"]);
    let mut app = setting.desk.command(path("chrysalis")).args(&words).spawn().unwrap();
    let pid = app.id();
    host.icon();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let hidden = memory::proportional(pid).expect("the app's memory");
    let begin = Instant::now();
    host.click("Open");
    until("the window on the screen", || setting.desk.windows().iter().any(|it| it == "Chrysalis").then_some(()));
    let shown = begin.elapsed();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let family: u64 = window_family(pid).into_iter().filter_map(memory::proportional).sum();
    let window = window_of(pid).and_then(memory::proportional).unwrap_or_default();
    let open = memory::proportional(pid).expect("the app's memory");
    setting.desk.close_window();
    until("the window to be gone", || window_of(pid).is_none().then_some(()));
    let closed = memory::proportional(pid).expect("the app's memory");
    println!(
        "figure: app PSS hidden {} MB, with window {} MB, after closing it {} MB; window process {} MB, with the web view's {} MB; \
         window on the screen after {} ms",
        hidden >> 20,
        open >> 20,
        closed >> 20,
        window >> 20,
        family >> 20,
        shown.as_millis()
    );
    // The promise of ADR 6.
    assert!(hidden < 60 << 20 && closed < 60 << 20, "hidden {hidden}, after closing {closed}");
    host.click("Quit");
    assert!(app.wait().unwrap().success());
}

#[test]
fn pages_change_at_once() {
    let Some(setting) = Setting::start() else { return };
    let begin = Instant::now();
    let driver = setting.desk.drive(&path("chrysalis"), &setting.words(&[]));
    driver.until_it_shows("Practice");
    let ready = begin.elapsed();
    let measure = "const page = (name) => new Promise((done) => { const begin = performance.now(); \
         [...document.querySelectorAll('nav a, nav button')].find((it) => it.innerText.trim().startsWith(name)).click(); \
         requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin))); });";
    driver.script(&format!(
        "{measure} window.__times = []; (async () => {{ for (let i = 0; i < 10; i++) {{ \
         window.__times.push(await page(i % 2 ? 'Home' : 'Jobs')); }} window.__done = true; }})();"
    ));
    until("ten changes of page", || (driver.script("return window.__done === true") == true).then_some(()));
    let times = driver.script("return window.__times");
    let mut times: Vec<f64> = times.as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "figure: first page after {} ms, page change {:.0} ms (median of ten)",
        ready.as_millis(),
        times[times.len() / 2]
    );
    assert_eq!(times.len(), 10);
}
