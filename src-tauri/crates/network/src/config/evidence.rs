//! What workers and clients are told of the part of a configuration or a network file that says what workers must prove, and what a proxy
//! shows of itself.
//!
//! May not: verify anything.

use std::path::PathBuf;

use ::evidence::Terms;
use protocol::evidence::{Demands, RegistrarPlace};
use serde::Deserialize;

/// Field `shows` of a proxy's configuration: what workers see that ask for more than its certificate. A misspelt one is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Showing {
    /// Nothing.
    #[default]
    Nothing,
    /// A report of the processor inside which this machine is isolated.
    Processor {
        /// For Intel TDX: a file with Intel's statements about this processor, as collateral services give them (JSON).
        #[serde(default)]
        collateral: Option<PathBuf>,
    },
}

/// These terms as they are told.
pub fn demands(terms: &Terms) -> Demands {
    let registrars = terms.registrars.iter();
    Demands {
        grades: terms.policy.accepted.iter().map(|grade| grade.number()).collect(),
        secure_boot: terms.policy.require_secure_boot,
        registrars: registrars.map(|one| RegistrarPlace { endpoint: one.endpoint.clone(), key: one.key }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::evidence::Grade;

    #[test]
    fn what_is_demanded_is_read_and_told_in_numbers() {
        let text = format!(
            r#"{{"accepted":["processor-isolated","known-machine"],"require_secure_boot":true,
            "registrars":[{{"endpoint":"registrar.example:4420","key":"{}"}}]}}"#,
            "0b".repeat(32)
        );
        let config: Terms = serde_json::from_str(&text).unwrap();
        let place = RegistrarPlace { endpoint: "registrar.example:4420".to_owned(), key: [11; 32] };
        assert_eq!(demands(&config), Demands { grades: vec![2, 3], secure_boot: true, registrars: vec![place] });
        assert_eq!(config.policy.accepted, [Grade::KnownMachine, Grade::ProcessorIsolated].into());
    }

    #[test]
    fn what_a_proxy_shows_is_said_or_nothing_and_a_misspelt_word_is_refused() {
        let read = serde_json::from_str::<Showing>;
        assert_eq!(read(r#""nothing""#).unwrap(), Showing::default());
        assert_eq!(read(r#"{"processor":{}}"#).unwrap(), Showing::Processor { collateral: None });
        let collateral = Some(PathBuf::from("intel.json"));
        assert_eq!(read(r#"{"processor":{"collateral":"intel.json"}}"#).unwrap(), Showing::Processor { collateral });
        for wrong in [r#""noting""#, r#""processor""#, r#"{"prozessor":{}}"#, r#"{"processor":{"colateral":"x"}}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_demand_is_no_demand_at_all() {
        let key = "0b".repeat(32);
        for wrong in [
            r#"{"accepted":["known machine"]}"#.to_owned(),
            r#"{"require_secure_boot":true}"#.to_owned(),
            r#"{"accepted":["self-claim"],"require_secureboot":true}"#.to_owned(),
            r#"{"accepted":["self-claim"],"registrars":[{"key":"0b"}]}"#.to_owned(),
            r#"{"accepted":[]}"#.to_owned(),
            format!(
                r#"{{"accepted":["self-claim"],"registrars":[{}]}}"#,
                vec![format!(r#"{{"key":"{key}"}}"#); 17].join(",")
            ),
        ] {
            assert!(serde_json::from_str::<Terms>(&wrong).is_err(), "{wrong}");
        }
    }
}
