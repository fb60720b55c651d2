use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use chain::{ActionPhase, ComputePhase};
use ed25519_dalek::SigningKey;
use ton::cocoon::{ContractState, SignedPayload, WorkerPayout};
use ton::{Cell, CellBuilder, Params};

use super::*;

const FEE: u64 = 19;
const ROOT: Address = Address { workchain: 0, hash: [9; 32] };
const OWNER: Address = Address { workchain: 0, hash: [4; 32] };
const QUERY: u64 = 77;

fn code(number: u64) -> Cell {
    CellBuilder::new().uint(number, 32).build().unwrap()
}

fn terms() -> RootConfig {
    let text = r#"{"root_owner_address":"UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m","worker_fee_per_token":19,"params_version":3}"#;
    let mut terms = RootConfig::from_json(text).unwrap();
    terms.proxy_sc_code = ton::Code::new(code(1)).unwrap();
    terms.worker_sc_code = ton::Code::new(code(2)).unwrap();
    terms.client_sc_code = ton::Code::new(code(3)).unwrap();
    terms
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn account(address: Address, code: Cell, data: Cell) -> AccountState {
    AccountState {
        status: AccountStatus::Active,
        code: Some(code),
        data: Some(data),
        ..AccountState::absent(address, 1_000)
    }
}

fn payment(tokens: u64, worker: Address, key: &SigningKey) -> Vec<u8> {
    let unsigned = UnsignedPayment { kind: PaymentKind::Worker, query_id: QUERY, tokens, target: worker, excess: ROOT };
    unsigned.sign(key).to_boc()
}

fn signed(bytes: &[u8]) -> SignedBody {
    SignedBody::from_cell(&boc::decode(bytes).unwrap()).unwrap()
}

fn message(from: Address, to: Address, value: u64, body: Cell) -> Message {
    let kind = MessageKind::Internal {
        source: from,
        destination: to,
        value: Nanoton(value),
        forward_fee: Nanoton(1),
        bounce: false,
        bounced: false,
    };
    Message { hash: [1; 32], normalised_hash: [1; 32], kind, created_lt: 1, created_at: 1, brings_state: false, body }
}

fn transaction(account: Address, lt: u64, taken: Message, sent: Vec<Message>) -> Transaction {
    Transaction {
        account,
        id: TransactionId { lt, hash: [lt as u8; 32] },
        previous: None,
        now: 2_000,
        status_before: None,
        status_after: None,
        in_message: Some(taken),
        out_messages: sent,
        total_fees: Nanoton(10),
        storage_fees: Nanoton(0),
        storage_due: Nanoton(0),
        compute: Some(ComputePhase::Executed { success: true, exit_code: 0, gas_used: 1, gas_fees: Nanoton(1) }),
        action: Some(ActionPhase {
            success: true,
            result_code: 0,
            actions: 1,
            skipped: 0,
            messages: 1,
            forward_fees: Nanoton(0),
        }),
        aborted: false,
        bounced_back: false,
        destroyed: false,
    }
}

fn proxy_data() -> ProxyData {
    ProxyData::initial(OWNER, key().verifying_key().to_bytes(), ROOT, &terms().params())
}

fn addresses(data: &ProxyData) -> (Address, Address) {
    let proxy = data.state_init(code(1)).unwrap().address().unwrap();
    (proxy, worker_of(proxy, data, OWNER).unwrap())
}

fn worker_data(proxy: Address, tokens: u64) -> WorkerData {
    let key = key().verifying_key().to_bytes();
    WorkerData { tokens, ..WorkerData::initial(OWNER, proxy, key, &terms().params()) }
}

fn order_transaction(proxy: Address, worker: Address, to: u64, part: u64) -> Transaction {
    let body = Body::Signed(signed(&payment(to, worker, &key()))).to_cell().unwrap();
    let asked = Body::WorkerProxyRequest {
        query_id: QUERY,
        owner: OWNER,
        state: ContractState::Normal,
        tokens: to,
        payload: Some(WorkerPayout { worker_part: Nanoton(part), proxy_part: Nanoton(3), excess: OWNER }),
    };
    let sent = message(worker, proxy, 5, asked.to_cell().unwrap());
    transaction(worker, 40, message(OWNER, worker, 9, body), vec![sent])
}

/// Tokens 100 to 300 were cashed, and everything is as it should be.
fn truth() -> (Claimed, Facts) {
    let data = proxy_data();
    let (proxy, worker) = addresses(&data);
    let value = Nanoton(200 * FEE);
    let receipt = Receipt { from: proxy, to: OWNER, value, is_payout: true, lt: 50, hash: [50; 32], unix: 2_000 };
    let claimed = Claimed {
        receipt,
        root_contract: ROOT,
        cashed: Some(Cashed { worker_contract: worker, from_tokens: 100, to_tokens: 300 }),
        counted: Some(300),
        proxy_key: Some(key().verifying_key().to_bytes()),
        payment: Some(payment(300, worker, &key())),
    };
    let payout = Body::Payout { query_id: QUERY }.to_cell().unwrap();
    let facts = Facts {
        transaction: Ok(Some(transaction(OWNER, 50, message(proxy, OWNER, value.0, payout), Vec::new()))),
        // Both have changed since they were made, as contracts do.
        proxy: Ok(account(
            proxy,
            code(1),
            ProxyData { balance: Nanoton(8), stake: Nanoton(9), ..data }.to_cell().unwrap(),
        )),
        worker: Ok(account(worker, code(2), worker_data(proxy, 450).to_cell().unwrap())),
        order: Ok(Order::of(&order_transaction(proxy, worker, 300, value.0))),
    };
    (claimed, facts)
}

fn proofs(claimed: &Claimed, facts: &Facts) -> Vec<(Check, Proof)> {
    let verdict = verify(claimed, Some(&terms()), facts);
    assert_eq!(verdict.findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), Check::ALL);
    verdict
        .findings
        .iter()
        .map(|finding| (finding.check, finding.proof))
        .filter(|(_, proof)| *proof != Proof::Passed)
        .collect()
}

#[test]
fn a_payout_that_is_what_it_says_passes_every_check() {
    let (claimed, facts) = truth();
    let verdict = verify(&claimed, Some(&terms()), &facts);
    assert!(verdict.is_proved() && !verdict.is_refuted(), "{verdict:#?}");
    let amount = verdict.of(Check::Amount).unwrap();
    assert_eq!((amount.expected.as_deref(), amount.found.as_deref()), (Some("3800"), Some("3800")));
    assert_eq!(amount.why.as_deref(), Some("totals 100 to 300, 19 nanotons a token"));
    assert!(!verify(&claimed, None, &facts).is_proved(), "without the terms one thing can't be told");
}

#[test]
fn a_payout_of_a_ledger_that_was_lost_is_proved_by_the_chain_alone() {
    let (mut claimed, facts) = truth();
    claimed.cashed = None;
    claimed.payment = None;
    claimed.proxy_key = None;
    claimed.counted = None;
    assert_eq!(proofs(&claimed, &facts), [(Check::Counted, Proof::Unknown)]);
    assert!(verify(&claimed, Some(&terms()), &facts).is_proved_by_the_chain());
    assert!(!verify(&claimed, None, &facts).is_proved_by_the_chain());
}

/// Breaks one thing, and says which checks notice.
fn lie(change: impl FnOnce(&mut Claimed, &mut Facts), noticed: &[Check]) {
    let (mut claimed, mut facts) = truth();
    change(&mut claimed, &mut facts);
    let found = proofs(&claimed, &facts);
    let failed: Vec<Check> =
        found.iter().filter(|(_, proof)| *proof == Proof::Failed).map(|(check, _)| *check).collect();
    assert_eq!(failed, noticed, "{found:?}");
}

fn seen(facts: &mut Facts) -> &mut Transaction {
    facts.transaction.as_mut().unwrap().as_mut().unwrap()
}

fn altered(facts: &mut Facts, change: impl FnOnce(&mut MessageKind)) {
    change(&mut seen(facts).in_message.as_mut().unwrap().kind);
}

#[test]
fn a_lie_about_the_transaction_is_found() {
    lie(|claimed, _| claimed.receipt.hash = [1; 32], &[Check::Transaction]);
    lie(|claimed, _| claimed.receipt.lt += 1, &[Check::Transaction]);
    lie(|claimed, _| claimed.receipt.unix += 86_400, &[Check::Transaction]);
    lie(|_, facts| facts.transaction = Ok(None), &[Check::Transaction]);
    lie(|_, facts| seen(facts).account = ROOT, &[Check::Transaction]);
}

#[test]
fn a_lie_about_the_message_is_found() {
    let stranger = Address { workchain: 0, hash: [0x77; 32] };
    lie(
        |_, facts| {
            altered(facts, |kind| {
                if let MessageKind::Internal { source, .. } = kind {
                    *source = stranger;
                }
            });
        },
        &[Check::Message],
    );
    lie(
        |_, facts| {
            altered(facts, |kind| {
                if let MessageKind::Internal { destination, .. } = kind {
                    *destination = stranger;
                }
            });
        },
        &[Check::Message],
    );
    lie(
        |_, facts| {
            altered(facts, |kind| {
                if let MessageKind::Internal { bounced, .. } = kind {
                    *bounced = true;
                }
            });
        },
        &[Check::Message],
    );
    // The rest of a fee is no income.
    let rest = Body::Excesses { query_id: QUERY }.to_cell().unwrap();
    lie(|_, facts| seen(facts).in_message.as_mut().unwrap().body = rest, &[Check::Message]);
    lie(|_, facts| seen(facts).bounced_back = true, &[Check::Message]);
}

#[test]
fn a_lie_about_the_amount_is_found_to_the_nanoton() {
    lie(|claimed, _| claimed.receipt.value.0 += 1, &[Check::Amount]);
    lie(
        |claimed, facts| {
            claimed.receipt.value.0 -= 1;
            altered(facts, |kind| {
                if let MessageKind::Internal { value, .. } = kind {
                    value.0 -= 1;
                }
            });
        },
        &[Check::Amount],
    );
    let cashed = |from_tokens, to_tokens| {
        move |claimed: &mut Claimed, facts: &mut Facts| {
            let worker_contract = claimed.cashed.unwrap().worker_contract;
            claimed.cashed = Some(Cashed { worker_contract, from_tokens, to_tokens });
            facts.order = Ok(None);
        }
    };
    lie(cashed(101, 300), &[Check::Amount]);
    lie(cashed(300, 100), &[Check::Amount, Check::Signature]);
    // The same difference at other totals: not what was signed, nor what the contract was presented.
    lie(cashed(99, 299), &[Check::Signature]);
    lie(
        |claimed, _| {
            let worker_contract = claimed.cashed.unwrap().worker_contract;
            claimed.cashed = Some(Cashed { worker_contract, from_tokens: 99, to_tokens: 299 });
        },
        &[Check::Amount, Check::Signature],
    );
    lie(|_, facts| facts.order.as_mut().unwrap().as_mut().unwrap().query_id += 1, &[Check::Amount]);
}

#[test]
fn a_lie_about_the_proxy_or_its_terms_is_found() {
    // Another key, owner or fee makes another address.
    let put = |change: fn(&mut ProxyData)| {
        move |_: &mut Claimed, facts: &mut Facts| {
            let shown = facts.proxy.as_mut().unwrap();
            let mut data = ProxyData::from_cell(shown.data.as_ref().unwrap()).unwrap();
            change(&mut data);
            shown.data = Some(data.to_cell().unwrap());
        }
    };
    lie(put(|data| data.proxy_key = [1; 32]), &[Check::Proxy]);
    lie(put(|data| data.owner = ROOT), &[Check::Proxy]);
    lie(put(|data| data.root = OWNER), &[Check::Proxy]);
    lie(put(|data| data.params.worker_fee_per_token = Nanoton(20)), &[Check::Proxy]);
    lie(|_, facts| facts.proxy.as_mut().unwrap().code = Some(code(8)), &[Check::Proxy]);
    lie(|_, facts| facts.proxy.as_mut().unwrap().address = ROOT, &[Check::Proxy]);
    lie(|_, facts| facts.proxy.as_mut().unwrap().status = AccountStatus::Frozen, &[Check::Proxy]);
    lie(|claimed, _| claimed.proxy_key = Some([1; 32]), &[Check::Proxy]);
    lie(|claimed, _| claimed.root_contract = OWNER, &[Check::Proxy]);
    // A proxy of somebody's own making, whole in itself.
    let (claimed, facts) = truth();
    let own = RootConfig { worker_fee_per_token: Nanoton(20), ..terms() };
    let of = |verdict: Verdict, check| verdict.of(check).unwrap().proof;
    assert_eq!(of(verify(&claimed, Some(&own), &facts), Check::Terms), Proof::Failed);
    let newer = RootConfig { params_version: 4, ..terms() };
    assert_eq!(of(verify(&claimed, Some(&newer), &facts), Check::Terms), Proof::Unknown);
}

#[test]
fn a_lie_about_the_worker_contract_is_found() {
    lie(|claimed, _| claimed.cashed.as_mut().unwrap().worker_contract = ROOT, &[Check::Worker]);
    lie(|_, facts| facts.worker.as_mut().unwrap().status = AccountStatus::Uninitialised, &[Check::Worker]);
    lie(|_, facts| facts.worker.as_mut().unwrap().address = ROOT, &[Check::Worker]);
    lie(
        |claimed, facts| {
            let proxy = claimed.receipt.from;
            facts.worker.as_mut().unwrap().data = Some(worker_data(proxy, 299).to_cell().unwrap());
        },
        &[Check::Total],
    );
    lie(
        |claimed, facts| {
            let other = WorkerData { owner: ROOT, ..worker_data(claimed.receipt.from, 450) };
            facts.worker.as_mut().unwrap().data = Some(other.to_cell().unwrap());
        },
        &[Check::Total],
    );
}

#[test]
fn a_lie_about_the_signature_is_found() {
    let forger = SigningKey::from_bytes(&[6; 32]);
    let worker = addresses(&proxy_data()).1;
    let put = |bytes: Vec<u8>| move |claimed: &mut Claimed, _: &mut Facts| claimed.payment = Some(bytes);
    lie(put(payment(300, worker, &forger)), &[Check::Signature]);
    lie(put(payment(299, worker, &key())), &[Check::Signature]);
    lie(put(payment(300, ROOT, &key())), &[Check::Signature]);
    lie(put(vec![1, 2, 3]), &[Check::Signature]);
    let mut cut = payment(300, worker, &key());
    cut.truncate(100);
    lie(put(cut), &[Check::Signature]);
    // What the contract was presented is checked no less where the ledger has nothing.
    lie(
        |claimed, facts| {
            claimed.payment = None;
            facts.order.as_mut().unwrap().as_mut().unwrap().signed.signature[0] ^= 1;
        },
        &[Check::Signature],
    );
    lie(
        |claimed, facts| {
            claimed.payment = None;
            let signed = &mut facts.order.as_mut().unwrap().as_mut().unwrap().signed;
            signed.payload = SignedPayload { operation: SignedOperation::ClientCharge(300), ..signed.payload };
        },
        &[Check::Signature],
    );
}

#[test]
fn what_could_not_be_asked_is_unknown_and_refutes_nothing() {
    let away = || "no endpoint answers".to_owned();
    let (claimed, truth) = truth();
    let nothing = Facts { transaction: Err(away()), proxy: Err(away()), worker: Err(away()), order: Err(away()) };
    let verdict = verify(&claimed, Some(&terms()), &nothing);
    assert!(!verdict.is_refuted() && !verdict.is_proved());
    let one = |facts: Facts| verify(&claimed, Some(&terms()), &facts);
    for facts in [
        Facts { transaction: Err(away()), ..truth.clone() },
        Facts { proxy: Err(away()), ..truth.clone() },
        Facts { worker: Err(away()), ..truth.clone() },
    ] {
        let verdict = one(facts);
        assert!(!verdict.is_refuted() && !verdict.is_proved(), "{verdict:#?}");
    }
    assert!(one(Facts { order: Err(away()), ..truth.clone() }).is_proved(), "the ledger has the signature");
    let few = Claimed { counted: Some(299), ..claimed.clone() };
    assert_eq!(verify(&few, Some(&terms()), &truth).of(Check::Counted).unwrap().proof, Proof::Unknown);
}

#[test]
fn an_order_is_only_what_succeeded_and_asked_for_what_was_signed() {
    let (proxy, worker) = addresses(&proxy_data());
    let good = order_transaction(proxy, worker, 300, 3_800);
    assert_eq!(Order::of(&good).map(|order| (order.to_tokens, order.worker_part.0, order.lt)), Some((300, 3_800, 40)));
    assert_eq!(Order::of(&Transaction { aborted: true, ..good.clone() }), None);
    assert_eq!(Order::of(&Transaction { out_messages: Vec::new(), ..good.clone() }), None);
    let mut other = good;
    other.out_messages[0].body = Body::Excesses { query_id: QUERY }.to_cell().unwrap();
    assert_eq!(Order::of(&other), None);
    let params: Params = proxy_data().params;
    assert!(worker_of(proxy, &ProxyData { params: params.without_codes(), ..proxy_data() }, OWNER).is_err());
}
