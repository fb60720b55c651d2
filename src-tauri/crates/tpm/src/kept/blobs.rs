//! What Windows' key provider takes and gives as bytes. May not: believe that a length is true.
//!
//! Layouts: Microsoft's "Using the Windows 8 Platform Crypto Provider" and `bcrypt.h`; what is inside is "TPM 2.0 Library, Part 2".

use crate::templates::{Endorsement, sized};
use evidence::registrar::Challenge;

/// "RSA1": a public key of RSA.
const RSA_PUBLIC: u32 = 0x3141_5352;
/// Bytes before exponent and modulus.
const RSA_HEAD: usize = 24;
/// The modulus of the only endorsement keys that are known here, in bytes, and their exponent.
const MODULUS: usize = 256;
const EXPONENT: [u8; 3] = [1, 0, 1];
/// How many certificates a registrar takes beside the endorsement key's, and of how many bytes each.
const CARRIED: usize = 4;
const CERTIFICATE_LIMIT: usize = 8 * 1024;
/// Of a signature: RSA in the older padding.
const RSASSA: [u8; 2] = [0, 0x14];

/// What is to be set as the provider's activation: both parts of the challenge, each with its length before it.
pub(super) fn activation(challenge: &Challenge) -> Vec<u8> {
    [sized(&challenge.credential), sized(&challenge.secret)].concat()
}

/// The public area out of what the provider says of a key when it has made it: public area, creation data and what the TPM attested
/// about them, each with its length before it, and the signature.
pub(super) fn bound_public(binding: &[u8]) -> Option<&[u8]> {
    let (public, rest) = split(binding)?;
    let (_creation, rest) = split(rest)?;
    let (_attested, signature) = split(rest)?;
    // The scheme, the hash, and a number with its length: all of it and nothing behind.
    let number = signature.strip_prefix(&RSASSA)?.get(2..)?;
    let (number, rest) = split(number)?;
    (rest.is_empty() && !number.is_empty()).then_some(public)
}

/// The modulus of an endorsement key. `None`: it is of another kind than RSA with 2,048 bits and the usual exponent.
pub(super) fn endorsement_modulus(blob: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| blob.get(at..at + 4)?.first_chunk().copied().map(u32::from_le_bytes);
    let (magic, bits) = (field(0)?, field(4)?);
    let [exponent, modulus, first_prime, second_prime] = [field(8)?, field(12)?, field(16)?, field(20)?];
    let fits = magic == RSA_PUBLIC && bits as usize == MODULUS * 8 && modulus as usize == MODULUS;
    (fits && (first_prime, second_prime) == (0, 0)).then_some(())?;
    let numbers = blob.get(RSA_HEAD..)?;
    (numbers.len() == (exponent as usize).checked_add(MODULUS)?).then_some(())?;
    let (exponent, modulus) = numbers.split_at_checked(exponent as usize)?;
    let digits = exponent.iter().position(|byte| *byte != 0)?;
    (exponent.get(digits..)? == EXPONENT).then_some(modulus)
}

/// The endorsement key as a `TPMT_PUBLIC`: the one template by which Windows makes it, with its modulus.
pub(super) fn endorsement_public(modulus: &[u8]) -> Vec<u8> {
    let mut public = Endorsement::Rsa.template();
    public.truncate(public.len().saturating_sub(MODULUS));
    public.extend_from_slice(modulus);
    public
}

/// Of the certificates that a system holds, the one of the key with this modulus, and of the others, each once, as many as a registrar takes.
pub(super) fn sorted(certificates: Vec<Vec<u8>>, modulus: &[u8]) -> (Option<Vec<u8>>, Vec<Vec<u8>>) {
    let mut found = None;
    let mut others: Vec<Vec<u8>> = Vec::new();
    for certificate in certificates.into_iter().filter(|certificate| certificate.len() <= CERTIFICATE_LIMIT) {
        if certificate.windows(modulus.len().max(1)).any(|part| part == modulus) {
            found.get_or_insert(certificate);
        } else if !others.contains(&certificate) {
            others.push(certificate);
        }
    }
    others.truncate(CARRIED);
    (found, others)
}

/// Bytes with their length before them, and what comes behind.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Vec<u8> {
        let signature = [&[0, 0x14, 0, 0x0b][..], &sized(&[9; 256])].concat();
        [sized(&[1; 310]), sized(&[2; 115]), sized(&[3; 145]), signature].concat()
    }

    fn endorsement() -> Vec<u8> {
        let golden = "52534131 00080000 03000000 00010000 00000000 00000000 010001".replace(' ', "");
        [hex::decode(golden).unwrap(), vec![0xc5; 256]].concat()
    }

    #[test]
    fn the_key_is_found_in_what_windows_says_of_it_and_whatever_is_cut_or_longer_is_refused() {
        let whole = binding();
        assert_eq!(hex::encode(&whole[..4]), "01360101", "the golden bytes begin with the length");
        assert_eq!(bound_public(&whole), Some(&[1; 310][..]));
        for length in 0..whole.len() {
            assert_eq!(bound_public(&whole[..length]), None, "{length}");
        }
        assert_eq!(bound_public(&[whole, vec![0]].concat()), None);
        // What a TPM 1.2 says begins with its version.
        assert_eq!(bound_public(&[&[1, 1, 0, 0][..], &[0; 600]].concat()), None);
    }

    #[test]
    fn an_endorsement_key_is_read_if_it_is_of_the_one_kind_and_of_its_length() {
        let whole = endorsement();
        assert_eq!(endorsement_modulus(&whole), Some(&[0xc5; 256][..]));
        for length in 0..whole.len() {
            assert_eq!(endorsement_modulus(&whole[..length]), None, "{length}");
        }
        assert_eq!(endorsement_modulus(&[&whole[..], &[0]].concat()), None);
        let other = |at: usize, byte: u8| {
            let mut blob = endorsement();
            blob[at] = byte;
            endorsement_modulus(&blob).is_none()
        };
        // Its kind, its bits, both lengths, the primes of a private key, the exponent.
        assert!(
            other(3, b'2')
                && other(5, 0x0c)
                && other(8, 4)
                && other(13, 2)
                && other(16, 1)
                && other(20, 1)
                && other(26, 3)
        );
        for at in [8, 12] {
            let mut blob = endorsement();
            blob[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(endorsement_modulus(&blob), None);
        }
        // Some write the exponent with zeros before it.
        let padded = [&whole[..8], &[4, 0, 0, 0], &whole[12..24], &[0], &whole[24..]].concat();
        assert_eq!(endorsement_modulus(&padded), Some(&[0xc5; 256][..]));
    }

    #[test]
    fn an_endorsement_key_is_shown_by_the_template_that_its_maker_certified() {
        let public = endorsement_public(&[0xc5; 256]);
        let read = evidence::tpm::key::PublicArea::read(&public).unwrap();
        assert!(read.is_an_endorsement_key());
        assert_eq!(public.len(), Endorsement::Rsa.template().len());
        assert_eq!(public[public.len() - 258..][..2], [1, 0]);
    }

    #[test]
    fn an_activation_has_both_parts_each_behind_its_length() {
        let challenge = Challenge { credential: vec![7; 68], secret: vec![8; 256] };
        let blob = activation(&challenge);
        assert_eq!(blob.len(), 2 + 68 + 2 + 256);
        assert_eq!((&blob[..3], &blob[70..73]), (&[0, 68, 7][..], &[1, 0, 8][..]));
    }

    #[test]
    fn the_endorsement_keys_certificate_is_told_from_those_above_it() {
        let modulus = [0xc5; 256];
        let of_key = [&[0x30][..], &modulus, &[1]].concat();
        let above = vec![0x30; 300];
        let (found, others) = sorted(vec![above.clone(), of_key.clone(), above.clone(), vec![0; 9000]], &modulus);
        assert_eq!((found, others), (Some(of_key), vec![above]));
        assert_eq!(sorted((0..9).map(|byte| vec![byte; 300]).collect(), &modulus).1.len(), CARRIED);
        assert_eq!(sorted(Vec::new(), &modulus), (None, Vec::new()));
    }
}
