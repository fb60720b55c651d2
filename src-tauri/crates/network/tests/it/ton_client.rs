//! An unmodified TonClient of `@ton/ton` against the embedded chain, and every transaction against `@ton/sandbox`.

use std::path::PathBuf;
use std::time::Duration;

use network::chain::{Settings, start};

#[tokio::test(flavor = "multi_thread")]
async fn ton_client_deploys_sends_and_reads_history_and_fees_are_those_of_the_sandbox() {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/contracts");
    if !scripts.join("node_modules/@ton/ton").is_dir() {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_NODE").is_none(), "run `npm ci` in tests/contracts");
        println!("skipped: run `npm ci` in tests/contracts");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(folder.path().to_owned());
    settings.block_time = Duration::from_millis(100);
    let chain = start(settings).await.unwrap();
    let run = tokio::process::Command::new("node")
        .arg("toncenter.mjs")
        .args([chain.endpoint().as_str(), chain.token()])
        .current_dir(scripts)
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(Duration::from_mins(5), run).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let figures: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert!(figures["compared"].as_u64().unwrap() >= 15, "{figures}");
    chain.stop().await;
}
