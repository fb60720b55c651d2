//! A desk of the test's own: a screen, a session bus, a window manager, a host for tray icons, and a WebDriver for the window. Nothing of it
//! touches the session of whoever runs the tests; everything ends with the value that holds it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use zbus::blocking::{Connection, Proxy, connection};
use zbus::zvariant::OwnedValue;

use crate::program::{children_of, send};
use crate::{free_port, http, root, until};

/// Set by `cargo xtask test`, which installs what the desk needs: then nothing may be skipped.
const REQUIRED: &str = "CHRYSALIS_REQUIRE_DISPLAY";

/// See the module.
pub struct Desk {
    display: String,
    bus: String,
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Desk {
    /// Sets it up; `None`, said aloud, where a program for it is missing.
    pub fn start() -> Option<Self> {
        for program in ["Xvfb", "dbus-daemon", "openbox", "WebKitWebDriver", "import"] {
            if !on_path(program) {
                assert!(std::env::var_os(REQUIRED).is_none(), "{program} is missing and {REQUIRED} is set");
                println!("skipped: no {program}");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1280x860x24", "-nolisten", "tcp", "-noreset"]);
        let (screen, number) = first_line(screen);
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address=1"]);
        let (bus, address) = first_line(bus);
        let mut desk = Self { display: format!(":{number}"), bus: address, folder, children: vec![screen, bus] };
        let mut manager = desk.command("openbox");
        desk.children.push(manager.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        Some(desk)
    }

    /// What a program needs to be on this desk, with a home of its own.
    pub fn environment(&self) -> Vec<(String, String)> {
        let at = |name: &str| {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path.to_string_lossy().into_owned()
        };
        let runtime = at("runtime");
        // The session's folder is for its owner alone, or it is not used.
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        [
            ("DISPLAY", self.display.clone()),
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.clone()),
            ("XDG_RUNTIME_DIR", runtime),
            ("HOME", at("home")),
            ("NO_AT_BRIDGE", "1".to_owned()),
            ("LIBGL_ALWAYS_SOFTWARE", "1".to_owned()),
            ("WEBKIT_DISABLE_DMABUF_RENDERER", "1".to_owned()),
            ("GTK_THEME", "Adwaita:dark".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// What lies in a folder of the owner's home; nothing if it is not there.
    pub fn home_folders(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("home").join(folder)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// A program on this desk.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// A host for tray icons.
    pub fn tray_host(&self) -> TrayHost {
        TrayHost::start(&self.bus)
    }

    /// Takes a picture of the whole screen into `target/screenshots`.
    pub fn picture(&self, name: &str) -> PathBuf {
        let path = pictures().join(format!("{name}.png"));
        let status = self.command("import").args(["-window", "root"]).arg(&path).status().unwrap();
        assert!(status.success(), "no picture could be taken");
        path
    }

    /// Titles of the windows that are shown.
    pub fn windows(&self) -> Vec<String> {
        let out = self.command("xwininfo").args(["-root", "-tree"]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
    }

    /// Presses keys in the window in front.
    pub fn press(&self, keys: &str) {
        let status = self.command("xdotool").args(["key", keys]).status().unwrap();
        assert!(status.success());
    }

    /// Closes the app's window as its owner would, with the window manager.
    pub fn close_window(&self) {
        let status = self.command("wmctrl").args(["-c", "Chrysalis"]).status().unwrap();
        assert!(status.success());
    }

    /// Starts the program through a WebDriver, which then drives the window that the program opens.
    pub fn drive(&self, program: &Path, words: &[&str]) -> Driver {
        Driver::start(self, program, words)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where pictures of windows are kept for people to look at.
pub fn pictures() -> PathBuf {
    let folder = root().join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn first_line(mut command: Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.trim().is_empty(), "{command:?} said nothing");
    (child, line.trim().to_owned())
}

/// Hosts tray icons as a desktop's panel does (StatusNotifierWatcher), and reads and clicks their menus.
pub struct TrayHost {
    connection: Connection,
    items: Arc<Mutex<Vec<String>>>,
}

struct Watcher {
    items: Arc<Mutex<Vec<String>>>,
}

#[allow(clippy::needless_pass_by_value, clippy::unused_self, reason = "the bus's macro decides what these look like")]
#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, #[zbus(header)] header: zbus::message::Header<'_>, service: &str) {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        // Some name themselves, some only their object's path.
        let service = if service.starts_with('/') { sender } else { service.to_owned() };
        self.items.lock().unwrap().push(service);
    }

    fn register_status_notifier_host(&self, service: &str) {
        // One host is enough for these tests.
        let _ = service;
    }

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        self.items.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// A line of a menu.
#[derive(Debug, Clone)]
pub struct MenuLine {
    pub id: i32,
    pub label: String,
    pub enabled: bool,
    pub children: Vec<MenuLine>,
}

type Node = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

impl TrayHost {
    fn start(bus: &str) -> Self {
        let items = Arc::new(Mutex::new(Vec::new()));
        let watcher = Watcher { items: Arc::clone(&items) };
        let connection = connection::Builder::address(bus)
            .unwrap()
            .name("org.kde.StatusNotifierWatcher")
            .unwrap()
            .serve_at("/StatusNotifierWatcher", watcher)
            .unwrap()
            .build()
            .unwrap();
        Self { connection, items }
    }

    /// Waits for an icon; gives its name on the bus.
    pub fn icon(&self) -> String {
        until("an icon in the tray", || self.items.lock().unwrap().last().cloned())
    }

    fn item(&self) -> Proxy<'_> {
        Proxy::new(&self.connection, self.icon(), "/StatusNotifierItem", "org.kde.StatusNotifierItem").unwrap()
    }

    /// Sizes of the icon's pictures, and the newest one's bytes.
    pub fn pixels(&self) -> (Vec<i32>, Vec<u8>) {
        let pictures: Vec<(i32, i32, Vec<u8>)> = self.property("IconPixmap").try_into().unwrap();
        let sizes = pictures.iter().map(|(width, ..)| *width).collect();
        (sizes, pictures.last().map(|(.., bytes)| bytes.clone()).unwrap_or_default())
    }

    /// `Active` or `NeedsAttention`.
    pub fn status(&self) -> String {
        self.property("Status").try_into().unwrap()
    }

    fn property(&self, name: &str) -> OwnedValue {
        let item = self.icon();
        let properties =
            Proxy::new(&self.connection, item, "/StatusNotifierItem", "org.freedesktop.DBus.Properties").unwrap();
        properties.call("Get", &("org.kde.StatusNotifierItem", name)).unwrap()
    }

    fn menu_proxy(&self) -> Proxy<'_> {
        let path: zbus::zvariant::OwnedObjectPath = self.property("Menu").try_into().unwrap();
        Proxy::new(&self.connection, self.icon(), path, "com.canonical.dbusmenu").unwrap()
    }

    /// The menu as it is now.
    pub fn menu(&self) -> Vec<MenuLine> {
        let none: &[&str] = &[];
        let (_, node): (u32, Node) = self.menu_proxy().call("GetLayout", &(0_i32, -1_i32, none)).unwrap();
        line(node).children
    }

    /// Labels of all lines, those of sub-menus too.
    pub fn labels(&self) -> Vec<String> {
        fn collect(lines: &[MenuLine], into: &mut Vec<String>) {
            for line in lines {
                into.push(line.label.clone());
                collect(&line.children, into);
            }
        }
        let mut labels = Vec::new();
        collect(&self.menu(), &mut labels);
        labels
    }

    /// Clicks the line of this label.
    pub fn click(&self, label: &str) {
        fn find(lines: &[MenuLine], label: &str) -> Option<MenuLine> {
            lines
                .iter()
                .find_map(|line| if line.label == label { Some(line.clone()) } else { find(&line.children, label) })
        }
        // Lines get new ids when the menu changes; a host that was told the old ones asks again.
        until(&format!("{label:?} in the menu, enabled"), || {
            let line = find(&self.menu(), label).filter(|line| line.enabled)?;
            let data = zbus::zvariant::Value::from(0_i32);
            self.menu_proxy().call::<_, _, ()>("Event", &(line.id, "clicked", data, 0_u32)).ok()
        });
    }

    /// Clicks the icon itself.
    pub fn activate(&self) {
        let _: () = self.item().call("Activate", &(0_i32, 0_i32)).unwrap();
    }
}

fn line(node: Node) -> MenuLine {
    let (id, properties, children) = node;
    let text = |name: &str| properties.get(name).and_then(|value| String::try_from(value.clone()).ok());
    let enabled = properties.get("enabled").and_then(|value| bool::try_from(value.clone()).ok()).unwrap_or(true);
    let children = children.into_iter().filter_map(|child| Node::try_from(child).ok()).map(line).collect();
    // An underscore is written twice.
    MenuLine { id, label: text("label").unwrap_or_default().replace("__", "_"), enabled, children }
}

/// The key under which WebDriver names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A WebDriver session with the window.
pub struct Driver {
    child: Child,
    port: u16,
    session: String,
}

impl Driver {
    fn start(desk: &Desk, program: &Path, words: &[&str]) -> Self {
        let port = free_port();
        let mut command = desk.command("WebKitWebDriver");
        // Only with these does the web view listen to a driver.
        command.envs([("TAURI_AUTOMATION", "true"), ("TAURI_WEBVIEW_AUTOMATION", "true")]);
        let child = command
            .args([format!("--port={port}"), "--host=127.0.0.1".to_owned()])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut driver = Self { child, port, session: String::new() };
        until("the WebDriver", || http::get(port, "/status").ok());
        let options = json!({ "binary": program, "args": words });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "webkitgtk:browserOptions": options } } });
        let answer = driver.call("/session", &wanted);
        answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).clone_into(&mut driver.session);
        driver
    }

    /// The process that it started.
    pub fn app(&self) -> Option<u32> {
        children_of(self.child.id()).first().copied()
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        let answer = http::post(self.port, path, body).unwrap();
        answer.json()["value"].clone()
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        self.call(&format!("/session/{}{path}", self.session), body)
    }

    /// What a script in the page returns.
    pub fn script(&self, script: &str) -> Value {
        self.ask("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the whole page.
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page contains these words.
    pub fn until_it_shows(&self, words: &str) {
        let begin = std::time::Instant::now();
        while !self.text().to_lowercase().contains(&words.to_lowercase()) {
            assert!(begin.elapsed() < crate::PATIENCE, "the page does not show {words:?}, but:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The first element that this selector finds, waited for.
    fn element(&self, selector: &str) -> String {
        until(&format!("{selector} on the page"), || {
            let found = self.ask("/element", &json!({ "using": "css selector", "value": selector }));
            found[ELEMENT].as_str().map(str::to_owned)
        })
    }

    /// Clicks it as a person would: it must be there, shown and not covered.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        let answer = self.ask(&format!("/element/{element}/click"), &json!({}));
        assert!(answer.is_null(), "{selector}: {answer}");
    }

    /// Clicks the button of this name, by what a screen reader says of it.
    pub fn click_button(&self, name: &str) {
        let script = format!(
            "const wanted = {}; for (const it of document.querySelectorAll('button, [role=menuitem], a')) {{ \
             const name = (it.getAttribute('aria-label') ?? it.innerText ?? '').trim(); \
             if (name === wanted && !it.disabled && it.getClientRects().length > 0) {{ it.setAttribute('data-test-target', ''); return true; }} }} return false;",
            Value::from(name)
        );
        until(&format!("a button {name:?}"), || (self.script(&script) == Value::Bool(true)).then_some(()));
        self.click("[data-test-target]");
        self.script(
            "document.querySelectorAll('[data-test-target]').forEach((it) => it.removeAttribute('data-test-target'))",
        );
    }

    /// A picture of the page into `target/screenshots`.
    pub fn picture(&self, name: &str) -> PathBuf {
        let answer = http::get(self.port, &format!("/session/{}/screenshot", self.session)).unwrap().json();
        let text = answer["value"].as_str().expect("a picture").to_owned();
        let path = pictures().join(format!("{name}.png"));
        std::fs::write(&path, base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap();
        path
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The app lives on in the tray, whoever started it.
        for app in children_of(self.child.id()) {
            send(app, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
