//! The engine's own choice where there is a driver of NVIDIA's: a library in its place (`tests/fixtures/cuda/driver.cc`), found and
//! loaded as the real one is, whose card is the engine's kernels compiled for the processor. It tells the truth, or lies.
//!
//! A library is looked for where the program was told at its start. So each case is a program of its own: this one, started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use link::FromWorker;
use link::message::{BackendKind, ModelFacts};
use serde_json::json;

use crate::app::{MODEL, Rig};
use crate::devices::{has_adapter, has_card, of_the_card};

const RAW: &str = "/v1/completions";
/// Set in the programs that have such a driver.
const CASE: &str = "CHRYSALIS_EMULATED_CUDA";

/// The library in a folder of its own. `None`: nothing here makes one.
fn driver() -> Option<tempfile::TempDir> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: the emulator is written for x86-64 and Linux");
        return None;
    }
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let compiled = Command::new("g++")
        .args(["-DEMULATED", "-O2", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-march=native"])
        .args(["-ffp-contract=off", "-fno-strict-aliasing", "-Wno-unknown-pragmas", "-Wl,-soname,libcuda.so", "-I"])
        .arg(sources.join("../engine/src/cuda/kernels"))
        .arg(sources.join("../../../tests/fixtures/cuda/driver.cc"))
        .arg("-o")
        .arg(folder.path().join("libcuda.so"))
        .arg("-ldl")
        .output();
    let Ok(output) = compiled else {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a C++ compiler here");
        println!("skipped: there is no g++");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(folder)
}

/// Starts this test again, with the driver and what is wrong with it.
fn again(test: &str, folder: &Path, case: &str, lies: Option<&str>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("cuda::{test}"), "--exact", "--nocapture"]).env("LD_LIBRARY_PATH", folder).env(CASE, case);
    if let Some(kernel) = lies {
        command.env("CARD_LIES", kernel);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{case}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{case} was not run: {said}");
}

fn started(tunings: Vec<Vec<u8>>) -> (Rig, ModelFacts) {
    let rig = Rig::connected(|configuration| {
        configuration.backend = BackendKind::Auto;
        configuration.tunings = tunings;
    });
    let facts = rig.said.iter().find_map(|said| match said {
        FromWorker::Ready(facts) => Some(facts.clone()),
        _ => None,
    });
    (rig, facts.unwrap())
}

fn answers(rig: &mut Rig) {
    let answer = rig.answer(RAW, &json!({"model": MODEL, "prompt": "hello", "max_tokens": 4, "temperature": 0}));
    assert_eq!(answer.json()["usage"]["completion_tokens"], 4);
}

#[test]
fn a_card_with_nvidias_driver_proves_itself_is_tried_out_once_and_serves() {
    const TEST: &str = "a_card_with_nvidias_driver_proves_itself_is_tried_out_once_and_serves";
    if std::env::var_os(CASE).is_none() {
        if let Some(folder) = driver() {
            again(TEST, folder.path(), "honest", None);
        }
        return;
    }
    let (mut rig, facts) = started(Vec::new());
    assert_eq!((facts.backend.as_str(), facts.passed_over), ("cuda", None));
    assert!(facts.adapter.is_some_and(|adapter| adapter.contains("Emulated card")));
    let (tries, tuning, reason) = of_the_card(&rig);
    assert!(tries > 1 && reason.is_some_and(|reason| reason.contains("nothing was stored")));
    assert_eq!((tuning.card.as_str(), tuning.driver.as_str()), ("Emulated card", "CUDA 12.4"));
    assert!(tuning.is_bounded() && tuning.step_micros > 0 && tuning.chunk_micros > 0 && tuning.tried > 0);
    answers(&mut rig);
    drop(rig);
    // The app gives back what it wrote down.
    let (mut rig, facts) = started(vec![vec![0xff; 9], tuning.choice.clone()]);
    assert_eq!(facts.backend, "cuda");
    assert_eq!(of_the_card(&rig), (0, tuning, None));
    answers(&mut rig);
}

#[test]
fn a_card_with_nvidias_driver_that_lies_is_passed_over_and_another_way_serves_and_says_so() {
    const TEST: &str = "a_card_with_nvidias_driver_that_lies_is_passed_over_and_another_way_serves_and_says_so";
    let Ok(why) = std::env::var(CASE) else {
        if let Some(folder) = driver().filter(|_| has_adapter()) {
            // One number of one kernel; and one that no test of a single kernel sees, only what a small model says.
            let of_kernel = "the kernel product of Q4_K with 1 tokens computes something else than the processor";
            again(TEST, folder.path(), of_kernel, Some("product_q4_k_1"));
            again(TEST, folder.path(), "model says something else than on the processor", Some("heads"));
        }
        return;
    };
    let (mut rig, facts) = started(Vec::new());
    let other = if has_card() { "wgpu" } else { "cpu" };
    assert_eq!(facts.backend, other);
    let told = facts.passed_over.unwrap();
    assert!(told.contains("the graphics card cannot be trusted") && told.contains(&why), "{told}");
    // What was tried out, and is written down, is the way that serves.
    if other == "wgpu" {
        let (_, tuning, reason) = of_the_card(&rig);
        assert!(reason.is_some() && tuning.card != "Emulated card", "{tuning:?}");
    } else {
        assert!(!rig.said.iter().any(|said| matches!(said, FromWorker::Tuned { .. })));
    }
    answers(&mut rig);
}
