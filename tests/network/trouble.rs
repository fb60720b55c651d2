//! A graphics card that fails under the real worker: a Vulkan layer between it and the driver (`tests/fixtures/gpu-trouble/layer.c`)
//! makes orders fail as drivers do. The worker ends with the reason by name, is started again, and after the third time the processor
//! takes over.

use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::{Setting, Stage, http, practice_model, program, until};
use tempfile::TempDir;

const LAYER: &str = include_str!("../fixtures/gpu-trouble/layer.c");
const NAME: &str = "VK_LAYER_TEST_trouble";
const TAKES_OVER: &str = "the processor takes over until this is started anew";

/// A folder with the app whose worker meets this trouble, after so many orders that go well. `None`: there is no card here to fail.
fn programs(trouble: &str, after: u32) -> Option<(TempDir, PathBuf)> {
    prepared(&format!("TROUBLE={trouble} TROUBLE_AFTER={after}"))
}

/// The same, with these variables for the layer.
pub(crate) fn prepared(variables: &str) -> Option<(TempDir, PathBuf)> {
    let found = program::run("chrysalis-worker", &["adapters", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&found.1).unwrap_or_default();
    if listed["adapters"].as_array().is_none_or(Vec::is_empty) {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here: {found:?}");
        println!("skipped: no Vulkan adapter");
        return None;
    }
    // Not in /tmp: the worker's box builds its tree of files there, and brings the layer into it.
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("layer.c"), LAYER).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-o"])
        .args([at("libtrouble.so"), at("layer.c")])
        .status();
    assert!(compiled.unwrap().success(), "the layer does not compile");
    let manifest = serde_json::json!({ "file_format_version": "1.1.2", "layer": {
        "name": NAME, "type": "GLOBAL", "library_path": "./libtrouble.so", "api_version": "1.3.0",
        "implementation_version": "1", "description": "makes a good card fail",
    }});
    std::fs::write(at("trouble.json"), manifest.to_string()).unwrap();
    // The app starts the worker that lies beside it, with an empty environment.
    std::fs::copy(program::path("chrysalis"), at("chrysalis")).unwrap();
    arrange(folder.path(), variables);
    let app = at("chrysalis");
    Some((folder, app))
}

/// From now on workers of this folder start with these variables. The app starts a program that it has measured, and a script is none: so one
/// is compiled that sets them and becomes the worker.
pub(crate) fn arrange(folder: &Path, variables: &str) {
    let layer = format!("VK_INSTANCE_LAYERS={NAME} VK_LAYER_PATH={}", folder.display());
    let set: Vec<String> = layer
        .split(' ')
        .chain(variables.split(' '))
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| format!("    setenv({name:?}, {value:?}, 1);\n"))
        .collect();
    let worker = program::path("chrysalis-worker");
    let source = format!(
        "#include <stdlib.h>\n#include <unistd.h>\nint main(int count, char **words) {{\n    (void)count;\n{}    \
         execv({:?}, words);\n    return 127;\n}}\n",
        set.concat(),
        worker.display().to_string(),
    );
    let (from, made) = (folder.join("worker.c"), folder.join("chrysalis-worker.new"));
    std::fs::write(&from, source).unwrap();
    let compiled = Command::new("cc").args(["-O1", "-D_GNU_SOURCE", "-o"]).args([&made, &from]).status();
    assert!(compiled.unwrap().success(), "what sets the variables does not compile");
    std::fs::rename(made, folder.join("chrysalis-worker")).unwrap();
}

pub(crate) fn stage(app: &Path) -> Stage {
    Setting {
        app: app.to_str().unwrap(),
        // Left to choose, the app passes software over, and here the cards are software.
        app_words: &["--backend", "wgpu", "--stats", "127.0.0.1:0"],
        ..Setting::default()
    }
    .start()
}

/// Three starts failed, each for this reason; the processor answers, and says why it does.
fn the_processor_took_over(stage: &Stage, reason: &str) {
    stage.app.until_it_says(TAKES_OVER);
    let log = stage.app.errors();
    for failures in 1..=3 {
        let line = format!("the graphics card failed ({failures} in a row): {reason}");
        assert!(log.contains(&line), "{line:?} is not in {log}");
    }
    stage.wait_for_model();
    stage.answer("and now?", 8);
    let stats = stage.stats().unwrap();
    assert_eq!(stats["model"]["backend"], "cpu", "{stats}");
    assert!(stats["model"]["adapter"].is_null(), "{stats}");
    assert!(stats["fallback"].as_str().is_some_and(|why| why.starts_with(reason)), "{stats}");
    assert_eq!(stats["worker_starts"], 4, "{stats}");
}

/// Asks for a long answer on the card, which breaks off. It may end with an error event; it must not hang.
fn broken_answer(stage: &Stage) {
    until("a question that is begun", || {
        stage.wait_for_model();
        let chat = stage.chat("go on and on", 4000, true);
        let mut coming = http::begin(stage.http_port, "/v1/chat/completions", &chat).ok()?;
        coming.piece().ok()??;
        drop(coming.rest());
        Some(())
    });
}

#[test]
fn a_card_lost_in_mid_answer_three_times_gives_way_to_the_processor() {
    let Some((_folder, app)) = programs("lost", 1000) else { return };
    let stage = stage(&app);
    assert_eq!(stage.app_ready["backend"], "wgpu", "{}", stage.app_ready);
    for failures in 1..=3 {
        broken_answer(&stage);
        stage.app.until_it_says(&format!("the graphics card failed ({failures} in a row)"));
    }
    the_processor_took_over(&stage, "the graphics card was lost: ");
}

#[test]
fn a_card_without_memory_gives_way_to_the_processor() {
    let Some((_folder, app)) = programs("memory", 0) else { return };
    the_processor_took_over(&stage(&app), "the graphics card has not enough memory for ");
}

/// Whatever it was for, and whether the library names it or gives the card up: the reason told is memory.
#[test]
fn memory_that_ends_while_weights_are_brought_to_the_card_is_named() {
    let Some(model) = practice_model() else {
        println!("skipped: no practice model (run `cargo xtask model`)");
        return;
    };
    for after in 1..=4 {
        let Some((folder, _)) = programs("memory", after) else { return };
        let output = Command::new(folder.path().join("chrysalis-worker"))
            .args(["generate", "--backend", "wgpu", "--prompt", "hello", "--tokens", "1", "--model"])
            .arg(&model)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{after} pieces of memory were enough");
        assert!(said.contains("the graphics card has not enough memory for "), "{after}: {said}");
    }
}

#[test]
fn a_kernel_that_the_driver_fails_at_is_named_and_the_processor_takes_over() {
    let Some((_folder, app)) = programs("pipeline", 3) else { return };
    the_processor_took_over(&stage(&app), "the graphics driver does not accept the kernel ");
}

#[test]
fn a_card_that_hangs_in_mid_answer_is_given_up_after_half_a_minute_and_tried_again() {
    let Some((_folder, app)) = programs("hang", 1000) else { return };
    let stage = stage(&app);
    let first = stage.worker_now().expect("a worker");
    broken_answer(&stage);
    stage.app.until_it_says("the graphics card failed (1 in a row): the graphics card did not answer for 30 seconds");
    until("another worker", || stage.worker_now().filter(|pid| *pid != first));
    stage.wait_for_model();
    stage.answer("and now?", 2);
    let stats = stage.stats().unwrap();
    assert_eq!(stats["model"]["backend"], "wgpu", "{stats}");
    assert!(stats["fallback"].is_null(), "{stats}");
}
