//! The app's ledger, looked into beside the app: jobs, and what was signed for them.

use crate::{OWNER, Stage};
use accounting::JobRecord;
use accounting::signed_payment::SignedPayment;
use ledger::Ledger;
use std::collections::BTreeMap;
use ton::{Address, AddressText, RootConfig};

/// What a ledger holds at one moment.
#[derive(Default)]
pub struct Books {
    /// By the proxy's id of them.
    pub jobs: BTreeMap<[u8; 32], JobRecord>,
    /// The highest total that was signed for each worker contract.
    pub signed: BTreeMap<Address, u64>,
}

impl Books {
    pub fn read(ledger: &Ledger) -> Self {
        let mut jobs = BTreeMap::new();
        let mut before = None;
        loop {
            let page = ledger.jobs(before, 1_000).expect("a page of jobs");
            jobs.extend(page.jobs.into_iter().map(|entry| (entry.job.id.0, entry.job)));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let signed = ledger.signed_by_contract(None).expect("payments");
        let signed = signed.into_iter().map(|total| (total.worker_contract, total.tokens)).collect();
        Self { jobs, signed }
    }

    /// Nothing that stood here earlier is gone or has changed, and no signed total has fallen.
    pub fn assert_keeps(&self, earlier: &Self, when: &str) {
        assert!(self.jobs.len() >= earlier.jobs.len(), "{when}: {} jobs of {}", self.jobs.len(), earlier.jobs.len());
        for (id, job) in &earlier.jobs {
            assert_eq!(self.jobs.get(id), Some(job), "{when}: a job is lost or changed");
        }
        for (contract, tokens) in &earlier.signed {
            let now = self.signed.get(contract).copied();
            assert!(now >= Some(*tokens), "{when}: {tokens} tokens were signed, now {now:?}");
        }
    }

    /// Over all contracts.
    pub fn signed_tokens(&self) -> u64 {
        self.signed.values().sum()
    }

    /// Charged for all jobs.
    pub fn adjusted_tokens(&self) -> i64 {
        self.jobs.values().map(|job| job.adjusted.total).sum()
    }
}

/// The proxy of a practice network as others see it.
pub struct Payer {
    /// The key that it announces.
    pub key: [u8; 32],
    /// The app owner's contract there, computed here from key, owner and parameters.
    pub worker_contract: Address,
    /// Adjusted tokens that it has charged its one client for.
    pub charged: i64,
}

impl Payer {
    pub fn of(stage: &Stage) -> Self {
        let page = stage.gateway_stats();
        let proxy = &page["proxies"][0];
        let mut key = [0; 32];
        hex::decode_to_slice(proxy["proxy_public_key"].as_str().expect("the proxy's key"), &mut key).unwrap();
        let root = RootConfig::from_json(&std::fs::read_to_string(&stage.network_file).unwrap()).unwrap();
        let root_contract = root.root_contract.expect("a root contract");
        let address = |text: &str| AddressText::parse(text).unwrap().address;
        let contract = root.proxy_contract(&root.root_owner_address, &key, &root_contract);
        assert_eq!(address(proxy["proxy_sc_address"].as_str().unwrap()), contract, "the proxy's own contract");
        let worker_contract = root.worker_contract(&address(OWNER), &contract, &key);
        let charged = proxy["tokens_used_proxy_max"].as_i64().expect("tokens that the proxy knows of");
        Self { key, worker_contract, charged }
    }

    /// Every payment in the ledger is for the owner's contract at this proxy and signed by this proxy's key, for the tokens that
    /// the ledger says. Gives how many there are.
    pub fn assert_signed_all(&self, ledger: &Ledger, whose: &str) -> usize {
        let mut seen = 0;
        for total in ledger.signed_by_contract(None).expect("payments") {
            assert_eq!(total.worker_contract, self.worker_contract, "{whose}: a payment for another contract");
            for entry in ledger.payments(&total.worker_contract, 1_000).expect("payments") {
                let payment = SignedPayment::from_boc(&entry.payment.boc).expect("a payment");
                assert_eq!(entry.payment.proxy_key, self.key, "{whose}: a payment of another key");
                let signed = payment.verify(&self.key, &self.worker_contract);
                assert_eq!(signed, Ok(entry.payment.tokens), "{whose}: a payment that was not signed so");
                seen += 1;
            }
        }
        seen
    }
}
