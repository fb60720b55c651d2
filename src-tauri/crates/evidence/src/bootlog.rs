//! The log of a measured boot: "TCG PC Client Platform Firmware Profile", crypto-agile form.
//!
//! Every line of the log says which register was extended with which hash; some carry what was hashed. The log itself is signed by nobody,
//! so it is replayed first, and if that leads to the registers that the TPM signed, a line's content is read if its hash is the line's.
//!
//! May not: read a line before the replay has come out right; keep anything of a log's size.

use crate::Refusal;
use crate::reader::Reader;
use crate::tpm::SHA256;
use sha2::{Digest, Sha256};

const MALFORMED: Refusal = Refusal::Malformed("boot log");
const NO_ACTION: u32 = 3;
/// What is measured as a separator. The one that stands for an error is none of them: after it nothing is known.
const SEPARATORS: [[u8; 4]; 2] = [[0; 4], [0xff; 4]];
/// The register of Secure Boot's settings.
const SETTINGS: u32 = 7;
/// The most banks of one TPM.
const BANKS: u32 = 16;
/// EFI's own variables: 8be4df61-93ca-11d2-aa0d-00e098032b8c.
const GLOBAL: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// One line.
struct Event<'a> {
    register: u32,
    kind: u32,
    digest: [u8; 32],
    content: &'a [u8],
}

impl Event<'_> {
    /// Whether the content is what was measured. For many kinds of line it never is: then it only explains.
    fn is_what_was_measured(&self) -> bool {
        Sha256::digest(self.content)[..] == self.digest
    }
}

/// The lines of a log, after its head.
struct Events<'a> {
    reader: Reader<'a>,
    /// The algorithms and the lengths of their hashes, as the head has them.
    banks: [(u16, u16); BANKS as usize],
}

impl<'a> Events<'a> {
    /// Reads the head: one line in the old form, which says what form the others have.
    fn open(log: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(log);
        let _register = reader.le32()?;
        (reader.le32()? == NO_ACTION).then_some(())?;
        let _digest: [u8; 20] = reader.array()?;
        let length = reader.le32()?;
        let mut head = Reader(reader.take(length as usize)?);
        (head.take(16)? == b"Spec ID Event03\0").then_some(())?;
        let _class_and_version = head.take(8)?;
        let count = head.le32()?;
        let mut banks = [(0, 0); BANKS as usize];
        (count <= BANKS).then_some(())?;
        for bank in banks.iter_mut().take(count as usize) {
            *bank = (head.le16()?, head.le16()?);
        }
        let vendor = head.byte()?;
        head.take(usize::from(vendor))?;
        head.end()?;
        banks.contains(&(SHA256, 32)).then_some(Self { reader, banks })
    }

    /// The next line; `None` at the end.
    fn next(&mut self) -> Result<Option<Event<'a>>, Refusal> {
        if self.reader.0.is_empty() { Ok(None) } else { self.read().map(Some).ok_or(MALFORMED) }
    }

    fn read(&mut self) -> Option<Event<'a>> {
        let register = self.reader.le32()?;
        let kind = self.reader.le32()?;
        let count = self.reader.le32()?;
        (count <= BANKS).then_some(())?;
        let mut digest = None;
        for _ in 0..count {
            let algorithm = self.reader.le16()?;
            let (_, length) = self.banks.iter().find(|(known, length)| *known == algorithm && *length != 0)?;
            let bytes = self.reader.take(usize::from(*length))?;
            if algorithm == SHA256 {
                // Twice would be two answers to one question.
                if digest.is_some() {
                    return None;
                }
                digest = bytes.first_chunk().copied();
            }
        }
        let length = self.reader.le32()?;
        let content = self.reader.take(length as usize)?;
        Some(Event { register, kind, digest: digest?, content })
    }
}

/// Replays the log and, if it leads to the registers, says whether Secure Boot was on; `None` if the log does not say.
pub(crate) fn secure_boot(log: &[u8], registers: &[[u8; 32]; 8]) -> Result<Option<bool>, Refusal> {
    replay(log, registers)?;
    read_settings(log)
}

fn replay(log: &[u8], registers: &[[u8; 32]; 8]) -> Result<(), Refusal> {
    let replayed = replayed(log)?;
    match replayed.iter().zip(registers).position(|(replayed, signed)| replayed != signed) {
        Some(at) => Err(Refusal::LogDoesNotFit(at as u8)),
        None => Ok(()),
    }
}

/// The registers to which the log leads.
pub(crate) fn replayed(log: &[u8]) -> Result<[[u8; 32]; 8], Refusal> {
    let mut events = Events::open(log).ok_or(MALFORMED)?;
    let mut replayed = [[0; 32]; 8];
    let mut extended = [false; 8];
    while let Some(event) = events.next()? {
        if event.kind == NO_ACTION {
            // The place from which the TPM was started is where register 0 begins.
            if let Some([locality]) = event.content.strip_prefix(b"StartupLocality\0")
                && event.register == 0
                && !extended[0]
            {
                replayed[0][31] = *locality;
            }
            continue;
        }
        if let (Some(value), Some(extended)) =
            (replayed.get_mut(event.register as usize), extended.get_mut(event.register as usize))
        {
            *value = Sha256::new().chain_update(*value).chain_update(event.digest).finalize().into();
            *extended = true;
        }
    }
    Ok(replayed)
}

/// What the lines before register 7's separator say. Later ones could be anybody's: whoever is root extends registers at will.
///
/// Only hashes go into a register, so a line's kind is whatever the writer of the log calls it. A line is what its hash says: the separator is
/// the first one with the hash of a separator, and of those before it each must have the content that was measured.
fn read_settings(log: &[u8]) -> Result<Option<bool>, Refusal> {
    let mut events = Events::open(log).ok_or(MALFORMED)?;
    let mut said = None;
    let mut debugged = false;
    while let Some(event) = events.next()? {
        if event.register != SETTINGS || event.kind == NO_ACTION {
            continue;
        }
        if SEPARATORS.iter().any(|words| Sha256::digest(words)[..] == event.digest) {
            return Ok(said.map(|on: bool| on && !debugged));
        }
        if !event.is_what_was_measured() {
            // What is not what was measured says nothing, and hides what was.
            return Ok(None);
        }
        if let Some(on) = secure_boot_variable(event.content) {
            if said.is_some() {
                return Err(Refusal::LogContradictsItself);
            }
            said = Some(on);
        }
        debugged |= event.content.starts_with(b"UEFI Debug Mode");
    }
    // Without a separator the firmware had not finished.
    Ok(None)
}

/// The value, if this is the variable SecureBoot: a `UEFI_VARIABLE_DATA`.
fn secure_boot_variable(content: &[u8]) -> Option<bool> {
    let mut reader = Reader(content);
    let owner: [u8; 16] = reader.array()?;
    let characters = usize::try_from(reader.le64()?).ok()?;
    let length = usize::try_from(reader.le64()?).ok()?;
    let name = reader.take(characters.checked_mul(2)?)?;
    let value = reader.take(length)?;
    let wanted = "SecureBoot".encode_utf16().flat_map(u16::to_le_bytes);
    // Without a value it is not set, which is off.
    (owner == GLOBAL && name.iter().copied().eq(wanted)).then_some(*value == [1])
}
