//! What a network's file says that workers must prove: its field `evidence`, which genuine programs pass over.

use evidence::{Terms, TermsError};
use serde_json::{Map, Value};

use super::Demand;

/// Why a file's statement can't be read.
#[derive(Debug, thiserror::Error)]
pub enum StatedError {
    /// It is no JSON object.
    #[error("it is no JSON object: {0}")]
    Json(serde_json::Error),
    /// It says nothing that is said of networks.
    #[error("it is no network's file: it has neither a root contract nor proxies, prices or demands")]
    NoNetwork,
    /// What it demands is wrong.
    #[error("{0}")]
    Evidence(TermsError),
}

/// Each network's file has one of these, by which it is known to be one.
const OF_NETWORKS: [&str; 6] = [
    "root_contract_address",
    "root_owner_address",
    "registered_proxies",
    "price_per_token",
    "worker_fee_per_token",
    "evidence",
];

/// Reads the statement of a network's file; `None`: it states none, so nothing is asked for.
pub fn stated(text: &str) -> Result<Option<Terms>, StatedError> {
    let file: Map<String, Value> = serde_json::from_str(text).map_err(StatedError::Json)?;
    let terms = Terms::of_file(text).map_err(StatedError::Evidence)?;
    OF_NETWORKS.iter().any(|name| file.contains_key(*name)).then_some(terms).ok_or(StatedError::NoNetwork)
}

/// What [`super::examine`] is asked.
pub fn demand(terms: &Terms) -> Demand {
    Demand::Open {
        accepted: terms.policy.accepted.clone(),
        secure_boot: terms.policy.require_secure_boot,
        registrars: terms.registrars.iter().map(|registrar| hex::encode(registrar.key)).collect(),
    }
}
