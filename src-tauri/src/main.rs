//! The program `chrysalis`: the app in the tray with its window, and its command line. Decides nothing: `node` does.
//!
//! - [`cli`]: the words it understands and its exit codes.
//! - [`app`]: the process in the tray; [`tray`] its icon, [`window`] the process with the page, [`wire`] what the two say, [`view`]
//!   what the page shows, [`cards`] the devices.
//! - [`detect`]: what this machine and its cards are; [`doctor`] which networks would take it, [`verify`] what a proof proves.
//! - [`earnings`]: what was earned, and tables of it; [`prices`] what the owner says coins and electricity cost.
//! - [`headless`]: serve an open network without a window.
//! - [`identity`]: what this computer proves to proxies by its TPM, and what its owner agreed to; [`guest_report`] what it shows where it is
//!   a machine inside an isolated processor.
//! - [`named_file`]: files that somebody named, read with a limit.
//! - [`practice`]: a whole network on this machine, and the app serving it, without a window.
//! - [`provider`]: what all need to start a node; [`practice_network`] the process with the other roles.
//! - [`release`]: whether a program file is one that was released.
//! - [`report`]: what practice prints.
//! - [`purse`]: the practice wallet; [`cashbox`] the chain, the wallet and the cashier of a session.
//! - [`payout`]: where payouts go; [`rules`] what the owner has decided about the wallet.
//! - [`wallet_commands`]: the owner's wallet without a window.

// Without this, Windows shows a console behind the window. What the command line prints reaches a pipe or a file all the same, and the
// terminal by `sandbox::reach_terminal`.
#![cfg_attr(all(windows, not(debug_assertions)), windows_subsystem = "windows")]

mod app;
mod cards;
mod cashbox;
mod cli;
mod detect;
mod doctor;
mod earnings;
mod guest_report;
mod headless;
mod identity;
mod named_file;
mod payout;
mod practice;
mod practice_network;
mod prices;
mod provider;
mod purse;
mod release;
mod report;
mod rules;
mod tray;
mod verify;
mod view;
mod wallet_commands;
mod window;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// Sets how much is logged: `error`, `warn`, `info`, `debug`. Read once, here.
const LOG_VARIABLE: &str = "CHRYSALIS_LOG";

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse().and_then(cli::Cli::checked) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            sandbox::reach_terminal();
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // The app in the tray goes on when the terminal that started it is closed, so it takes none.
    if !matches!(cli.command, None | Some(cli::Command::Window { .. })) {
        sandbox::reach_terminal();
    }
    // These speak with nobody, so a closed pipe is whatever their words went to.
    let only_prints = matches!(
        cli.command,
        Some(
            cli::Command::Detect(_)
                | cli::Command::Doctor(_)
                | cli::Command::Verify(_)
                | cli::Command::Earnings(_)
                | cli::Command::Export(_)
        )
    );
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let ended = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
        |runtime| match cli.command {
            None => runtime.block_on(app::run(cli.app)),
            Some(cli::Command::Detect(arguments)) => detect::run(arguments.json),
            Some(cli::Command::Doctor(arguments)) => doctor::run(&arguments),
            Some(cli::Command::Verify(arguments)) => verify::run(&arguments),
            Some(cli::Command::Earnings(arguments)) => earnings::earnings(&arguments),
            Some(cli::Command::Export(arguments)) => earnings::export(&arguments),
            Some(cli::Command::Price(words)) => prices::run(&words),
            Some(cli::Command::Practice(arguments)) => runtime.block_on(practice::run(arguments)),
            Some(cli::Command::Identity(words)) => identity::run(words),
            Some(cli::Command::Headless(arguments)) => runtime.block_on(headless::run(*arguments)),
            Some(cli::Command::VerifyRelease(arguments)) => release::run(&arguments),
            Some(cli::Command::Wallet(words)) => runtime.block_on(wallet_commands::run(words)),
            Some(cli::Command::Window { data }) => window::run(&data),
        },
    );
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if only_prints && nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            sandbox::reach_terminal();
            let _ = writeln!(std::io::stderr(), "chrysalis: {}", on_a_terminal(&sentence(&error)));
            ExitCode::from(1)
        }
    }
}

/// A stranger's words on a terminal: no control characters, and not without end.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

/// The same of what an error names, a file for instance; its lines stay.
fn on_a_terminal(text: &str) -> String {
    text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

/// Whoever read what a command prints has seen enough of it.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

/// The error and its causes in one line, each said once: many sentences already hold their cause where it reads best.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.as_str() {
            "" => cause,
            earlier if earlier.contains(&cause) => said,
            earlier => format!("{earlier}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    #[test]
    fn a_strangers_words_do_nothing_to_the_terminal() {
        assert_eq!(super::printable("a\u{1b}[2Jb\r\n"), "a[2Jb");
        assert_eq!(super::printable(&"x".repeat(5_000)).len(), 200);
        assert_eq!(super::on_a_terminal("no \u{1b}[2Jfile\nbut"), "no [2Jfile\nbut");
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || Err::<(), _>(anyhow::anyhow!("no such file"));
        let told = |context: &'static str| super::sentence(&cause().context(context).context("sorry").unwrap_err());
        assert_eq!(told("the model can't be read"), "sorry: the model can't be read: no such file");
        assert_eq!(told("no such file; name one"), "sorry: no such file; name one");
    }
}
