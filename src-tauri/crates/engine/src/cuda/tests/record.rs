//! What is committed beside the kernels' text: the same text compiled, and what the compiler said of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cuda::launch::KERNELS;
use crate::cuda::nvidia::PTX;

/// What the module is made of, in the order in which it is hashed.
pub(super) const SOURCES: [&str; 8] =
    ["kernels.cu", "numbers.h", "blocks.h", "activations.h", "product.h", "attention.h", "experts.h", "find.h"];

#[derive(Deserialize)]
struct Record {
    source_sha256: String,
    ptx_sha256: String,
    nvrtc: String,
    ptx_version: String,
    targets: BTreeMap<String, BTreeMap<String, Costs>>,
}

#[derive(Deserialize)]
struct Costs {
    registers: u32,
    shared_bytes: u32,
    stack_bytes: u32,
    spilled_bytes: u32,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[test]
fn the_committed_kernels_are_those_of_the_committed_text() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
    let record: Record = serde_json::from_slice(&std::fs::read(folder.join("kernels.json")).unwrap()).unwrap();
    let mut hash = Sha256::new();
    for name in SOURCES {
        let text = std::fs::read(folder.join(name)).unwrap();
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    assert_eq!(record.source_sha256, hex(&hash.finalize()), "cargo xtask kernels was not run after a change");
    assert_eq!(record.ptx_sha256, hex(&Sha256::digest(PTX)), "kernels.ptx was changed by hand");
    assert_eq!(record.nvrtc, "12.1.105");
    assert_eq!(record.ptx_version, "8.1");
    assert!(PTX.contains("\n.version 8.1\n.target sm_75\n.address_size 64\n"));
    // An intrinsic that the compiler did not know would be called, and be nowhere.
    assert!(!PTX.contains(".extern"), "something is not in it");
    for kernel in KERNELS {
        assert!(PTX.contains(&format!(".visible .entry {kernel}(")), "{kernel}");
    }
    assert_eq!(PTX.matches(".visible .entry ").count(), KERNELS.len());
}

#[test]
fn every_kernel_fits_into_registers_of_three_generations_of_cards() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels/kernels.json");
    let record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(record.targets.keys().map(String::as_str).collect::<Vec<_>>(), ["sm_75", "sm_86", "sm_89"]);
    for (target, kernels) in &record.targets {
        assert_eq!(kernels.len(), KERNELS.len(), "{target}");
        for kernel in KERNELS {
            let costs = &kernels[kernel];
            assert_eq!((costs.spilled_bytes, costs.stack_bytes), (0, 0), "{kernel} for {target}");
            // 65,536 registers are shared by the threads of a block, 256 at most; no block has more than 48 KiB without asking.
            assert!((1..=255).contains(&costs.registers), "{kernel} for {target}");
            assert!(costs.shared_bytes <= 48 * 1024, "{kernel} for {target}");
        }
    }
}
