//! A machine in a text file.
//!
//! `[path]` begins a file and what follows is its text, up to the next line that begins so; `[path] -> target` is a link,
//! `[path] folder` a folder where a file should be (reading it fails), `[path] hangs` a file whose reading never ends, and
//! `[path] later` what stands in a file at the second reading. `[nvml]` and `[nvml] later` are NVIDIA's library as JSON. What
//! stands before the first of these is for people.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gpu::{Library, NvidiaCard, NvidiaProcess, NvidiaReading, OpenLibrary, PciAddress, Probe, Roots};
use serde_json::Value;

/// So long a card may take to answer. More than in earnest: what runs tests may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(3);

/// A machine, built up.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
    entries: Vec<Entry>,
    pub(crate) library: Arc<Recorded>,
}

struct Entry {
    path: String,
    kind: Kind,
    text: String,
}

#[derive(PartialEq)]
enum Kind {
    File,
    Later,
    Link(String),
    Folder,
    Hangs,
}

/// Where the machines are described.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/gpu")
}

/// Names of all machines.
pub(crate) fn all() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".machine").map(str::to_owned))
        .collect();
    names.sort();
    names
}

impl Machine {
    /// Builds one.
    pub(crate) fn named(name: &str) -> Self {
        Self::described(&fs::read_to_string(folder().join(format!("{name}.machine"))).unwrap())
    }

    pub(crate) fn described(text: &str) -> Self {
        let entries = entries(text);
        let recorded = |kind: &Kind| {
            let entry = entries.iter().find(|entry| entry.path == "nvml" && entry.kind == *kind)?;
            Some(serde_json::from_str(&entry.text).expect("the library's recording is JSON"))
        };
        let library = Arc::new(Recorded {
            now: Arc::new(Mutex::new(recorded(&Kind::File))),
            later: recorded(&Kind::Later),
            opened: AtomicU32::new(0),
            asked: Arc::default(),
        });
        let machine = Self { folder: tempfile::tempdir().unwrap(), entries, library };
        for entry in &machine.entries {
            if entry.kind != Kind::Later && entry.path != "nvml" {
                machine.put(entry);
            }
        }
        machine
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::under(self.folder.path())
    }

    pub(crate) fn probe(&self) -> Probe {
        Probe::with_nvidia(self.roots(), Arc::clone(&self.library) as Arc<dyn OpenLibrary>, PATIENCE)
    }

    /// Time passes: what moves has moved.
    pub(crate) fn move_on(&self) {
        for entry in self.entries.iter().filter(|entry| entry.kind == Kind::Later && entry.path != "nvml") {
            fs::write(self.path(&entry.path), &entry.text).unwrap();
        }
        if let Some(later) = &self.library.later {
            *self.library.now.lock().unwrap() = Some(later.clone());
        }
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    /// Paths of all files that can be written to.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = self.entries.iter().filter(|entry| entry.kind == Kind::File && entry.path != "nvml");
        files.map(|entry| entry.path.clone()).collect()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, entry: &Entry) {
        let path = self.path(&entry.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &entry.kind {
            Kind::File | Kind::Later => fs::write(&path, &entry.text).unwrap(),
            Kind::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            Kind::Folder => fs::create_dir_all(&path).unwrap(),
            Kind::Hangs => pipe(&path),
        }
    }
}

/// A pipe nobody writes to: opening it never ends.
fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if let Some((path, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let kind = match rest.trim() {
                "" => Kind::File,
                "later" => Kind::Later,
                "folder" => Kind::Folder,
                "hangs" => Kind::Hangs,
                other => Kind::Link(other.strip_prefix("->").expect("a word this format knows").trim().to_owned()),
            };
            entries.push(Entry { path: path.to_owned(), kind, text: String::new() });
        } else if let Some(entry) = entries.last_mut() {
            entry.text.push_str(line);
            entry.text.push('\n');
        }
    }
    for entry in &mut entries {
        let kept = entry.text.trim_end_matches('\n').len();
        entry.text.truncate(kept);
        entry.text.push('\n');
    }
    entries
}

/// NVIDIA's library as a machine's file records it; without a recording it is not installed.
pub(crate) struct Recorded {
    now: Arc<Mutex<Option<Value>>>,
    later: Option<Value>,
    pub(crate) opened: AtomicU32,
    /// The cards it was asked about.
    pub(crate) asked: Arc<Mutex<Vec<PciAddress>>>,
}

impl OpenLibrary for Recorded {
    fn open(&self) -> Result<Arc<dyn Library>, String> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.now.lock().unwrap().is_none() {
            return Err("it is not installed".to_owned());
        }
        Ok(Arc::new(Session { now: Arc::clone(&self.now), asked: Arc::clone(&self.asked) }))
    }
}

struct Session {
    now: Arc<Mutex<Option<Value>>>,
    asked: Arc<Mutex<Vec<PciAddress>>>,
}

impl Session {
    fn recorded(&self) -> Value {
        self.now.lock().unwrap().clone().unwrap_or_default()
    }

    fn of(&self, address: PciAddress) -> Result<Value, String> {
        self.asked.lock().unwrap().push(address);
        let card = self.recorded()["cards"].get(address.to_string()).cloned().ok_or("the card was not found")?;
        card["fails"].as_str().map_or(Ok(card.clone()), |error| Err(error.to_owned()))
    }
}

impl Library for Session {
    fn driver_version(&self) -> Option<String> {
        self.recorded()["driver_version"].as_str().map(str::to_owned)
    }

    fn addresses(&self) -> Vec<PciAddress> {
        self.recorded()["cards"].as_object().unwrap().keys().map(|address| address.parse().unwrap()).collect()
    }

    fn card(&self, address: PciAddress) -> Result<NvidiaCard, String> {
        let card = self.of(address)?;
        Ok(NvidiaCard {
            name: card["name"].as_str().map(str::to_owned),
            vram_total: card["vram_total"].as_u64(),
            device: card["device"].as_u64().and_then(|device| u16::try_from(device).ok()),
        })
    }

    fn reading(&self, address: PciAddress) -> Result<NvidiaReading, String> {
        let card = self.of(address)?;
        let number = |value: &Value| value.as_f64().map(|number| number as f32);
        let process = |process: &Value| NvidiaProcess {
            pid: u32::try_from(process["pid"].as_u64().unwrap()).unwrap(),
            memory: process["memory"].as_u64(),
            load: number(&process["load"]),
        };
        Ok(NvidiaReading {
            vram_used: card["vram_used"].as_u64(),
            temperature: number(&card["temperature"]),
            power: number(&card["power"]),
            fan: number(&card["fan"]),
            load: number(&card["load"]),
            processes: card["processes"].as_array().map(|all| all.iter().map(process).collect()),
        })
    }
}
