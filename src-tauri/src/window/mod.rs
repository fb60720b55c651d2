//! The window's process: a page in the system's web view, and nothing that decides. It is a child of the app, so that a closed window leaves
//! nothing behind in memory, and a crash of the web view harms nobody's earnings (ADR 6).
//!
//! - [`commands`]: every call the page can make; [`wallet`], [`earnings`] and [`trust`] have those of their pages.

pub(crate) mod commands;
mod earnings;
mod trust;
mod wallet;

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use tauri::{Manager as _, WebviewWindowBuilder};
use tauri_specta::Event as _;
use tokio::sync::oneshot;

use crate::view::{ApiError, ErrorCode};
use crate::wire::{self, Answer, Question, ToApp, ToWindow};

/// The label of the one window, in tauri.conf.json too.
const LABEL: &str = "main";

type Waiting = BTreeMap<u64, oneshot::Sender<Result<Answer, ApiError>>>;

/// The line to the app.
#[derive(Clone, Default)]
pub(crate) struct App {
    waiting: Arc<Mutex<(u64, Waiting)>>,
}

impl App {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, ApiError> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.0 += 1;
            let id = waiting.0;
            waiting.1.insert(id, sender);
            id
        };
        if write(&ToApp::Ask { id, question }).is_err() {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn answered(&self, id: u64, answer: Result<Answer, ApiError>) {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&id);
        if let Some(sender) = sender {
            // The page may have stopped waiting.
            let _ = sender.send(answer);
        }
    }
}

fn write(message: &ToApp) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(&wire::line(message))?;
    out.flush()
}

fn gone() -> ApiError {
    ApiError { code: ErrorCode::AppGone, message: "the app behind this window is gone".to_owned() }
}

/// Shows the window until it is closed or the app is gone.
pub(crate) fn run(data: &Path) -> Result<()> {
    // The web view keeps its caches with the rest of the app's data, and not in a folder of its own that nobody knows of.
    let web_view = data.join("window");
    let app = App::default();
    let line = app.clone();
    let builder = commands::builder();
    let handler = builder.invoke_handler();
    let builder = tauri::Builder::default().manage(app).invoke_handler(handler).setup(move |tauri| {
        builder.mount_events(tauri);
        let config = tauri.config().app.windows.iter().find(|window| window.label == LABEL);
        let config = config.context("tauri.conf.json names no window `main`")?.clone();
        WebviewWindowBuilder::from_config(tauri.handle(), &config)?.data_directory(web_view).build()?;
        let handle = tauri.handle().clone();
        std::thread::Builder::new().name("app".to_owned()).spawn(move || listen(&handle, &line))?;
        Ok(())
    });
    let tauri = without_panic(|| builder.build(tauri::generate_context!("tauri.conf.json")))
        .context("the window can't be shown; is there a display?")?;
    tauri.run(|_, _| {});
    Ok(())
}

/// The window's library panics where there is no display; whoever reads the log is owed a sentence instead.
fn without_panic<T, E: Into<anyhow::Error>>(build: impl FnOnce() -> Result<T, E>) -> Result<T> {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build));
    std::panic::set_hook(usual);
    match built {
        Ok(built) => built.map_err(Into::into),
        Err(_) => bail!("the windowing system does not answer"),
    }
}

/// Hears what the app says, until it is gone; the window goes with it.
fn listen(tauri: &tauri::AppHandle, line: &App) {
    let mut input = BufReader::new(std::io::stdin());
    while let Some(message) = wire::read::<ToWindow>(&mut input) {
        match message {
            // Nobody may be listening yet: the page asks for everything when it begins.
            ToWindow::Event(event) => drop(event.emit(tauri)),
            ToWindow::Answer { id, answer } => line.answered(id, answer),
            ToWindow::Raise => {
                if let Some(window) = tauri.get_webview_window(LABEL) {
                    let _ = window.unminimize();
                    let _ = window.show();
                    let _ = window.set_focus();
                }
            }
        }
    }
    tauri.exit(0);
}
