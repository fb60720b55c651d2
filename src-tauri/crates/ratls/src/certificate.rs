//! Reading a certificate, leniently where genuine programs need it and nowhere else.
//!
//! Genuine Cocoon programs never set the version of the certificates they make, so these are X.509 *version 1 with
//! extensions*, which strict parsers refuse. Here the version is read and has no consequence. Everything else follows
//! RFC 5280 in the DER that OpenSSL writes. Reading says nothing about trust: see [`crate::tls::peer_identity`].

use thiserror::Error;

use crate::der::{self, Reader};

pub use crate::der::DerError;

/// The longest certificate that is read, in bytes; TLS of this crate carries no longer one either.
pub const MAX_LENGTH: usize = 65_536;
/// The most extensions that are read.
const MAX_EXTENSIONS: usize = 32;

pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const QUOTE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xe0, 0x39, 0x01];
const USER_CLAIMS: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xe0, 0x39, 0x02];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

const VERSION_TAG: u8 = 0xa0;
const ISSUER_UNIQUE_ID_TAG: u8 = 0x81;
const SUBJECT_UNIQUE_ID_TAG: u8 = 0x82;
const EXTENSIONS_TAG: u8 = 0xa3;
const DNS_NAME_TAG: u8 = 0x82;

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// More bytes than any certificate here has.
    #[error("{length} bytes are too many for a certificate")]
    TooLong {
        /// Bytes that were offered.
        length: usize,
    },
    /// Not the DER that a certificate is made of.
    #[error("malformed {place}")]
    Malformed {
        /// The part of the certificate that is wrong.
        place: &'static str,
        /// What is wrong with it.
        #[source]
        cause: DerError,
    },
    /// A version that does not exist.
    #[error("an unknown certificate version")]
    UnknownVersion,
    /// The same extension twice.
    #[error("extension {identifier} stands there twice")]
    RepeatedExtension {
        /// Its object identifier, dotted.
        identifier: String,
    },
    /// More extensions than any certificate here has.
    #[error("more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
}

/// What an extended key usage extension allows; other purposes are of no interest here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// The holder may be a TLS server.
    pub server_auth: bool,
    /// The holder may be a TLS client.
    pub client_auth: bool,
}

/// A certificate taken apart. None of it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// 1, 2 or 3 as X.509 counts; 1 says nothing about extensions here.
    pub version: u8,
    /// The bytes that the signature covers.
    pub signed_part: Vec<u8>,
    /// Whether both places that name the signature's algorithm say Ed25519.
    pub signed_with_ed25519: bool,
    /// The signature, of whatever algorithm.
    pub signature: Vec<u8>,
    /// The issuer's name in DER.
    pub issuer: Vec<u8>,
    /// The subject's name in DER.
    pub subject: Vec<u8>,
    /// First second of validity, Unix time.
    pub not_before: i64,
    /// End of validity, Unix time.
    pub not_after: i64,
    /// The subject's key; `None` if it is not an Ed25519 key.
    pub public_key: Option<[u8; 32]>,
    /// Whether the key may make digital signatures; `None` without a key usage extension.
    pub digital_signature: Option<bool>,
    /// `None` without an extended key usage extension.
    pub extended_key_usage: Option<ExtendedKeyUsage>,
    /// Content of extension 1.3.6.1.4.1.12345.1, the evidence.
    pub quote: Option<Vec<u8>>,
    /// Content of extension 1.3.6.1.4.1.12345.2, which repeats the public key and which no verifier needs.
    pub user_claims: Option<Vec<u8>>,
    /// The first critical extension that is not understood, dotted.
    pub unknown_critical: Option<String>,
    alternative_names: Option<Vec<u8>>,
}

impl Certificate {
    /// Whether the subject alternative names hold exactly this name *as a DNS name*, which for genuine programs is also how
    /// the text of an address is written.
    pub fn has_dns_name(&self, name: &str) -> bool {
        let mut names = Reader::new(self.alternative_names.as_deref().unwrap_or_default());
        while let Ok(entry) = names.element() {
            if entry.tag == DNS_NAME_TAG && entry.content == name.as_bytes() {
                return true;
            }
        }
        false
    }
}

/// Reads one certificate in DER; nothing may follow it.
pub fn parse(bytes: &[u8]) -> Result<Certificate, ParseError> {
    if bytes.len() > MAX_LENGTH {
        return Err(ParseError::TooLong { length: bytes.len() });
    }
    let outer = der::only(bytes, der::SEQUENCE).map_err(at("certificate"))?;
    let mut outer = Reader::new(outer.content);
    let signed_part = outer.expect(der::SEQUENCE).map_err(at("certificate"))?;
    let outer_algorithm = outer.expect(der::SEQUENCE).map_err(at("signature algorithm"))?;
    let signature = outer.expect(der::BIT_STRING).and_then(whole_bytes).map_err(at("signature"))?;
    outer.end().map_err(at("certificate"))?;

    let mut body = Reader::new(signed_part.content);
    let version = version(&mut body)?;
    body.expect(der::INTEGER).map_err(at("serial number"))?;
    let inner_algorithm = body.expect(der::SEQUENCE).map_err(at("signature algorithm"))?;
    let issuer = body.expect(der::SEQUENCE).map_err(at("issuer"))?;
    let mut validity = body.inside(der::SEQUENCE).map_err(at("validity"))?;
    let not_before = validity.element().and_then(time).map_err(at("validity"))?;
    let not_after = validity.element().and_then(time).map_err(at("validity"))?;
    validity.end().map_err(at("validity"))?;
    let subject = body.expect(der::SEQUENCE).map_err(at("subject"))?;
    let key_info = body.expect(der::SEQUENCE).map_err(at("public key"))?;
    let public_key = ed25519_key(key_info.content).map_err(at("public key"))?;
    body.optional(ISSUER_UNIQUE_ID_TAG).map_err(at("issuer"))?;
    body.optional(SUBJECT_UNIQUE_ID_TAG).map_err(at("subject"))?;
    let extensions = body.optional(EXTENSIONS_TAG).map_err(at("extensions"))?;
    body.end().map_err(at("certificate"))?;

    let mut certificate = Certificate {
        version,
        signed_part: signed_part.whole.to_vec(),
        signed_with_ed25519: outer_algorithm.whole == inner_algorithm.whole && is_ed25519(inner_algorithm.content),
        signature: signature.to_vec(),
        issuer: issuer.whole.to_vec(),
        subject: subject.whole.to_vec(),
        not_before,
        not_after,
        public_key,
        digital_signature: None,
        extended_key_usage: None,
        quote: None,
        user_claims: None,
        unknown_critical: None,
        alternative_names: None,
    };
    if let Some(extensions) = extensions {
        read_extensions(extensions.content, &mut certificate)?;
    }
    Ok(certificate)
}

fn at(place: &'static str) -> impl Fn(DerError) -> ParseError {
    move |cause| ParseError::Malformed { place, cause }
}

fn version(body: &mut Reader<'_>) -> Result<u8, ParseError> {
    let Some(field) = body.optional(VERSION_TAG).map_err(at("version"))? else { return Ok(1) };
    match der::only(field.content, der::INTEGER).map_err(at("version"))?.content {
        [number @ 0..=2] => Ok(number + 1),
        _ => Err(ParseError::UnknownVersion),
    }
}

fn whole_bytes(element: der::Element<'_>) -> Result<&[u8], DerError> {
    match der::bits(element)? {
        (bytes, 0) => Ok(bytes),
        _ => Err(DerError::BadContent),
    }
}

/// An algorithm identifier is Ed25519 only without parameters (RFC 8410).
fn is_ed25519(algorithm: &[u8]) -> bool {
    der::only(algorithm, der::OBJECT_IDENTIFIER).is_ok_and(|identifier| identifier.content == ED25519)
}

fn ed25519_key(key_info: &[u8]) -> Result<Option<[u8; 32]>, DerError> {
    let mut reader = Reader::new(key_info);
    let algorithm = reader.expect(der::SEQUENCE)?;
    let key = whole_bytes(reader.expect(der::BIT_STRING)?)?;
    reader.end()?;
    if is_ed25519(algorithm.content) { key.try_into().map(Some).map_err(|_| DerError::BadContent) } else { Ok(None) }
}

fn read_extensions(content: &[u8], certificate: &mut Certificate) -> Result<(), ParseError> {
    let list = der::only(content, der::SEQUENCE).map_err(at("extensions"))?;
    let mut list = Reader::new(list.content);
    let mut seen: Vec<&[u8]> = Vec::new();
    while !list.is_at_end() {
        let mut extension = list.inside(der::SEQUENCE).map_err(at("extension"))?;
        let identifier = extension.expect(der::OBJECT_IDENTIFIER).map_err(at("extension"))?.content;
        let critical = extension.optional(der::BOOLEAN).map_err(at("extension"))?;
        let critical = critical.map_or(Ok(false), der::boolean).map_err(at("extension"))?;
        let value = extension.expect(der::OCTET_STRING).map_err(at("extension"))?.content;
        extension.end().map_err(at("extension"))?;
        if seen.contains(&identifier) {
            return Err(ParseError::RepeatedExtension { identifier: der::dotted(identifier) });
        }
        if seen.len() == MAX_EXTENSIONS {
            return Err(ParseError::TooManyExtensions);
        }
        seen.push(identifier);
        read_extension(identifier, value, critical, certificate)?;
    }
    Ok(())
}

fn read_extension(identifier: &[u8], value: &[u8], critical: bool, into: &mut Certificate) -> Result<(), ParseError> {
    match identifier {
        QUOTE => into.quote = Some(value.to_vec()),
        USER_CLAIMS => into.user_claims = Some(value.to_vec()),
        KEY_USAGE => into.digital_signature = Some(digital_signature(value).map_err(at("key usage"))?),
        EXTENDED_KEY_USAGE => {
            into.extended_key_usage = Some(extended_key_usage(value).map_err(at("extended key usage"))?);
        }
        SUBJECT_ALT_NAME => {
            into.alternative_names = Some(alternative_names(value).map_err(at("alternative names"))?.to_vec());
        }
        BASIC_CONSTRAINTS => basic_constraints(value).map_err(at("basic constraints"))?,
        SUBJECT_KEY_IDENTIFIER => drop(der::only(value, der::OCTET_STRING).map_err(at("subject key identifier"))?),
        AUTHORITY_KEY_IDENTIFIER => drop(der::only(value, der::SEQUENCE).map_err(at("authority key identifier"))?),
        _ if critical && into.unknown_critical.is_none() => into.unknown_critical = Some(der::dotted(identifier)),
        _ => {}
    }
    Ok(())
}

fn digital_signature(value: &[u8]) -> Result<bool, DerError> {
    let (bytes, _) = der::bits(der::only(value, der::BIT_STRING)?)?;
    Ok(bytes.first().is_some_and(|first| first & 0x80 != 0))
}

fn extended_key_usage(value: &[u8]) -> Result<ExtendedKeyUsage, DerError> {
    let mut purposes = Reader::new(der::only(value, der::SEQUENCE)?.content);
    let mut usage = ExtendedKeyUsage::default();
    while !purposes.is_at_end() {
        let purpose = purposes.expect(der::OBJECT_IDENTIFIER)?.content;
        usage.server_auth |= purpose == SERVER_AUTH;
        usage.client_auth |= purpose == CLIENT_AUTH;
    }
    Ok(usage)
}

fn alternative_names(value: &[u8]) -> Result<&[u8], DerError> {
    let content = der::only(value, der::SEQUENCE)?.content;
    let mut names = Reader::new(content);
    while !names.is_at_end() {
        names.element()?;
    }
    Ok(content)
}

/// Whether the holder may sign other certificates plays no role, for there is never a second one; only the form is checked.
fn basic_constraints(value: &[u8]) -> Result<(), DerError> {
    let mut constraints = Reader::new(der::only(value, der::SEQUENCE)?.content);
    constraints.optional(der::BOOLEAN)?.map(der::boolean).transpose()?;
    constraints.optional(der::INTEGER)?;
    constraints.end()
}

/// Unix time of a UTCTime or GeneralizedTime in the only forms that RFC 5280 admits: to the second, and ending in Z.
fn time(element: der::Element<'_>) -> Result<i64, DerError> {
    let (year_digits, pivot) = match element.tag {
        der::UTC_TIME => (2, true),
        der::GENERALIZED_TIME => (4, false),
        found => return Err(DerError::WrongTag { expected: der::UTC_TIME, found }),
    };
    let (year, rest) = element.content.split_at_checked(year_digits).ok_or(DerError::BadContent)?;
    let &[a, b, c, d, e, f, g, h, i, j, b'Z'] = rest else { return Err(DerError::BadContent) };
    let mut year = number(year)?;
    if pivot {
        year += if year < 50 { 2000 } else { 1900 };
    }
    let (month, day) = (number(&[a, b])?, number(&[c, d])?);
    let (hour, minute, second) = (number(&[e, f])?, number(&[g, h])?, number(&[i, j])?);
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err(DerError::BadContent);
    }
    Ok(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Result<i64, DerError> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + i64::from(digit - b'0')),
        _ => Err(DerError::BadContent),
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts from the first of March, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(tag: u8, digits: &str) -> Result<i64, DerError> {
        let mut bytes = vec![tag, digits.len() as u8];
        bytes.extend_from_slice(digits.as_bytes());
        time(Reader::new(&bytes).element()?)
    }

    #[test]
    fn times_become_unix_time() {
        for (tag, digits, expected) in [
            (der::UTC_TIME, "700101000000Z", 0),
            (der::UTC_TIME, "260101000000Z", 1_767_225_600),
            (der::UTC_TIME, "491231235959Z", 2_524_607_999),
            (der::UTC_TIME, "500101000000Z", -631_152_000),
            (der::GENERALIZED_TIME, "20000229120000Z", 951_825_600),
            (der::GENERALIZED_TIME, "21000301000000Z", 4_107_542_400),
            (der::GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
            (der::GENERALIZED_TIME, "00000101000000Z", -62_167_219_200),
        ] {
            assert_eq!(unix(tag, digits), Ok(expected), "{digits}");
        }
    }

    #[test]
    fn times_that_do_not_exist_are_refused() {
        for digits in ["000229000000", "20000230000000Z", "21000229000000Z", "20001301000000Z", "20000001000000Z", ""] {
            assert!(unix(der::GENERALIZED_TIME, digits).is_err(), "{digits}");
        }
        assert!(unix(der::UTC_TIME, "260101000060Z").is_err(), "a leap second");
        assert!(unix(der::BOOLEAN, "260101000000Z").is_err());
    }
}
