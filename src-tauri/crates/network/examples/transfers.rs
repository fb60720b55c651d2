//! How many transfers the embedded chain makes in a second: wallets of version 4 with real signatures, each pays the next one, every block is
//! synced to the disk. `cargo run -p network --example transfers -- WALLETS ROUNDS`; prints one line of JSON.

#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

use std::time::Instant;

use ed25519_dalek::{Signer, SigningKey};
use network::chain::{Embedded, Rules, message_of};
use ton::{Address, Cell, CellBuilder, Nanoton, StateInit, boc};

type Failure = Box<dyn std::error::Error>;

const WALLET_ID: u64 = 0x29a9_a317;
const BLOCK_MS: i64 = 1000;

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let wallets = words.next().unwrap_or_else(|| "100".to_owned()).parse::<u32>()?;
    let rounds = words.next().unwrap_or_else(|| "10".to_owned()).parse::<u64>()?;
    let code = code()?;
    let folder = std::env::temp_dir().join(format!("chrysalis-transfers-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut now = 1_790_000_000_000_i64;
    let mut chain =
        Embedded::open(&folder.join("chain.sqlite"), Rules { seed: 1, block_ms: 1000, global_id: -3 }, now)?;
    let mut made = Vec::new();
    for number in 0..wallets {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let key = SigningKey::from_bytes(&seed);
        let data = CellBuilder::new().uint(0, 32).uint(WALLET_ID, 32).bytes(key.verifying_key().as_bytes()).uint(0, 1);
        let init = StateInit { code: code.clone(), data: data.build()? };
        let address = init.address()?;
        chain.give(address, Nanoton(100_000_000_000), now)?;
        made.push((key, init, address));
    }
    while chain.has_work() {
        now += BLOCK_MS;
        chain.tick(now)?;
    }
    let begun = Instant::now();
    for seqno in 0..rounds {
        for (at, (key, init, address)) in made.iter().enumerate() {
            let to = made[(at + 1) % made.len()].2;
            let message = transfer(key, init, address, seqno, &to)?;
            chain.send(message_of(&message)?, now)?;
        }
        while chain.has_work() {
            now += BLOCK_MS;
            chain.tick(now)?;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let transfers = rounds * u64::from(wallets);
    let sound = chain.audit()?.adds_up();
    drop(chain);
    let bytes = std::fs::metadata(folder.join("chain.sqlite"))?.len();
    std::fs::remove_dir_all(&folder)?;
    let report = serde_json::json!({
        "transfers": transfers, "seconds": took, "transfers_per_second": transfers as f64 / took,
        "transactions": transfers * 2, "file_bytes": bytes, "adds_up": sound,
    });
    println!("{report}");
    Ok(())
}

fn transfer(key: &SigningKey, init: &StateInit, from: &Address, seqno: u64, to: &Address) -> Result<Cell, Failure> {
    let sent = CellBuilder::new().uint(0b01, 2).uint(0, 4).address(to).amount(Nanoton(1_000_000)).uint(0, 1);
    let sent = sent.amount(Nanoton(0)).amount(Nanoton(0)).uint(0, 64).uint(0, 32).uint(0, 2).build()?;
    let fields = |builder: CellBuilder| {
        builder.uint(WALLET_ID, 32).uint(0xffff_ffff, 32).uint(seqno, 32).uint(0, 8).uint(3, 8).reference(sent.clone())
    };
    let signature = key.sign(&fields(CellBuilder::new()).build()?.hash()).to_bytes();
    let body = fields(CellBuilder::new().bytes(&signature)).build()?;
    let outside = CellBuilder::new().uint(0b1000, 4).address(from).amount(Nanoton(0));
    let outside = if seqno == 0 { outside.uint(0b11, 2).reference(init.to_cell()?) } else { outside.uint(0, 1) };
    Ok(outside.uint(1, 1).reference(body).build()?)
}

/// A wallet's code, from a recorded message.
fn code() -> Result<Cell, Failure> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/chain/messages.json");
    let recorded: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let first = recorded["v4r2"]["ext_boc_0"].as_str().ok_or("no recorded message")?;
    find_code(&boc::decode(&hex::decode(first)?)?).ok_or_else(|| "no code in the recorded message".into())
}

fn find_code(cell: &Cell) -> Option<Cell> {
    if cell.data().starts_with(&[0xff, 0x00, 0xf4, 0xa4, 0x13, 0xf4, 0xbc, 0xf2, 0xc8, 0x0b]) {
        return Some(cell.clone());
    }
    cell.refs().iter().find_map(find_code)
}
