//! What a machine inside an isolated processor shows to proxies: a report of its processor, over their question and the key of that
//! connection.
//!
//! May not: believe a report, or show anything by the TPM.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use evidence::{Anchors, Binding, Evidence, Policy, TOTAL_LIMIT, appraise};
use node::run::attester::{Attester, Question};
use tpm::guest;

use crate::named_file;
use crate::payout::now;

/// Makes reports.
#[derive(Clone)]
pub(crate) struct GuestReport {
    root: PathBuf,
    collateral: Option<PathBuf>,
}

impl GuestReport {
    /// `root`: where the system's files are, `/` but in tests. `collateral`: a file with what Intel says of this processor, which a quote of
    /// TDX goes with; it is read anew each time, because it ends after some weeks.
    ///
    /// What can't work is said now, by a report that nobody sees, and so is what a strict verifier would say of it.
    pub(crate) fn new(root: &Path, collateral: Option<PathBuf>) -> Result<Self> {
        let reports = Self { root: root.to_owned(), collateral };
        let mut trial = Binding { nonce: [0; 32], tls_key: [0; 32] };
        getrandom::fill(&mut trial.nonce)
            .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
        let failed = "this machine can't show its processor's report";
        let made = reports.make(&trial).map_err(anyhow::Error::msg).context(failed)?;
        // As verifiers read it: a file of statements that is too long is found out here.
        let shown = Evidence::decode(&made.encode()).context(failed)?;
        ensure!(
            reports.collateral.is_none() || matches!(shown, Evidence::Tdx(_)),
            "--own-collateral is for Intel TDX, and this machine is AMD's, whose reports bring what belongs to them"
        );
        let anchors = Anchors { registrars: Vec::new(), audience: [0; 32] };
        if let Err(refusal) = appraise(&shown, &trial, now(), &anchors, &Policy::default()) {
            tracing::warn!("a strict verifier refuses what this machine shows: {refusal}");
        }
        Ok(reports)
    }

    fn make(&self, binding: &Binding) -> Result<Evidence, String> {
        guest::evidence(&self.root, binding, || self.statements()).map_err(|error| error.to_string())
    }

    fn statements(&self) -> Result<Vec<u8>, String> {
        let path = self.collateral.as_ref().ok_or(
            "a quote of TDX goes with Intel's statements about this processor; name their file with --own-collateral",
        )?;
        named_file::bytes(path, TOTAL_LIMIT as u64)
            .map_err(|error| format!("the file {} can't be used: {error}", path.display()))
    }
}

impl Attester for GuestReport {
    fn attest(&mut self, question: &Question) -> Result<Vec<u8>, String> {
        Ok(self.make(&Binding { nonce: question.nonce, tls_key: question.tls_key })?.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_are_not_there_or_too_long_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statements.json");
        let named = |path: Option<&Path>| {
            GuestReport { root: folder.path().to_owned(), collateral: path.map(Path::to_owned) }.statements()
        };
        assert!(named(None).unwrap_err().contains("--own-collateral"));
        assert!(named(Some(&path)).unwrap_err().contains("statements.json"));
        std::fs::write(&path, vec![b' '; TOTAL_LIMIT + 1]).unwrap();
        assert!(named(Some(&path)).unwrap_err().contains("longer"));
        std::fs::write(&path, b"{}").unwrap();
        assert_eq!(named(Some(&path)).unwrap(), b"{}");
    }
}
