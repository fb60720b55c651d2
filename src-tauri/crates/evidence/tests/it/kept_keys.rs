//! Attestation keys of the shape that Windows' key provider makes: RSA with 2,048 bits, a policy, the older padding. Its bytes are made by the
//! layout of `TPMT_PUBLIC`; that they are what a TPM makes of such a template is tried in the crate `tpm`.

use evidence::tpm::key::PublicArea;

/// Fixed to its TPM and its parent, born inside, used without a password, not locked by wrong passwords elsewhere, restricted, signs.
const KEPT: u32 = 0x0005_0472;
const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;
const SHA1: u16 = 0x0004;
const SHA256: u16 = 0x000b;

fn key(attributes: u32, scheme: u16, hash: u16) -> Vec<u8> {
    let head = [&[0, 1, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 32], &[0x9d; 32], &[0, 0x10]].concat();
    let scheme = [scheme.to_be_bytes(), hash.to_be_bytes()].concat();
    [&head[..], &scheme, &[8, 0, 0, 0, 0, 0, 1, 0], &[0xc7; 256]].concat()
}

fn is_fit(bytes: &[u8]) -> bool {
    PublicArea::read(bytes).is_some_and(|key| key.signs_only_what_the_tpm_says())
}

#[test]
fn a_key_that_windows_keeps_is_fit_if_and_only_if_it_signs_nothing_but_what_its_tpm_says() {
    assert!(is_fit(&key(KEPT, RSASSA, SHA256)));
    // Every bit of the attributes: those that must be set, the one that must not, and those that are no matter.
    for bit in 0..32 {
        let fit = !matches!(bit, 1 | 4 | 5 | 16 | 17 | 18);
        assert_eq!(is_fit(&key(KEPT ^ 1 << bit, RSASSA, SHA256)), fit, "bit {bit}");
    }
    // What Windows makes when it is not told otherwise, and what is not verified here.
    assert!(!is_fit(&key(KEPT, RSASSA, SHA1)));
    assert!(!is_fit(&key(KEPT, RSAPSS, SHA256)));
    let whole = key(KEPT, RSASSA, SHA256);
    for length in 0..whole.len() {
        assert!(PublicArea::read(&whole[..length]).is_none(), "{length}");
    }
    assert!(PublicArea::read(&[&whole[..], &[0]].concat()).is_none());
}
