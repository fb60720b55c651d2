//! What a proxy shows of its machine to workers that ask: a report of the processor inside which it runs, over their question and the key of
//! that connection.
//!
//! A report takes the processor a while, so a thread of its own makes one after the other. May not: judge a report, or show another machine's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use evidence::{Binding, TOTAL_LIMIT};
use tokio::sync::mpsc;
use tpm::guest;

use super::host::Event;
use crate::config;

/// Questions that may wait. Whoever comes then is shown nothing, and may ask again.
const WAITING: usize = 16;

/// Makes what a proxy can show. Tests bring another machine's recorded reports.
pub trait Shows: Send + Sync {
    /// Evidence for this question, as `docs/attestation.md` has it, or why there is none.
    fn show(&self, binding: &Binding) -> Result<Vec<u8>, String>;
}

/// A machine inside an isolated processor, whose system makes reports by configfs-tsm.
#[derive(Debug)]
pub struct Guest {
    root: PathBuf,
    collateral: Option<PathBuf>,
}

impl Guest {
    /// `root`: where the system's files are, `/` but in tests. `collateral`: a file with what Intel says of this processor, which a quote of TDX
    /// goes with; it is read anew each time, because it ends after some weeks.
    pub fn new(root: &Path, collateral: Option<PathBuf>) -> Self {
        Self { root: root.to_owned(), collateral }
    }

    /// Why this machine can't show anything; `None`: it can.
    pub fn lacks(&self) -> Option<String> {
        (!guest::is_one(&self.root)).then(|| guest::ReportError::NotAGuest.to_string())
    }

    fn collateral(&self) -> Result<Vec<u8>, String> {
        let path = self
            .collateral
            .as_ref()
            .ok_or("a quote of TDX goes with Intel's statements; name their file as collateral")?;
        let failed = |why: &dyn std::fmt::Display| format!("the file {} can't be used: {why}", path.display());
        Ok(config::read_bytes(path, TOTAL_LIMIT as u64).map_err(|error| failed(&error))?.to_vec())
    }
}

impl Shows for Guest {
    fn show(&self, binding: &Binding) -> Result<Vec<u8>, String> {
        let made = guest::evidence(&self.root, binding, || self.collateral());
        Ok(made.map_err(|error| error.to_string())?.encode())
    }
}

/// A worker's question.
pub(super) struct Question {
    pub(super) conn: u64,
    pub(super) query: i64,
    pub(super) binding: Binding,
}

/// The thread that makes what is shown. It ends when this is dropped.
pub(super) struct Shower(SyncSender<Question>);

impl Shower {
    pub(super) fn start(shows: Arc<dyn Shows>, events: mpsc::Sender<Event>) -> Self {
        let (questions, asked) = sync_channel::<Question>(WAITING);
        std::thread::spawn(move || {
            for Question { conn, query, binding } in asked {
                let bytes = shows.show(&binding).inspect_err(|why| tracing::warn!(conn, %why, "nothing is shown")).ok();
                if events.blocking_send(Event::Shown { conn, query, bytes }).is_err() {
                    return;
                }
            }
        });
        Self(questions)
    }

    /// `false`: too many wait.
    pub(super) fn ask(&self, question: Question) -> bool {
        self.0.try_send(question).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };

    #[test]
    fn a_machine_that_is_no_guest_says_so_before_anybody_asks() {
        let folder = tempfile::tempdir().unwrap();
        let guest = Guest::new(folder.path(), None);
        assert!(guest.lacks().unwrap().contains("not a machine inside an isolated processor"));
        assert!(guest.show(&BINDING).is_err());
        std::fs::create_dir_all(folder.path().join(guest::REPORTS)).unwrap();
        assert_eq!(guest.lacks(), None);
    }

    #[test]
    fn a_quote_without_what_its_maker_says_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Guest::new(folder.path(), None).collateral().unwrap_err().contains("Intel"));
        let missing = Guest::new(folder.path(), Some(folder.path().join("none.json"))).collateral().unwrap_err();
        assert!(missing.contains("none.json"), "{missing}");
        let path = folder.path().join("long.json");
        std::fs::write(&path, vec![b' '; TOTAL_LIMIT + 1]).unwrap();
        assert!(Guest::new(folder.path(), Some(path)).collateral().unwrap_err().contains("longer"));
    }
}
