//! Questions to whoever sits at the terminal, or the next line of standard input where nobody does.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use wallet::Password;
use zeroize::Zeroizing;

/// Longest line that is taken, in bytes.
const MOST: usize = 4_096;

/// Whom to ask.
pub(super) struct Ask {
    terminal: bool,
}

impl Ask {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stdin().is_terminal() }
    }

    /// Says something beside the results.
    #[expect(clippy::unused_self, reason = "whoever says something has somebody to say it to")]
    pub(super) fn say(&self, text: &str) -> Result<()> {
        Ok(writeln!(std::io::stderr(), "{text}")?)
    }

    /// A line that may be seen.
    pub(super) fn line(&self, question: &str) -> Result<Zeroizing<String>> {
        self.prompt(question)?;
        read(question)
    }

    /// A line that is not shown while it is typed.
    pub(super) fn secret(&self, question: &str) -> Result<Zeroizing<String>> {
        // Whoever sees the question may type at once, so it is asked when nothing is shown any more.
        let ask = || self.prompt(question).and_then(|()| read(question));
        if self.terminal {
            sandbox::without_echo(ask).context("the terminal can't be kept from showing what is typed")?
        } else {
            ask()
        }
    }

    /// Goes on only after the word yes.
    pub(super) fn yes(&self, question: &str) -> Result<()> {
        let said = self.line(&format!("{question} Type yes to go on"))?;
        ensure!(said.trim().eq_ignore_ascii_case("yes"), "you did not say yes; nothing was done");
        Ok(())
    }

    /// The password of a wallet.
    pub(super) fn password(&self) -> Result<Password> {
        Ok(Password::new(self.secret("Password")?.as_str().to_owned()))
    }

    /// A new password, typed twice.
    pub(super) fn new_password(&self) -> Result<Password> {
        let first = self.secret("A new password for the wallet")?;
        let second = self.secret("The same once more")?;
        if *first != *second {
            bail!("the two passwords differ; nothing was saved");
        }
        Ok(Password::new(first.as_str().to_owned()))
    }

    fn prompt(&self, question: &str) -> Result<()> {
        let mut out = std::io::stderr().lock();
        if self.terminal {
            write!(out, "{question}: ")?;
        } else {
            writeln!(out, "{question}:")?;
        }
        Ok(out.flush()?)
    }
}

fn read(question: &str) -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(MOST));
    let mut input = std::io::Read::take(std::io::stdin().lock(), MOST as u64);
    let length = std::io::BufRead::read_line(&mut input, &mut line)
        .with_context(|| format!("the answer to \"{question}\" can't be read"))?;
    ensure!(length > 0, "standard input ended where \"{question}\" was asked; nothing was done");
    ensure!(length < MOST, "the answer to \"{question}\" is too long");
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(line)
}
