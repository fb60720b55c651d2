use serde_json::Value;
use ton::{Address, AddressText, Cell, Code, RootConfig};

const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../../tests/fixtures/cocoon/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> [u8; 32] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn address(value: &Value) -> Address {
    AddressText::parse(value.as_str().unwrap()).unwrap().address
}

/// The recorded network's parameters; of the codes only hash and depth were recorded.
fn network() -> RootConfig {
    let codes = fixture("contract-codes.json");
    let code = |of: &str| {
        let code = &codes["contracts"][of];
        let depth = u16::try_from(code["depth"].as_u64().unwrap()).unwrap();
        Code::new(Cell::opaque(bytes(&code["code_hash"]), depth)).unwrap()
    };
    let text = r#"{"price_per_token": 2, "worker_fee_per_token": 1, "last_proxy_seqno": 1, "version": 3,
        "params_version": 1, "root_owner_address": "0QBgPMq7ye2WRcudRHK_-yjHwMXjeN-UCzAuoo06TR6hmgHV"}"#;
    RootConfig {
        proxy_sc_code: code("proxy"),
        worker_sc_code: code("worker"),
        client_sc_code: code("client"),
        ..RootConfig::from_json(text).unwrap()
    }
}

#[test]
fn every_recorded_contract_address_is_derived() {
    let recorded = fixture("73_addresses.json");
    let (network, key) = (network(), bytes(&recorded["proxy_public_key"]));
    let root = AddressText::parse(ROOT).unwrap().address;
    let proxy = network.proxy_contract(&address(&recorded["proxy_owner_address"]), &key, &root);
    assert_eq!(proxy, address(&recorded["proxy_sc_address"]));
    let cases = recorded["cases"].as_array().unwrap();
    for case in cases {
        let owner = address(&case["owner_given"]);
        assert_eq!(owner.hash, bytes(&case["owner_hash"]));
        let (derived, stated) = match case["kind"].as_str().unwrap() {
            "worker" => (network.worker_contract(&owner, &proxy, &key), &case["worker_sc_address"]),
            "client" => (network.client_contract(&owner, &proxy, &key), &case["client_sc_address"]),
            other => panic!("{other}"),
        };
        // As text too: the genuine proxy writes the non-bounceable form.
        let text = AddressText { address: derived, bounceable: false, testnet: false }.to_text();
        assert_eq!(text, stated.as_str().unwrap());
    }
    assert!(cases.len() >= 30, "{} cases", cases.len());
}

#[test]
fn every_recorded_address_text_is_written_as_it_was_read() {
    let recorded = fixture("73_addresses.json").to_string();
    let mut seen = 0;
    for text in recorded.split('"').filter(|text| text.len() == 48 && !text.contains(' ')) {
        assert_eq!(AddressText::parse(text).unwrap().to_text(), text);
        seen += 1;
    }
    assert!(seen > 60, "{seen} texts");
}

#[test]
fn parameters_pass_through_the_pipe_unchanged() {
    let network = network();
    let bytes = postcard::to_allocvec(&network).unwrap();
    let read: RootConfig = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, network);
    for length in 0..bytes.len() {
        assert!(postcard::from_bytes::<RootConfig>(&bytes[..length]).is_err());
    }
}
