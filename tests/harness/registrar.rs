//! A registrar, started for one test.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::port;
use crate::program::{self, Running};
use crate::tpm::Simulator;

/// A registrar that runs.
pub struct Registrar {
    _running: Running,
    /// Where it listens.
    pub address: String,
    /// Its key, in hexadecimal.
    pub key: String,
}

impl Registrar {
    /// One that knows whoever signed the certificates of these TPMs.
    pub fn start(folder: &Path, tpms: &[&Simulator]) -> Self {
        Self::knowing(folder, &tpms.iter().map(|tpm| tpm.maker()).collect::<Vec<_>>())
    }

    /// One that knows these makers by their root certificates, besides those that are built in.
    pub fn knowing(folder: &Path, roots: &[PathBuf]) -> Self {
        let data = folder.join("registrar");
        let mut words = vec!["registrar", "--data", data.to_str().unwrap(), "--pow-difficulty", "8"];
        for root in roots {
            words.extend(["--tpm-root", root.to_str().unwrap()]);
        }
        let mut running = Running::start("chrysalis-network", &words);
        let ready = running.ready();
        let address = format!("127.0.0.1:{}", port(&ready, "port"));
        Self { _running: running, address, key: ready["key"].as_str().unwrap().to_owned() }
    }

    /// The same, under another key or at another place.
    #[must_use]
    pub fn called(self, address: &str, key: &str) -> Self {
        Self { address: address.to_owned(), key: key.to_owned(), ..self }
    }

    /// Lets the owner of this folder agree to it. Gives what is printed.
    pub fn enrol(&self, data: &Path, tpm: &Simulator, more: &[&str]) -> Value {
        let words = self.words(data, tpm, more);
        let (code, out, errors) = program::run("chrysalis", &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str(&out).unwrap()
    }

    /// The words of `chrysalis` that enrol.
    pub fn words(&self, data: &Path, tpm: &Simulator, more: &[&str]) -> Vec<String> {
        let place = tpm.address().to_string();
        let words = [
            "identity",
            "enrol",
            "--data",
            data.to_str().unwrap(),
            "--registrar",
            &self.address,
            "--registrar-key",
            &self.key,
            "--tpm",
            &place,
        ];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }
}
