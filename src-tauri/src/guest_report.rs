//! What a machine inside an isolated processor shows to proxies: a report of its processor, over their question and the key of that
//! connection.
//!
//! May not: judge a report, or show anything by the TPM.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evidence::{Binding, TOTAL_LIMIT};
use node::run::attester::{Attester, Question};
use tpm::guest;

use crate::named_file;

/// Makes reports, one after the other.
pub(crate) struct GuestReport {
    root: PathBuf,
    collateral: Option<PathBuf>,
    made: u64,
}

impl GuestReport {
    /// `root`: where the system's files are, `/` but in tests. `collateral`: a file with what Intel says of this processor, which a quote of
    /// TDX goes with; it is read anew each time, because it ends after some weeks. What can't work is said now, by a report that nobody sees.
    pub(crate) fn new(root: &Path, collateral: Option<PathBuf>) -> Result<Self> {
        let mut reports = Self { root: root.to_owned(), collateral, made: 0 };
        let trial = Binding { nonce: [0; 32], tls_key: [0; 32] };
        reports.make(&trial).map_err(anyhow::Error::msg).context("this machine can't show its processor's report")?;
        Ok(reports)
    }

    fn make(&mut self, binding: &Binding) -> Result<Vec<u8>, String> {
        // A folder that nobody else has: other programs make reports too.
        let name = format!("chrysalis-worker-{}-{}", std::process::id(), self.made);
        self.made += 1;
        let collateral = || {
            let path = self
                .collateral
                .as_ref()
                .ok_or("a quote of TDX goes with Intel's statements about this processor; name their file with --own-collateral")?;
            named_file::bytes(path, TOTAL_LIMIT as u64)
                .map_err(|error| format!("the file {} can't be used: {error}", path.display()))
        };
        let made = guest::evidence(&self.root, &name, binding, collateral);
        Ok(made.map_err(|error| error.to_string())?.encode())
    }
}

impl Attester for GuestReport {
    fn attest(&mut self, question: &Question) -> Result<Vec<u8>, String> {
        self.make(&Binding { nonce: question.nonce, tls_key: question.tls_key })
    }
}
