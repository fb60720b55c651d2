use accounting::signed_payment::{PaymentKind, SignedPayment};
use serde_json::Value;
use ton::{Address, AddressText};

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../../tests/fixtures/cocoon/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn address(text: &Value) -> Address {
    AddressText::parse(text.as_str().unwrap()).unwrap().address
}

#[test]
fn every_recorded_payment_is_good_for_its_contract_and_for_no_other() {
    let addresses = fixture("73_addresses.json");
    let key: [u8; 32] = hex::decode(addresses["proxy_public_key"].as_str().unwrap()).unwrap().try_into().unwrap();
    let proxy_wallet = address(&addresses["wallets"]["proxy_node_key_wallet"]);
    // Contracts of the recorded worker and client, as the document derives them.
    let worker = AddressText::parse("UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO").unwrap().address;
    let client = AddressText::parse("UQCACjNFLY4ArI-ZdQsAazEAW41KvHyVIAWsFh9pbqcA1f12").unwrap().address;
    let payments = fixture("74_signed_payments.json");
    let (mut of_workers, mut of_clients) = (0, 0);
    for entry in payments.as_array().unwrap() {
        let bytes = hex::decode(entry["boc_hex"].as_str().unwrap()).unwrap();
        let payment = SignedPayment::from_boc(&bytes).unwrap();
        assert_eq!(payment.to_boc(), bytes, "written byte for byte");
        assert_eq!(payment.excess, proxy_wallet);
        let (own, other) = match payment.kind {
            PaymentKind::Worker => (worker, client),
            PaymentKind::Client => (client, worker),
        };
        assert_eq!(payment.kind == PaymentKind::Worker, entry["link"] == "proxy>worker");
        assert_eq!(payment.verify(&key, &own), Ok(payment.tokens));
        assert!(payment.verify(&key, &other).is_err());
        // Not every message that carries a payment says what is committed.
        if let Some(committed) = entry["tokens_committed_to_db"].as_u64() {
            assert!(payment.tokens <= committed, "{} signed, {committed} committed", payment.tokens);
        }
        match payment.kind {
            PaymentKind::Worker => of_workers += 1,
            PaymentKind::Client => of_clients += 1,
        }
    }
    assert!(of_workers > 0 && of_clients > 0, "{of_workers} and {of_clients}");
}
