//! Vectors made with `@ton/crypto` 3.3.0, `@ton/ton` 16.3.0 and `@ton/core` 0.63.1 from a phrase that everybody may know.

use super::*;
use crate::{AddressText, Nanoton, comment};
use ed25519_dalek::{Signer as _, SigningKey};

const SEED: &str = "5dd73a91247ab0cd707beda10c4fd17b440fb0a82cc0800ffa24cce805b9a815";
const PUBLIC: &str = "625e6906f4ef98f75ae47dd38374f8abbb12bf33b34279fa2467ce287b45d67f";
const TO: &str = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k";

fn key() -> SigningKey {
    let mut seed = [0; 32];
    hex::decode_to_slice(SEED, &mut seed).unwrap();
    SigningKey::from_bytes(&seed)
}

fn wallet(version: WalletVersion, network: Network) -> WalletContract {
    WalletContract::new(version, network, key().verifying_key().to_bytes())
}

fn transfer(seqno: u32, messages: usize) -> Unsigned {
    let to = AddressText::parse(TO).unwrap().address;
    let message = InternalMessage::new(to, true, Nanoton(1_234_567_890), comment("hello cocoon").unwrap());
    let messages = vec![Outgoing { mode: SendMode::TRANSFER, message }; messages];
    Unsigned::Transfer(Transfer { seqno, valid_until: 1_800_000_000, messages })
}

fn signed(wallet: &WalletContract, unsigned: &Unsigned) -> Cell {
    let cell = wallet.body_to_sign(unsigned).unwrap();
    wallet.signed_body(&cell, &key().sign(&cell.hash()).to_bytes()).unwrap()
}

#[test]
fn codes_have_the_hashes_that_all_wallets_know() {
    let known = [
        "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f",
        "feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0",
        "84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599",
    ];
    for (version, known) in WalletVersion::ALL.into_iter().zip(known) {
        let hash = version.code().hash();
        assert_eq!(hex::encode(hash), known);
        assert_eq!(WalletVersion::with_code(&hash), Some(version));
    }
    assert_eq!(WalletVersion::with_code(&[0; 32]), None);
}

#[test]
fn one_key_has_a_known_address_in_every_contract() {
    assert_eq!(hex::encode(key().verifying_key().to_bytes()), PUBLIC);
    let raw = |version, network| wallet(version, network).address().to_string();
    let main = "0:4880bb7e1a267a7e8e5f1a8dc88320ad47dd094ecaae556a5f9f06c643b8969a";
    assert_eq!(raw(WalletVersion::V5R1, Network::Main), main);
    let test = "0:1a731e96c96d452f159cd84d97744dc99dd0e8473c25a5d34c5d7171be278d06";
    assert_eq!(raw(WalletVersion::V5R1, Network::Test), test);
    let earlier = "0:a9b1ab60540eb590384bc99b92e5fde3cc7a42c9044d46431b4376141c61f592";
    assert_eq!(raw(WalletVersion::V4R2, Network::Main), earlier);
    assert_eq!(raw(WalletVersion::V4R2, Network::Test), earlier, "the same on both networks");
    let oldest = "0:8cfc245fb3801ef21f3eb8b91817e4acc925a48ef5d5a5cd48bd5cf3df533d66";
    assert_eq!(raw(WalletVersion::V3R2, Network::Main), oldest);
    let address = wallet(WalletVersion::V5R1, Network::Main).address();
    let text = |bounceable| AddressText { address, bounceable, testnet: false }.to_text();
    assert_eq!(text(true), "EQBIgLt-GiZ6fo5fGo3IgyCtR90JTsquVWpfnwbGQ7iWmk4T");
    assert_eq!(text(false), "UQBIgLt-GiZ6fo5fGo3IgyCtR90JTsquVWpfnwbGQ7iWmhPW");
    let testnet = AddressText { address, bounceable: false, testnet: true }.to_text();
    assert!(testnet.starts_with("0QBI") && testnet.ends_with("qhc"));
}

#[test]
fn transfers_have_the_known_hashes() {
    let known = [
        (
            WalletVersion::V5R1,
            0,
            "89630d4bb1c90154fe2d2375605a6e43a154199a59fe3d8ca95421deed253f93",
            "4af993068a40a93f096a43f188eb577c23c59ba662928fe34441144d5102ad1b",
            "598d83a41921ba31007f04a415da7bbf464349cbbfb3e98c0da7d355d03902a8",
        ),
        (
            WalletVersion::V5R1,
            7,
            "b2a5834b24055aaa7de480b9320245425b61945c5b5f3aa9742d3b2359753f81",
            "2c86de31ecf1b4213988aacaf6f141d641a62eddbfd8811c12395a9d447396e2",
            "eb4f1bb96488dc72cd31f92448de6d85021b15202fb80aac773701eac5792740",
        ),
        (
            WalletVersion::V4R2,
            0,
            "cc0fe9dd49a84d1780ac245cbb6cab708e9c6dd03b5c241e4f0fccee3165ba2a",
            "1d2e30f9ed95c2e849fcc6bb463d7ee2b6656e4bfa2744295fee816fd14afcab",
            "26974953f843a565ef733eadd6455a8308cac4d1ef542930bde8276a9e9d9b99",
        ),
        (
            WalletVersion::V4R2,
            7,
            "4d20939e75988a4539a16112c7d5dbb8624c3d715190339af18abb796e3e51cd",
            "28f1f2cf50ab853ffd2127ca42113e95d15de2520572eb6b3384dc91105b2f78",
            "672cfb0f8bf8528dd5314bd13e96e129b9ccbc5a48026f0ff64f780c65cc4d4a",
        ),
    ];
    for (version, seqno, body, message, normalized) in known {
        let wallet = wallet(version, Network::Main);
        let signed = signed(&wallet, &transfer(seqno, 1));
        assert_eq!(hex::encode(signed.hash()), body, "{version:?} {seqno}");
        let external = wallet.external(signed, seqno == 0);
        assert_eq!(hex::encode(external.to_cell().unwrap().hash()), message, "{version:?} {seqno}");
        assert_eq!(hex::encode(external.normalized_hash().unwrap()), normalized, "{version:?} {seqno}");
    }
}

#[test]
fn what_was_signed_is_read_back_with_the_hash_that_was_signed() {
    for version in WalletVersion::ALL {
        let wallet = wallet(version, Network::Main);
        for messages in [1, version.most_messages()] {
            let unsigned = transfer(9, messages);
            let to_sign = wallet.body_to_sign(&unsigned).unwrap();
            let read = SignedTransfer::read(version, &signed(&wallet, &unsigned)).unwrap();
            let Unsigned::Transfer(transfer) = unsigned;
            assert_eq!(read.transfer, transfer);
            assert_eq!((read.signed_hash, read.wallet_id), (to_sign.hash(), wallet.wallet_id));
            assert_eq!(read.signature, key().sign(&to_sign.hash()).to_bytes());
        }
        let most = version.most_messages();
        for messages in [0, most + 1] {
            let refused = Err(TransferError::Messages { messages, most });
            assert_eq!(wallet.body_to_sign(&transfer(9, messages)), refused);
        }
    }
}

#[test]
fn a_v5_wallet_is_told_only_what_it_takes_from_outside() {
    let wallet = wallet(WalletVersion::V5R1, Network::Main);
    let Unsigned::Transfer(mut transfer) = transfer(1, 1);
    transfer.messages[0].mode = SendMode::CARRY_ALL_BALANCE;
    let read = SignedTransfer::read(WalletVersion::V5R1, &signed(&wallet, &Unsigned::Transfer(transfer))).unwrap();
    assert_eq!(read.transfer.messages[0].mode, SendMode::SEND_ALL);
}

#[test]
fn bodies_that_are_no_transfer_are_refused() {
    for version in WalletVersion::ALL {
        assert!(SignedTransfer::read(version, &Cell::empty()).is_err());
        let zeros = CellBuilder::new().bytes(&[0; 100]).build().unwrap();
        assert!(SignedTransfer::read(version, &zeros).is_err());
    }
    // An extension is added by such a body.
    let body = CellBuilder::new().uint(SIGNED_EXTERNAL, 32).uint(0, 96).uint(0b01, 2).bytes(&[0; 64]).build().unwrap();
    let refused = TransferError::Cell(CellError::Form { of: "list of actions" });
    assert_eq!(SignedTransfer::read(WalletVersion::V5R1, &body), Err(refused));
}

#[test]
fn what_a_wallet_remembers_is_read() {
    for version in WalletVersion::ALL {
        let wallet = wallet(version, Network::Test);
        let data = WalletData::read(version, &wallet.state_init().data).unwrap();
        assert_eq!((data.seqno, data.wallet_id, data.public_key), (0, wallet.wallet_id, wallet.public_key));
    }
    assert!(WalletData::read(WalletVersion::V4R2, &Cell::empty()).is_err());
}
