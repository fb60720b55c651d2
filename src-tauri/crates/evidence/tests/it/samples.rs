//! Genuine quotes and reports of isolated processors. They stand in the published crates `dcap-qvl` and `sev`, where cargo put them, and were made
//! for other questions and keys than anybody here has.

use base64::Engine as _;
use cargo_metadata::{Metadata, MetadataCommand};
use evidence::{SnpEvidence, TdxEvidence};
use std::path::PathBuf;
use std::sync::OnceLock;

/// A file of a crate that we depend on, at the place of its sources.
pub(crate) fn sample(package: &str, path: &str) -> Vec<u8> {
    // Cargo is asked once: it waits for whoever else builds.
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    let metadata = METADATA.get_or_init(|| {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        MetadataCommand::new().manifest_path(manifest).other_options(vec!["--locked".to_owned()]).exec().unwrap()
    });
    let package = metadata.packages.iter().find(|one| one.name.as_str() == package).expect("the package");
    std::fs::read(package.manifest_path.parent().unwrap().join(path)).unwrap()
}

/// A quote of Intel TDX by its name there, with what Intel said of that processor.
pub(crate) fn tdx_sample(name: &str) -> TdxEvidence {
    TdxEvidence {
        quote: sample("dcap-qvl", &format!("sample/{name}")),
        collateral: sample("dcap-qvl", &format!("sample/{name}_collateral.json")),
        gpu: None,
    }
}

/// A report of AMD SEV-SNP, with its certificates.
pub(crate) fn snp_sample() -> SnpEvidence {
    let chain = String::from_utf8(sample("sev", "tests/certs_data/cert_chain_milan")).unwrap();
    let body: String = chain.lines().skip(1).take_while(|line| !line.starts_with("-----END")).collect();
    let report = String::from_utf8(sample("sev", "tests/certs_data/report_milan.hex")).unwrap();
    SnpEvidence {
        report: hex::decode(report.split_whitespace().collect::<String>()).unwrap(),
        vcek: sample("sev", "tests/certs_data/vcek_milan.der"),
        ask: base64::engine::general_purpose::STANDARD.decode(body).unwrap(),
        gpu: None,
    }
}
