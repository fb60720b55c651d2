//! The makers' certificates that are built in.

use evidence::tpm_roots;
use sha2::{Digest, Sha256};

#[test]
fn the_roots_are_those_of_the_list_in_the_documents() {
    let document = include_str!("../../../../docs/attestation.md");
    let roots = tpm_roots();
    assert_eq!(roots.len(), 25);
    for (vendor, root) in roots {
        let hash = hex::encode(Sha256::digest(root));
        let row = document.lines().find(|line| line.contains(&hash));
        assert!(row.is_some_and(|row| row.contains(vendor)), "{vendor}, {hash}");
    }
}
