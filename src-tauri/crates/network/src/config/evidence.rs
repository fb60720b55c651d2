//! What workers and clients are told of the part of a configuration or a network file that says what workers must prove.
//!
//! May not: verify anything.

use ::evidence::{Grade, Terms};
use protocol::evidence::{Demands, RegistrarPlace};

/// The number that a grade has on the wire: its place in the order, from 0.
pub fn number_of(grade: Grade) -> i32 {
    Grade::ALL.iter().zip(0..).find(|(one, _)| **one == grade).map_or(0, |(_, number)| number)
}

/// The grade of a number on the wire.
pub fn grade_of(number: i32) -> Option<Grade> {
    usize::try_from(number).ok().and_then(|at| Grade::ALL.get(at)).copied()
}

/// These terms as they are told.
pub fn demands(terms: &Terms) -> Demands {
    let registrars = terms.registrars.iter();
    Demands {
        grades: terms.accepted.iter().map(|grade| number_of(*grade)).collect(),
        secure_boot: terms.require_secure_boot,
        registrars: registrars.map(|one| RegistrarPlace { endpoint: one.endpoint.clone(), key: one.key }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(config.policy().accepted, [Grade::KnownMachine, Grade::ProcessorIsolated].into());
        for grade in Grade::ALL {
            assert_eq!(grade_of(number_of(grade)), Some(grade));
        }
        assert_eq!((grade_of(-1), grade_of(5)), (None, None));
    }

    #[test]
    fn a_misspelt_demand_is_no_demand_at_all() {
        let key = "0b".repeat(32);
        for wrong in [
            r#"{"accepted":["known machine"]}"#.to_owned(),
            r#"{"require_secure_boot":true}"#.to_owned(),
            r#"{"accepted":[],"require_secureboot":true}"#.to_owned(),
            r#"{"accepted":[],"registrars":[{"key":"0b"}]}"#.to_owned(),
            format!(r#"{{"accepted":[],"registrars":[{}]}}"#, vec![format!(r#"{{"key":"{key}"}}"#); 17].join(",")),
        ] {
            assert!(serde_json::from_str::<Terms>(&wrong).is_err(), "{wrong}");
        }
    }
}
