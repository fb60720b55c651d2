//! One app for each data folder: a second start leaves a note in the folder, the first finds it and shows its window.
//!
//! A note needs no socket, no bus and no rights beyond those to the owner's own folder, and works the same on every system.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;

use super::Input;

const NOTE: &str = "show-window";
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long the first may take to find the note.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the app that has this folder to show its window.
pub(crate) async fn knock(folder: &Path) -> Result<()> {
    let note = folder.join(NOTE);
    std::fs::write(&note, []).with_context(|| format!("cannot write {}", note.display()))?;
    let begin = Instant::now();
    while note.exists() {
        if begin.elapsed() > PATIENCE {
            // Best effort: whoever has the folder does not look for it.
            let _ = std::fs::remove_file(&note);
            bail!(
                "another chrysalis uses the folder {} and shows no window; is it `chrysalis practice` or `headless` in a terminal?",
                folder.display()
            );
        }
        tokio::time::sleep(LOOK_EVERY / 3).await;
    }
    Ok(())
}

/// Looks for notes until the app ends.
pub(crate) fn listen(folder: &Path, inputs: mpsc::Sender<Input>) {
    let note: PathBuf = folder.join(NOTE);
    // What lies there from before is for an app that is gone.
    let _ = std::fs::remove_file(&note);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if std::fs::remove_file(&note).is_ok() && inputs.send(Input::Knocked).await.is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_is_heard_by_the_first_and_ends_well() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NOTE), []).unwrap();
        let (sender, mut inputs) = mpsc::channel(4);
        listen(folder.path(), sender);
        knock(folder.path()).await.unwrap();
        assert!(matches!(inputs.recv().await, Some(Input::Knocked)));
        assert!(inputs.try_recv().is_err(), "the note of an app that is gone was taken for a new one");
    }
}
