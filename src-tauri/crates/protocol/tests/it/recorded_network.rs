//! The network that the recordings come from: fake TON, one machine, fixed keys.

use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};
use tl::proxy::SignedPayment;
use ton::{Address, AddressText, RootConfig};

pub(crate) const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
pub(crate) const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";
pub(crate) const PROXY_WALLET: &str = "UQAXGlaBPBoSyvlI0cEGKvS8Ak5e9JFcmKmcBmYsKhNTIdbG";
pub(crate) const CLIENT_WALLET: &str = "UQCdj43bBDyeJlfe6FVSpWLfsDMp4YHbmz5lca5-tNz-fx20";
pub(crate) const PROXY_CONTRACT: &str = "UQBPkxYfPKgOBMbbi9VQVO2DQz7Wg3w9K5YTsl8x1_KaeZcZ";
pub(crate) const WORKER_CONTRACT: &str = "UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO";
pub(crate) const CLIENT_CONTRACT: &str = "UQCACjNFLY4ArI-ZdQsAazEAW41KvHyVIAWsFh9pbqcA1f12";
pub(crate) const MODEL: &str =
    "Qwen/Qwen3-8B@abc123def456:0000000000000000000000000000000000000000000000000000000000000000";
pub(crate) const MODEL_BASE: &str = "Qwen/Qwen3-8B";
/// Seed of the proxy's key, published in the reference implementation's test configuration.
const SEED: &str = "9a5fbbc442ee390b5fa7dabd9925ad1e2496c79692055ea9df109fc0f9873b06";

pub(crate) fn key() -> SigningKey {
    let seed: Vec<u8> = hex::decode(SEED).unwrap();
    SigningKey::from_bytes(&seed[..32].try_into().unwrap())
}

pub(crate) fn public_key() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

pub(crate) fn address(text: &str) -> Address {
    AddressText::parse(text).unwrap().address
}

pub(crate) fn empty_hash() -> [u8; 32] {
    Sha256::digest(b"").into()
}

/// A payment of this network's proxy to its recorded worker or client.
pub(crate) fn payment(kind: PaymentKind, tokens: u64, query_id: u64) -> SignedPayment {
    let target = match kind {
        PaymentKind::Worker => WORKER_CONTRACT,
        PaymentKind::Client => CLIENT_CONTRACT,
    };
    payment_to(kind, tokens, query_id, address(target), &key())
}

pub(crate) fn payment_to(
    kind: PaymentKind,
    tokens: u64,
    query_id: u64,
    target: Address,
    key: &SigningKey,
) -> SignedPayment {
    let unsigned = UnsignedPayment { kind, query_id, tokens, target, excess: address(PROXY_WALLET) };
    SignedPayment::Payment { data: unsigned.sign(key).to_boc() }
}

pub(crate) fn proxy_params() -> tl::proxy::Params {
    tl::proxy::Params {
        flags: 3,
        proxy_public_key: public_key(),
        proxy_owner_address: OWNER.to_owned(),
        proxy_sc_address: PROXY_CONTRACT.to_owned(),
        is_test: Some(true),
        proto_version: Some(2),
    }
}

pub(crate) fn worker_params(coefficient: i32, limit: i32) -> tl::worker::Params {
    tl::worker::Params {
        flags: 3,
        worker_owner_address: OWNER.to_owned(),
        model: MODEL.to_owned(),
        coefficient,
        is_test: Some(true),
        proxy_cnt: Some(1),
        max_active_requests: Some(limit),
        min_proto_version: Some(1),
        max_proto_version: Some(2),
    }
}

/// A worker that remembers nothing.
pub(crate) fn no_claims() -> tl::worker::CompareBalanceWithProxy {
    tl::worker::CompareBalanceWithProxy { tokens_committed_to_blockchain: 0, tokens_committed_to_db: 0, max_tokens: 0 }
}

pub(crate) fn client_connects() -> tl::client::ConnectToProxy {
    tl::client::ConnectToProxy {
        params: tl::client::Params {
            flags: 3,
            client_owner_address: CLIENT_WALLET.to_owned(),
            is_test: Some(true),
            min_proto_version: Some(1),
            max_proto_version: Some(2),
        },
        min_config_version: 3,
    }
}

/// A small query of a client.
pub(crate) fn query(id: [u8; 32]) -> tl::client::RunQueryEx {
    let request = protocol::http::Request {
        method: "POST".to_owned(),
        url: "/v1/chat/completions".to_owned(),
        version: "HTTP/1.1".to_owned(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
    };
    tl::client::RunQueryEx {
        model_name: MODEL_BASE.to_owned(),
        query: request.encode(),
        max_coefficient: 4000,
        max_tokens: 1000,
        timeout: 100.0,
        request_id: id,
        min_config_version: 3,
        flags: 1,
        enable_debug: Some(false),
    }
}

/// The recorded root configuration. Of the contracts' codes only hash and depth are known, which is all that addresses need.
pub(crate) fn root() -> RootConfig {
    let text = serde_json::json!({
        "proxy_hashes": [],
        "worker_hashes": [],
        "registered_proxies": [{ "seqno": 1, "address": "127.0.0.1:11001 127.0.0.1:11002" }],
        "price_per_token": 2,
        "worker_fee_per_token": 1,
        "last_proxy_seqno": 1,
        "version": 3,
        "params_version": 1,
        "proxy_sc_code": "532e707649e4161be4d816e2b6f97f82e602855a4cd3475883028d054c6e72ef:4",
        "worker_sc_code": "657cb7ca586d77e88066effadf10f3eddea7d3487e809220e770d9dc4e596023:2",
        "client_sc_code": "5d8a54e4462dd52f747bae8c1edca819fd2f462be05c1fc595cc2a34e6b18c44:5",
        "root_owner_address": "0QBgPMq7ye2WRcudRHK_-yjHwMXjeN-UCzAuoo06TR6hmgHV",
    });
    RootConfig::from_json(&text.to_string()).unwrap()
}
