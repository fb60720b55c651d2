//! What a network's file says that workers must prove: its field `evidence`, which genuine programs pass over.

use evidence::Terms;
use serde_json::{Map, Value};

use super::Demand;

/// Why a file's statement can't be read.
#[derive(Debug, thiserror::Error)]
pub enum StatedError {
    /// It is no JSON object.
    #[error("it is no JSON object: {0}")]
    Json(serde_json::Error),
    /// The field is there and wrong.
    #[error("what it says of evidence can't be read: {0}")]
    Evidence(serde_json::Error),
}

/// Reads the statement of a network's file; `None`: it states none, so nothing is asked for.
pub fn stated(text: &str) -> Result<Option<Terms>, StatedError> {
    let mut file: Map<String, Value> = serde_json::from_str(text).map_err(StatedError::Json)?;
    file.remove("evidence").map(serde_json::from_value).transpose().map_err(StatedError::Evidence)
}

/// What [`super::examine`] is asked.
pub fn demand(terms: &Terms) -> Demand {
    Demand::Open {
        accepted: terms.policy.accepted.clone(),
        secure_boot: terms.policy.require_secure_boot,
        registrars: terms.registrars.iter().map(|registrar| hex::encode(registrar.key)).collect(),
    }
}
