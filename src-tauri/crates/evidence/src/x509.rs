//! Just enough of certificates to follow a chain from a chip to its maker's root.
//!
//! Chips' certificates are of many hands: some have no subject, some mark as critical what ordinary verifiers don't know. What is checked:
//! each is signed by the one above it, which is allowed to sign certificates, is what the lower one names as its issuer, and is in time; the
//! last one is signed by a root that is built in. May not: copy; take a hash that is broken (SHA-1) or a key that is too short.

use crate::reader::Reader;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use thiserror::Error;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const OID: u8 = 6;
const INTEGER: u8 = 2;
const BOOLEAN: u8 = 1;
/// The most certificates between a chip and its root.
const DEPTH: usize = 4;

mod oid {
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    pub(super) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    pub(super) const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
    pub(super) const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
    pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0, 34];
    pub(super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    pub(super) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    pub(super) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
    pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    /// 2.23.133.8.1, with its tag and length.
    pub(super) const ENDORSEMENT_KEY: &[u8] = &[0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x01];
}

/// Why a chain is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChainError {
    /// Bytes that are no certificate.
    #[error("a certificate can't be read")]
    Malformed,
    /// Too many between.
    #[error("there are too many certificates between the chip and its maker")]
    TooLong,
    /// Nobody here knows who signed.
    #[error("the certificate's issuer is not known")]
    UnknownIssuer,
    /// Signed by something else than it says.
    #[error("a certificate is not signed by its issuer")]
    Signature,
    /// A certificate that may not sign others.
    #[error("a certificate is signed by one that may not sign")]
    NotAnIssuer,
    /// Too early or too late.
    #[error("a certificate is not valid at this time")]
    Time,
    /// A scheme that is not believed, or not known.
    #[error("a certificate is signed in a way that is not accepted")]
    Scheme,
}

/// A certificate, as slices of its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate<'a> {
    signed: &'a [u8],
    scheme: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    /// Seconds since 1970, first and last.
    times: (i64, i64),
    key_algorithm: &'a [u8],
    key: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads one. Bytes behind it are zeros at most: a TPM's memory may be longer than what was written into it.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Reader(bytes);
        let mut outer = element(&mut all, SEQUENCE)?;
        all.0.iter().all(|byte| *byte == 0).then_some(())?;
        let before = outer.0;
        let mut inner = element(&mut outer, SEQUENCE)?;
        let signed = before.get(..before.len() - outer.0.len())?;
        let scheme = element(&mut outer, SEQUENCE)?.0;
        let signature = bits(element(&mut outer, BIT_STRING)?)?;
        outer.end()?;

        optional(&mut inner, 0xa0)?; // version
        element(&mut inner, INTEGER)?; // serial number
        (element(&mut inner, SEQUENCE)?.0 == scheme).then_some(())?;
        let issuer = element(&mut inner, SEQUENCE)?.0;
        let mut validity = element(&mut inner, SEQUENCE)?;
        let times = (time(&mut validity)?, time(&mut validity)?);
        let subject = element(&mut inner, SEQUENCE)?.0;
        let mut public = element(&mut inner, SEQUENCE)?;
        let key_algorithm = element(&mut public, SEQUENCE)?.0;
        let key = bits(element(&mut public, BIT_STRING)?)?;
        optional(&mut inner, 0x81)?;
        optional(&mut inner, 0x82)?;
        let extensions = match optional(&mut inner, 0xa3)? {
            Some(mut wrapped) => element(&mut wrapped, SEQUENCE)?.0,
            None => &[],
        };
        inner.end()?;
        Some(Self { signed, scheme, signature, issuer, subject, times, key_algorithm, key, extensions })
    }

    /// The key, as the certificate carries it; see [`Key::as_in_certificates`](crate::tpm::key::Key).
    pub(crate) fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The content of an extension.
    pub(crate) fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut list = Reader(self.extensions);
        while !list.0.is_empty() {
            let mut one = element(&mut list, SEQUENCE)?;
            let name = element(&mut one, OID)?.0;
            optional(&mut one, BOOLEAN)?;
            let content = element(&mut one, OCTET_STRING)?.0;
            if name == wanted {
                return Some(content);
            }
        }
        None
    }

    /// Whether this may be an endorsement key's: no authority's, and where it names its purposes that one is among them.
    pub(crate) fn may_be_an_endorsement_keys(&self) -> bool {
        !self.may_sign()
            && self.extension(oid::EXTENDED_KEY_USAGE).is_none_or(|content| contains(content, oid::ENDORSEMENT_KEY))
    }

    fn is_in_time(&self, now: u64) -> bool {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        (self.times.0..=self.times.1).contains(&now)
    }

    /// Whether it may sign certificates: it says that it is an authority, and where it names the uses of its key this is one of them.
    pub(crate) fn may_sign(&self) -> bool {
        let authority = || {
            let mut content = Reader(self.extension(oid::BASIC_CONSTRAINTS)?);
            let mut list = element(&mut content, SEQUENCE)?;
            element(&mut list, BOOLEAN).map(|value| value.0 != [0])
        };
        let use_fits = match self.extension(oid::KEY_USAGE) {
            None => true,
            // The sixth bit, counted from the first byte's top: keyCertSign.
            Some(content) => element(&mut Reader(content), BIT_STRING)
                .and_then(bits_of_any_length)
                .is_some_and(|bits| bits.first().is_some_and(|first| first & 0x04 != 0)),
        };
        authority() == Some(true) && use_fits
    }

    /// How many authorities may stand below it, if it says so.
    pub(crate) fn room_below(&self) -> Option<usize> {
        let mut content = Reader(self.extension(oid::BASIC_CONSTRAINTS)?);
        let mut list = element(&mut content, SEQUENCE)?;
        optional(&mut list, BOOLEAN)?;
        match element(&mut list, INTEGER)?.0 {
            [number] => Some(usize::from(*number)),
            // More than anybody carries.
            _ => None,
        }
    }

    /// Whether `issuer` signed this one.
    pub(crate) fn check_signature(&self, issuer: &Certificate<'_>) -> Result<(), ChainError> {
        let scheme = issuer.verifier(self.scheme).ok_or(ChainError::Scheme)?;
        UnparsedPublicKey::new(scheme, issuer.key)
            .verify(self.signed, self.signature)
            .map_err(|_| ChainError::Signature)
    }

    fn verifier(&self, scheme: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
        let mut scheme = Reader(scheme);
        let name = element(&mut scheme, OID)?.0;
        let mut key = Reader(self.key_algorithm);
        let kind = element(&mut key, OID)?.0;
        let curve = || element(&mut key.clone(), OID).map(|curve| curve.0);
        let found: &'static dyn VerificationAlgorithm = match (kind, name) {
            (oid::RSA, oid::RSA_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (oid::RSA, oid::RSA_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (oid::RSA, oid::RSA_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            // The one form of it that is used here: SHA-384 everywhere.
            (oid::RSA, oid::RSA_PSS) if contains(scheme.0, oid::SHA384) => &signature::RSA_PSS_2048_8192_SHA384,
            (oid::EC, oid::ECDSA_SHA256) if curve() == Some(oid::P256) => &signature::ECDSA_P256_SHA256_ASN1,
            (oid::EC, oid::ECDSA_SHA384) if curve() == Some(oid::P256) => &signature::ECDSA_P256_SHA384_ASN1,
            (oid::EC, oid::ECDSA_SHA256) if curve() == Some(oid::P384) => &signature::ECDSA_P384_SHA256_ASN1,
            (oid::EC, oid::ECDSA_SHA384) if curve() == Some(oid::P384) => &signature::ECDSA_P384_SHA384_ASN1,
            _ => return None,
        };
        Some(found)
    }
}

/// Follows the chain from the chip's certificate over those carried beside it to one of the roots, and returns that root's index.
/// Roots are believed as they are, whatever their own dates say: they are replaced with the program.
pub(crate) fn follow<'a>(
    leaf: &Certificate<'a>,
    carried: &[Certificate<'a>],
    roots: &[Certificate<'_>],
    now: u64,
) -> Result<usize, ChainError> {
    let mut current = *leaf;
    for below in 0..=DEPTH {
        if !current.is_in_time(now) {
            return Err(ChainError::Time);
        }
        // Several roots of a maker may have one name, and so may those between.
        let mut failed = None;
        for (at, root) in roots.iter().enumerate().filter(|(_, root)| root.subject == current.issuer) {
            match current.check_signature(root) {
                Ok(()) => return Ok(at),
                Err(error) => failed = Some(error),
            }
        }
        let mut next = None;
        for above in carried.iter().filter(|above| above.subject == current.issuer && above.signed != current.signed) {
            match signs(above, &current, below) {
                // What a key has signed leads on, whichever of its certificates is taken: all of them go up from one name.
                Ok(()) => next = next.or(Some(*above)),
                Err(error) => failed = Some(error),
            }
        }
        current = next.ok_or(failed.unwrap_or(ChainError::UnknownIssuer))?;
    }
    Err(ChainError::TooLong)
}

/// Whether one certificate was signed by another that may sign it, with so many authorities already below.
fn signs(above: &Certificate<'_>, current: &Certificate<'_>, below: usize) -> Result<(), ChainError> {
    if !above.may_sign() {
        return Err(ChainError::NotAnIssuer);
    }
    if above.room_below().is_some_and(|room| room < below) {
        return Err(ChainError::TooLong);
    }
    current.check_signature(above)
}

/// The content of the next element, which has this tag.
pub(crate) fn element<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    (reader.byte()? == tag).then_some(())?;
    let first = reader.byte()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81 => usize::from(reader.byte()?),
        0x82 => usize::from(reader.be16()?),
        _ => return None,
    };
    reader.take(length).map(Reader)
}

/// The content of the next element if it has this tag; `None` if what follows can't be read.
#[expect(clippy::option_option, reason = "whether it can be read, and whether it is there")]
fn optional<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Option<Reader<'a>>> {
    if reader.0.first() == Some(&tag) { element(reader, tag).map(Some) } else { Some(None) }
}

/// Whole bytes of a bit string.
fn bits(content: Reader<'_>) -> Option<&[u8]> {
    content.0.strip_prefix(&[0])
}

fn bits_of_any_length(content: Reader<'_>) -> Option<&[u8]> {
    content.0.split_first().map(|(_, bits)| bits)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// A point in time in either form, as seconds since 1970. "No end" is year 9999.
fn time(reader: &mut Reader<'_>) -> Option<i64> {
    let long = match reader.0.first()? {
        0x17 => false,
        0x18 => true,
        _ => return None,
    };
    let text = element(reader, if long { 0x18 } else { 0x17 })?.0.strip_suffix(b"Z")?;
    let (year, rest) = text.split_at_checked(if long { 4 } else { 2 })?;
    (rest.len() == 10).then_some(())?;
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let mut year = number(year)?;
    if !long {
        year += if year < 50 { 2_000 } else { 1_900 };
    }
    let mut parts = [0; 5];
    for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
        *part = number(digits)?;
    }
    let [month, day, hour, minute, second] = parts;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    fits.then_some(())?;
    // Days since 1970, counted in years that begin in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    fn read(tag: u8, text: &str) -> Option<i64> {
        let bytes = [&[tag, text.len() as u8][..], text.as_bytes()].concat();
        time(&mut Reader(&bytes))
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(read(0x17, "700101000000Z"), Some(0));
        assert_eq!(read(0x17, "261127120000Z"), Some(1_795_780_800));
        assert_eq!(read(0x18, "20240229235959Z"), Some(1_709_251_199));
        assert_eq!(read(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(0x17, "500101000000Z"), Some(-631_152_000));
        assert_eq!(read(0x18, "99991231235959Z"), Some(253_402_300_799));
        for wrong in ["261327120000Z", "26112712000Z", "2611271200000", "26112a120000Z", "261127250000Z"] {
            assert_eq!(read(0x17, wrong), None, "{wrong}");
        }
    }

    const NOW: u64 = 1_795_780_800;

    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        der: Vec<u8>,
    }

    fn parameters(name: &str, authority: Option<BasicConstraints>) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = authority.map_or(IsCa::ExplicitNoCa, IsCa::Ca);
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        parameters
    }

    impl Authority {
        fn root() -> Self {
            let key = KeyPair::generate().unwrap();
            let parameters = parameters("root", Some(BasicConstraints::Unconstrained));
            let der = parameters.self_signed(&key).unwrap().der().to_vec();
            Self { issuer: Issuer::new(parameters, key), der }
        }

        fn below(&self, name: &str, authority: Option<BasicConstraints>) -> Self {
            let key = KeyPair::generate().unwrap();
            let parameters = parameters(name, authority);
            let der = parameters.signed_by(&key, &self.issuer).unwrap().der().to_vec();
            Self { issuer: Issuer::new(parameters, key), der }
        }
    }

    fn check(leaf: &Authority, carried: &[&Authority], root: &Authority, expected: Result<usize, ChainError>) {
        let read =
            |one: &'_ Authority| -> Certificate<'static> { Certificate::read(Vec::leak(one.der.clone())).unwrap() };
        let carried: Vec<_> = carried.iter().map(|one| read(one)).collect();
        assert_eq!(follow(&read(leaf), &carried, &[read(root)], NOW), expected);
    }

    #[test]
    fn a_chain_is_followed_in_any_order_over_four_and_no_further() {
        let any = || Some(BasicConstraints::Unconstrained);
        let root = Authority::root();
        let mut steps: Vec<Authority> = Vec::new();
        for number in 0..5 {
            let next = steps.last().unwrap_or(&root).below(&number.to_string(), any());
            steps.push(next);
        }
        let all: Vec<&Authority> = steps.iter().rev().collect();
        let (four, five) = (steps[3].below("chip", None), steps[4].below("chip", None));
        check(&four, &all, &root, Ok(0));
        check(&five, &all, &root, Err(ChainError::TooLong));
        check(&four, &all[..3], &root, Err(ChainError::UnknownIssuer));
        check(&root.below("chip", None), &[], &root, Ok(0));
        check(&four, &all, &Authority::root(), Err(ChainError::Signature));
    }

    #[test]
    fn a_namesake_between_neither_signs_nor_stands_in_the_way() {
        let any = || Some(BasicConstraints::Unconstrained);
        let (root, stranger) = (Authority::root(), Authority::root());
        let (between, namesake) = (root.below("between", any()), stranger.below("between", any()));
        let chip = between.below("chip", None);
        check(&chip, &[&namesake, &between], &root, Ok(0));
        check(&chip, &[&between, &namesake], &root, Ok(0));
        check(&chip, &[&namesake], &root, Err(ChainError::Signature));
        // Whose certificate says that it signs nobody, and who has said how many may stand below it.
        let plain = root.below("between", None);
        check(&plain.below("chip", None), &[&plain], &root, Err(ChainError::NotAnIssuer));
        let last = root.below("last", Some(BasicConstraints::Constrained(0)));
        check(&last.below("chip", None), &[&last], &root, Ok(0));
        let one_more = last.below("one more", any());
        check(&one_more.below("chip", None), &[&last, &one_more], &root, Err(ChainError::TooLong));
    }
}
