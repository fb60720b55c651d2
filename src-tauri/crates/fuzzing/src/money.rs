//! What arrives in TON's forms: cells, addresses, a network's parameters, signed payments.

use accounting::signed_payment::SignedPayment;
use accounting::statement::{Date, Energy, EnergyDay, Entry, EntryKind, Form, Prices, Rates, write, write_electricity};
use ton::{Address, AddressText, Nanoton, RootConfig, boc};

/// The bytes as a bag of cells.
pub fn ton_boc(data: &[u8]) {
    if let Ok(cell) = boc::decode(data) {
        let Ok(written) = boc::encode(&cell) else { panic!("a bag of cells cannot be written") };
        let Ok(again) = boc::decode(&written) else { panic!("a bag of cells is not read as it was written") };
        assert!(again.hash() == cell.hash(), "a cell changed in its bag");
        assert!(again.depth() == cell.depth(), "a cell has another depth out of its bag");
    }
}

/// The bytes as the text of an address.
pub fn ton_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = AddressText::parse(text) {
        let again = AddressText::parse(&address.to_text());
        assert!(again.is_ok_and(|again| again.address == address.address), "an address is not read as it was written");
    }
}

/// The bytes as the file of a network's parameters.
pub fn root_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = RootConfig::from_json(text) {
        let again = RootConfig::from_json(&config.to_json());
        assert!(again.is_ok_and(|again| again == config), "a network's parameters are not read as they were written");
        let owner = config.root_owner_address;
        let proxy = config.proxy_contract(&owner, &[1; 32], &owner);
        let worker = config.worker_contract(&owner, &proxy, &[1; 32]);
        let client = config.client_contract(&owner, &proxy, &[1; 32]);
        assert!(worker != client || config.worker_sc_code == config.client_sc_code, "two contracts at one address");
    }
}

/// The bytes as a payment. Nobody here has signed one.
pub fn signed_payment(data: &[u8]) {
    let Ok(payment) = SignedPayment::from_boc(data) else { return };
    let written = payment.to_boc();
    assert!(
        SignedPayment::from_boc(&written).is_ok_and(|again| again.to_boc() == written),
        "a payment is not read as it was written"
    );
    assert!(payment.verify(&[1; 32], &payment.target).is_err(), "a payment that nobody signed is good");
}

/// The bytes as the owner's file of rates, of which a table is made, and as that of prices of electricity.
pub fn owner_rates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(prices) = Prices::from_csv(text) {
        assert_eq!(Prices::from_csv(&prices.to_csv()).as_ref(), Ok(&prices));
        let energy = Energy { millijoules: u64::MAX, measured_ms: u64::MAX };
        let day = EnergyDay { date: Date::of_unix(1_795_773_600), energy, pays_nothing: false };
        assert!(!write_electricity(&[day], &prices).is_empty());
    }
    let Ok(rates) = Rates::from_csv(text) else { return };
    let entry = Entry {
        unix: 1_795_773_600,
        kind: EntryKind::Payout,
        amount: Some(Nanoton(u64::MAX)),
        hash: None,
        lt: None,
        from: None,
        to: None,
        network: Address { workchain: 0, hash: [1; 32] },
        pays_nothing: false,
    };
    let rate = rates.on(Date::of_unix(entry.unix));
    let table = write(&[entry], &rates, Form::Lines);
    assert!(table.lines().count() == 2, "a rate's words break a line");
    assert!(rate.is_none_or(|rate| table.contains(&rate.currency)), "a rate is lost");
}
