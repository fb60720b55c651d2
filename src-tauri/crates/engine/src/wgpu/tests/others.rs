//! Adapters that a process sees only if it is told to when it starts: SwiftShader, which Chromium brings along. It has neither 16-bit
//! floats nor lavapipe's subgroups, so it takes other ways through the kernels; and with both a machine has two cards.

use std::process::Command;

use super::*;

const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";
const LAVAPIPE: &str = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

/// Runs tests of this program in a process that sees these drivers.
fn run(drivers: &[&str], tests: &[&str]) {
    if drivers.iter().any(|driver| !std::path::Path::new(driver).exists()) {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_SECOND_GPU").is_none(), "{drivers:?} must be here");
        println!("skipped: no {drivers:?}");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(tests)
        .arg("--nocapture")
        .env("VK_DRIVER_FILES", drivers.join(":"))
        .env("VK_ICD_FILENAMES", drivers.join(":"))
        .env("CHRYSALIS_REQUIRE_GPU", "1")
        .env("TEST_DRIVERS", drivers.len().to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("running 0 tests"), "nothing was run: {text}");
}

#[test]
fn swiftshader_computes_the_same() {
    run(
        &[SWIFTSHADER],
        &[
            "wgpu::tests::kernels::",
            "wgpu::tests::attention::",
            "wgpu::tests::gates::",
            "wgpu::tests::subgroups::",
            "wgpu::tests::whole::the_tiny",
        ],
    );
}

#[test]
fn with_two_cards_either_can_be_had() {
    run(&[SWIFTSHADER, LAVAPIPE], &["wgpu::tests::others::two_cards"]);
}

/// By itself it sees one card and does nothing.
#[test]
fn two_cards() {
    if std::env::var_os("TEST_DRIVERS").is_none_or(|count| count != "2") {
        return;
    }
    let found = list();
    assert_eq!(found.len(), 2, "{found:?}");
    for name in ["swiftshader", "LLVMPIPE"] {
        let wish = Wish { adapter: Some(name.to_owned()), software: true };
        let options = Options { threads: 1, context: 64, max_sequences: 1 };
        let card = Wgpu::new(tiny(), &options, &wish, &Tuning::default()).unwrap();
        assert!(card.adapter().unwrap().to_lowercase().contains(&name.to_lowercase()));
    }
}
