//! The program `chrysalis`: its command line. Decides nothing: `node` does.
//!
//! - [`cli`]: the words it understands and its exit codes.
//! - [`detect`]: what this machine and its cards are.
//! - [`headless`]: serve an open network without a window.
//! - [`practice`]: a whole network on this machine, and the app serving it.
//! - [`provider`]: what both need to start a node.
//! - [`report`]: what practice prints.

mod cli;
mod detect;
mod headless;
mod practice;
mod provider;
mod report;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// Sets how much is logged: `error`, `warn`, `info`, `debug`. Read once, here.
const LOG_VARIABLE: &str = "CHRYSALIS_LOG";

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let ended = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
        |runtime| match cli.command {
            cli::Command::Detect(arguments) => detect::run(arguments.json),
            cli::Command::Practice(arguments) => runtime.block_on(practice::run(arguments)),
            cli::Command::Headless(arguments) => runtime.block_on(headless::run(arguments)),
        },
    );
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chrysalis: {error:#}");
            ExitCode::from(1)
        }
    }
}
