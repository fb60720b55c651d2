//! Logs of boots that never were, in TCG's crypto-agile form. Another test program borrows this file.

use sha2::{Digest, Sha256};

/// EFI's own variables.
const GLOBAL: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// A line: register, kind, what was measured, what stands in the log.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) register: u32,
    pub(crate) kind: u32,
    pub(crate) digest: [u8; 32],
    pub(crate) content: Vec<u8>,
}

pub(crate) fn line(register: u32, kind: u32, content: &[u8]) -> Line {
    Line { register, kind, digest: Sha256::digest(content).into(), content: content.to_vec() }
}

/// A `UEFI_VARIABLE_DATA`.
pub(crate) fn variable(name: &str, value: &[u8]) -> Line {
    let name: Vec<u16> = name.encode_utf16().collect();
    let mut content = GLOBAL.to_vec();
    content.extend((name.len() as u64).to_le_bytes());
    content.extend((value.len() as u64).to_le_bytes());
    content.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    content.extend(value);
    line(7, 0x8000_0001, &content)
}

pub(crate) fn separator(register: u32) -> Line {
    line(register, 4, &[0; 4])
}

/// An ordinary start.
pub(crate) fn boot(secure: bool) -> Vec<Line> {
    let mut lines = vec![
        line(0, 8, b"firmware 1.0"),
        variable("SecureBoot", &[u8::from(secure)]),
        variable("PK", b"platform key"),
        variable("KEK", b"key exchange keys"),
        variable("db", b"allowed"),
        variable("dbx", b"forbidden"),
    ];
    lines.extend((0..8).map(separator));
    lines.push(line(4, 0x8000_0003, b"boot loader"));
    lines
}

/// The log as firmware writes it, with banks of SHA-1 and SHA-256.
pub(crate) fn written(lines: &[Line]) -> Vec<u8> {
    let mut head = b"Spec ID Event03\0".to_vec();
    head.extend(0_u32.to_le_bytes());
    head.extend([0, 2, 0, 2]);
    head.extend(2_u32.to_le_bytes());
    head.extend([4, 0, 20, 0, 11, 0, 32, 0]);
    head.push(0);
    let mut log = Vec::new();
    log.extend(0_u32.to_le_bytes());
    log.extend(3_u32.to_le_bytes());
    log.extend([0; 20]);
    log.extend((head.len() as u32).to_le_bytes());
    log.extend(head);
    for line in lines {
        log.extend(line.register.to_le_bytes());
        log.extend(line.kind.to_le_bytes());
        log.extend(2_u32.to_le_bytes());
        log.extend(4_u16.to_le_bytes());
        log.extend([0x11; 20]);
        log.extend(11_u16.to_le_bytes());
        log.extend(line.digest);
        log.extend((line.content.len() as u32).to_le_bytes());
        log.extend(&line.content);
    }
    log
}

/// Where the log leads.
pub(crate) fn registers(lines: &[Line]) -> [[u8; 32]; 8] {
    let mut registers = [[0; 32]; 8];
    for line in lines.iter().filter(|line| line.kind != 3) {
        let Some(register) = registers.get_mut(line.register as usize) else { continue };
        *register = Sha256::new().chain_update(*register).chain_update(line.digest).finalize().into();
    }
    registers
}
