//! The code of the contracts that an open or a practice network runs on: root, proxy, client and worker, compiled from
//! `crates/network/contracts` by `cargo xtask contracts`. What they do, `docs/contracts.md` says.
//!
//! What lives here: the four code cells. What may not: their data and messages (crate `ton`), and anything that is sent.

use ton::{Cell, boc};

/// One of the four contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// Which programs, models and proxies belong to a network, and its terms.
    Root,
    /// Holds the money between clients and workers.
    Proxy,
    /// A client's account with one proxy.
    Client,
    /// A worker's account with one proxy.
    Worker,
}

impl Contract {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Root, Self::Proxy, Self::Client, Self::Worker];

    /// Its name, as its source and its code are called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Proxy => "proxy",
            Self::Client => "client",
            Self::Worker => "worker",
        }
    }

    /// Its code as a bag of cells, as the compiler wrote it.
    #[must_use]
    pub const fn code_boc(self) -> &'static [u8] {
        match self {
            Self::Root => include_bytes!("../contracts/code/root.boc"),
            Self::Proxy => include_bytes!("../contracts/code/proxy.boc"),
            Self::Client => include_bytes!("../contracts/code/client.boc"),
            Self::Worker => include_bytes!("../contracts/code/worker.boc"),
        }
    }
}

/// The four code cells, read once; whoever needs them keeps them.
#[derive(Debug, Clone)]
pub struct Codes {
    /// Code of the root.
    pub root: Cell,
    /// Code of a proxy's contract.
    pub proxy: Cell,
    /// Code of a client's contract.
    pub client: Cell,
    /// Code of a worker's contract.
    pub worker: Cell,
}

impl Codes {
    /// Reads all four.
    ///
    /// # Errors
    ///
    /// What is committed is no bag of cells: this program was not built from what the tests saw.
    pub fn load() -> Result<Self, boc::BocError> {
        let read = |contract: Contract| boc::decode(contract.code_boc());
        Ok(Self {
            root: read(Contract::Root)?,
            proxy: read(Contract::Proxy)?,
            client: read(Contract::Client)?,
            worker: read(Contract::Worker)?,
        })
    }

    /// The code of one of them.
    #[must_use]
    pub const fn of(&self, contract: Contract) -> &Cell {
        match contract {
            Contract::Root => &self.root,
            Contract::Proxy => &self.proxy,
            Contract::Client => &self.client,
            Contract::Worker => &self.worker,
        }
    }

    /// The representation hash of one of them, by which a chain knows it.
    #[must_use]
    pub fn hash(&self, contract: Contract) -> [u8; 32] {
        self.of(contract).hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::path::Path;

    #[test]
    fn the_committed_code_is_that_of_the_committed_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts");
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("code/manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["sources_sha256"], hash_of_sources(&folder), "`cargo xtask contracts` compiles them anew");
        let codes = Codes::load().unwrap();
        assert_eq!(manifest["contracts"].as_object().unwrap().len(), Contract::ALL.len());
        for contract in Contract::ALL {
            let said = &manifest["contracts"][contract.name()];
            assert_eq!(said["code_hash"], hex::encode(codes.hash(contract)), "{}", contract.name());
            assert_eq!(said["bytes"], contract.code_boc().len());
        }
    }

    /// All sources in the order of their names, each as its name, a zero byte, its length, its bytes.
    fn hash_of_sources(folder: &Path) -> String {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_source = |name: &String| Path::new(name).extension().is_some_and(|end| end == "tolk");
        let mut names: Vec<String> = entries.filter(is_source).collect();
        names.sort();
        assert!(names.len() >= 4);
        let mut hash = Sha256::new();
        for name in names {
            let text = std::fs::read(folder.join(&name)).unwrap();
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hex::encode(hash.finalize())
    }
}
