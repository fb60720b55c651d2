//! The registrar's statement.

use crate::software::{registrar, statement};
use ed25519_dalek::SigningKey;
use evidence::{Statement, StatementError};

#[test]
fn a_statement_is_read_as_it_was_signed_and_no_bit_of_it_can_be_changed() {
    let said = statement([9; 34], true);
    let bytes = said.sign(&registrar());
    assert_eq!(Statement::verify(&bytes), Ok(said));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Statement::verify(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Statement::verify(&bytes[..length]).is_err());
    }
    assert!(Statement::verify(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_statement_signed_by_somebody_else_in_the_registrars_name_is_refused() {
    let mut bytes = statement([9; 34], true).sign(&SigningKey::from_bytes(&[8; 32]));
    bytes[16..48].copy_from_slice(&registrar().verifying_key().to_bytes());
    assert_eq!(Statement::verify(&bytes), Err(StatementError::Signature));
}

#[test]
fn the_golden_statement_is_written_and_read() {
    let golden = std::fs::read(crate::container::fixture("statement.bin")).unwrap();
    let said = statement([9; 34], true);
    assert_eq!(said.sign(&registrar()), golden);
    assert_eq!(Statement::verify(&golden), Ok(said));
}
