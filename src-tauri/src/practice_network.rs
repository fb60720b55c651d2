//! The practice network's process: proxy, gateway and customers. It ends with us: its standard input is ours to close.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use accounting::ModelName;
use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use ton::Address;

use crate::provider::program;

/// How long it may take to say that it is ready.
const READY_PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take to end by itself.
const LEAVING_PATIENCE: Duration = Duration::from_secs(5);
#[cfg(windows)]
const CREATE_NO_WINDOW: u32 = 0x0800_0000;
/// A process in a group of its own hears no Ctrl-C.
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// A practice network that runs.
pub(crate) struct PracticeNetwork {
    child: Child,
    /// Kept apart from the child: waiting for that would close it.
    stdin: Option<ChildStdin>,
    file: PathBuf,
    chain: ChainPlace,
}

/// Where the practice network's chain answers. Has no `Debug`: whoever knows the token may use its faucet.
#[derive(Clone)]
pub(crate) struct ChainPlace {
    /// The address of its API.
    pub(crate) endpoint: String,
    /// What opens it.
    pub(crate) token: String,
}

impl PracticeNetwork {
    /// Starts it and waits until it is ready. `owner` is who is paid: it gives them coins for the fees of a first payout.
    pub(crate) async fn start(
        data: &Path,
        served_as: &ModelName,
        owner: Address,
        customers: u32,
        seed: u64,
    ) -> Result<Self> {
        let mut command = Command::new(program("chrysalis-network")?);
        // A Ctrl-C in the terminal is for the app, which ends the network once everything is answered and paid.
        #[cfg(unix)]
        command.process_group(0);
        // The app has no console there, and a program that brings its own would show it.
        #[cfg(windows)]
        command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
        let mut child = command
            .arg("practice")
            .arg("--data")
            .arg(data)
            .args(["--model", &served_as.to_string()])
            .args(["--owner", &owner.to_string()])
            .args(["--customers", &customers.to_string()])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the practice network does not start")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the practice network has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(READY_PATIENCE, lines.next_line())
            .await
            .context("the practice network does not say that it is ready")??
            .context("the practice network did not start; its reason is above")?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).context("the practice network says something unexpected")?;
        let file =
            ready["ready"]["network_file"].as_str().context("the practice network names no network file")?.into();
        let said = |name: &str| ready["ready"]["chain"][name].as_str().map(str::to_owned);
        let place = said("endpoint").zip(said("token"));
        let (endpoint, token) = place.context("the practice network names no chain")?;
        Ok(Self { child, stdin, file, chain: ChainPlace { endpoint, token } })
    }

    /// The network file for apps that want to work here.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Where its chain answers.
    pub(crate) fn chain(&self) -> &ChainPlace {
        &self.chain
    }

    /// Completes when it ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and sees to it.
    pub(crate) async fn stop(mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(LEAVING_PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
