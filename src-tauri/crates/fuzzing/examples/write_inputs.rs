//! Writes those inputs of the fuzzers that are made rather than recorded, over those in `tests/fixtures/fuzz`.

use std::path::Path;

use accounting::signed_payment::{PaymentKind, UnsignedPayment};
use accounting::{Endpoint, JobId};
use ed25519_dalek::{Signer as _, SigningKey};
use fuzzing::tiny::{Kind, Tiny, byte_tokens, sentence_piece_tokens};
use link::frame::{encode_control, encode_credit, encode_data};
use link::message::StartedJob;
use link::proof::{Enrolment, Standing};
use link::{FromWorker, LaneId, ToWorker};
use tl::Boxed as _;
use tl::chrysalis::{Activate, Challenge, Enrol, Introduce, Introduction, Statement};
use tl::tcp::Packet;
use ton::cocoon::{
    Body, ClientData, ClientPayload, ClientSummary, ContractState, Note, ProxyData, RootOperation, SignedBody,
    SignedOperation, SignedPayload, WorkerData, WorkerPayout,
};
use ton::{
    Address, Cell, CellBuilder, InternalMessage, Nanoton, Network, Outgoing, Params, RootConfig, SendMode, Transfer,
    Unsigned, WalletContract, WalletVersion,
};

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
    '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn main() -> std::io::Result<()> {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/fuzz");
    for (name, file) in models() {
        std::fs::write(inputs.join("gguf").join(name), file)?;
    }
    for (name, pieces, bytes) in pipes() {
        // The first byte is the length of the pieces in which the rest arrives.
        std::fs::write(inputs.join("link_frames").join(name), [&[pieces], &bytes[..]].concat())?;
    }
    for (target, scripts) in [("protocol_applicant", applicants()), ("protocol_desk", desks())] {
        for (name, script) in scripts {
            std::fs::create_dir_all(inputs.join(target))?;
            std::fs::write(inputs.join(target).join(name), script)?;
        }
    }
    for (target, cells) in [("contract_data", data()), ("contract_body", bodies()), ("wallet_contract", wallets())] {
        for (name, cell) in cells {
            // Cells of this program's own making: all of them can be written.
            let bytes = cell.and_then(|cell| ton::boc::encode(&cell).map_err(std::io::Error::other))?;
            std::fs::write(inputs.join(target).join(name), bytes)?;
        }
    }
    Ok(())
}

/// Models of few tokens, and the container alone.
fn models() -> Vec<(&'static str, Vec<u8>)> {
    let all = byte_tokens();
    // What the fuzzer's prompt is made of, a merge, and two control tokens.
    let few: Vec<String> = all
        .iter()
        .filter(|token| "\u{120}Saythewordhe<|im_start|>42.<|im_end|>".contains(token.as_str()))
        .cloned()
        .collect();
    let bpe = |pre| Kind::Bpe { pre, merges: &["h e"] };
    let plain = Tiny { tokens: &few, controls: 2, kind: bpe("smollm"), template: TEMPLATE };
    let odd = Tiny { tokens: &few[..3], controls: 1, kind: Kind::PLAIN, template: "{{ raise_exception('no') }}" };
    let empty = Tiny { tokens: &[], controls: 0, kind: Kind::PLAIN, template: "" };
    let llama3 = Tiny { kind: bpe("llama-bpe"), template: "", ..plain };
    // Few bytes, and all that is longer.
    let pieces: Vec<String> = sentence_piece_tokens()
        .into_iter()
        .filter(|token| !token.starts_with("<0x") || token.ends_with("0>"))
        .collect();
    let kind = Kind::SentencePiece { space_before: true };
    let pieces = Tiny { tokens: &pieces, controls: 2, kind, template: "" };
    vec![
        ("model", plain.bytes()),
        ("model_of_three_tokens", odd.bytes()),
        ("model_without_tokens", empty.bytes()),
        ("model_with_words_of_llama_3", llama3.bytes()),
        ("model_with_sentence_piece", pieces.bytes()),
    ]
}

/// Both directions of the pipe.
fn pipes() -> Vec<(&'static str, u8, Vec<u8>)> {
    let lane = LaneId(3);
    let to = [
        ToWorker::Hello { build: link::BUILD.to_owned() },
        ToWorker::OpenLane { lane, known_key: Some([7; 32]), unix_ms: 1_795_000_000_000 },
        ToWorker::OpenLane { lane: LaneId(u32::MAX), known_key: None, unix_ms: i64::MIN },
        ToWorker::SetEnabled(true),
        ToWorker::SetCoefficient(-1),
        ToWorker::LaneClosed { lane },
        ToWorker::Yield,
        ToWorker::Evidence { lane, ask: 1, bytes: Some(vec![5; 90]) },
        ToWorker::Enrol(Box::new(Enrolment {
            ek_certificates: vec![vec![1; 20]],
            ek_public: vec![2; 20],
            ak_public: vec![3; 20],
            audience: [4; 32],
            registrar: [5; 32],
            max_pow_difficulty: 28,
            unix_ms: 1_795_000_000_000,
        })),
        ToWorker::Activated { secret: vec![6; 32] },
    ];
    let started = StartedJob {
        id: JobId([2; 32]),
        endpoint: Endpoint::Chat,
        streamed: true,
        coefficient: 1_000,
        started_unix_ms: 1_795_000_000_000,
    };
    let from = [
        FromWorker::Hello { build: link::BUILD.to_owned() },
        FromWorker::Enabled(false),
        FromWorker::JobStarted { lane, job: started, active: 1 },
        FromWorker::Payment { lane, boc: vec![1; 180], db_tokens: -5, max_tokens: 9, request: Some(([2; 32], 134)) },
        FromWorker::Yielded,
        FromWorker::WantEvidence { lane, ask: 1, tls_key: [1; 32], nonce: [2; 32] },
        FromWorker::Standing {
            lane,
            standing: Box::new(Standing {
                accepted: false,
                grade: 0,
                reason: "no".to_owned(),
                grades: vec![2],
                secure_boot: true,
                registrars: vec![("registrar.example:4420".to_owned(), [3; 32])],
            }),
        },
        FromWorker::Challenge { credential: vec![1; 60], secret: vec![2; 60] },
        FromWorker::Enrolled { statement: vec![3; 60] },
    ];
    let control = |frames: Vec<Result<Vec<u8>, _>>| frames.into_iter().flatten().flatten().collect::<Vec<u8>>();
    let mut lanes = encode_data(lane, b"ciphertext").unwrap_or_default();
    lanes.extend(encode_credit(lane, 65_536));
    lanes.extend(encode_data(lane, &[0x17; 700]).unwrap_or_default());
    let mut mixed = control(to.iter().map(encode_control).collect());
    mixed.extend(&lanes);
    vec![
        ("to_worker", 64, control(to.iter().map(encode_control).collect())),
        ("from_worker", 7, control(from.iter().map(encode_control).collect())),
        ("lanes", 255, lanes),
        ("mixed_byte_by_byte", 1, mixed),
        ("too_long", 255, vec![0xff, 0xff, 0xff, 0xff, 0]),
        ("empty_frame", 255, vec![0, 0, 0, 0, 0]),
        ("no_credit", 255, vec![9, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

/// One step of a script of conversations.
fn step(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes()[..], data].concat()
}

/// What registrars say to a machine.
fn applicants() -> Vec<(&'static str, Vec<u8>)> {
    const ANSWER: u8 = 4;
    let key = SigningKey::from_bytes(&fuzzing::REGISTRAR_SEED);
    // The first number that the machine draws.
    let text = protocol::enrolment::introduction(&[1; 32], &fuzzing::REGISTRAR_TLS);
    let shown = |signature: Vec<u8>| Introduction { key: key.verifying_key().to_bytes(), signature }.to_bytes();
    let open = step(1, &Packet::Connected { id: 1 }.to_bytes());
    let introduced = step(ANSWER, &shown(key.sign(&text).to_bytes().to_vec()));
    let challenge = Challenge { id: [6; 32], credential: vec![8; 68], secret: vec![9; 256] };
    let challenged = step(ANSWER, &challenge.to_bytes());
    let certified = step(ANSWER, &Statement { data: vec![7; 240] }.to_bytes());
    vec![
        ("whole", [open.clone(), introduced.clone(), challenged, certified].concat()),
        ("wrong_signature", [open.clone(), step(ANSWER, &shown(vec![1; 64]))].concat()),
        ("refused", [open.clone(), introduced, step(1, &refusal(3))].concat()),
        ("silent", [open, step(5, &600_u16.to_le_bytes())].concat()),
    ]
}

fn refusal(id: i64) -> Vec<u8> {
    Packet::QueryError { id, code: 621, message: "this maker is not known here".to_owned() }.to_bytes()
}

/// What machines say to a registrar.
fn desks() -> Vec<(&'static str, Vec<u8>)> {
    const QUERY: u8 = 3;
    let open = step(1, &Packet::Connect { id: 1 }.to_bytes());
    let introduce = step(QUERY, &Introduce { nonce: [3; 32] }.to_bytes());
    let keys = |ak: u8| Enrol {
        ek_certificates: vec![vec![1; 40], vec![2; 30]],
        ek_public: vec![3; 70],
        ak_public: vec![ak; 60],
        audience: [5; 32],
    };
    let enrol = step(QUERY, &keys(4).to_bytes());
    // The first number that the registrar draws.
    let activate = |secret: &[u8]| step(QUERY, &Activate { id: [1; 32], secret: secret.to_vec() }.to_bytes());
    let right = activate(b"what only this TPM can read");
    vec![
        ("whole", [open.clone(), introduce, enrol.clone(), right.clone()].concat()),
        ("wrong_answer", [open.clone(), enrol.clone(), activate(b"no"), right.clone()].concat()),
        ("refused", [open.clone(), step(QUERY, &keys(0).to_bytes()), right.clone()].concat()),
        ("swapped", [open.clone(), enrol.clone(), step(QUERY, &keys(9).to_bytes()), right].concat()),
        ("too_often", [open, enrol.repeat(6)].concat()),
    ]
}

type Written = Vec<(&'static str, std::io::Result<Cell>)>;

const fn address(byte: u8) -> Address {
    Address { workchain: 0, hash: [byte; 32] }
}

fn small(byte: u64) -> std::io::Result<Cell> {
    CellBuilder::new().uint(byte, 8).build().map_err(std::io::Error::other)
}

/// Parameters in the newest layout.
fn params() -> Params {
    let code = |byte| small(byte).ok();
    Params {
        struct_version: ton::NEWEST_STRUCT,
        params_version: 2,
        unique_id: 13,
        is_test: true,
        price_per_token: Nanoton(20),
        worker_fee_per_token: Nanoton(19),
        prompt_tokens_price_multiplier: 10_000,
        cached_tokens_price_multiplier: 1_000,
        completion_tokens_price_multiplier: 80_000,
        reasoning_tokens_price_multiplier: 80_000,
        proxy_delay_before_close: 86_400,
        client_delay_before_close: 3_600,
        min_proxy_stake: Nanoton(1_000_000_000),
        min_client_stake: Nanoton(1_000_000_000),
        proxy_code: code(1),
        worker_code: code(2),
        client_code: code(3),
    }
}

/// Data of every contract, at its beginning and later.
fn data() -> Written {
    let written = |cell: Result<Cell, ton::CellError>| cell.map_err(std::io::Error::other);
    let (owner, proxy, key, params) = (address(1), address(2), [3; 32], params());
    let oldest = Params { struct_version: 0, ..params.clone() };
    let new_proxy = ProxyData::initial(owner, key, address(4), &params);
    let closing = ProxyData {
        state: ContractState::Closing,
        balance: Nanoton(1_500_000_000),
        stake: Nanoton(u64::MAX),
        unlock_ts: 1_795_000_000,
        ..new_proxy.clone()
    };
    let new_worker = WorkerData::initial(owner, proxy, key, &params);
    let closed = WorkerData { state: ContractState::Closed, tokens: u64::MAX, ..new_worker.clone() };
    let client = ClientData::initial(owner, proxy, key, &params);
    let client = ClientData { balance: Nanoton(7), tokens_used: 9, secret_hash: [6; 32], ..client };
    let root = RootConfig::from_json(include_str!("../src/recorded_root.json"));
    // The recorded one names codes by their hashes alone, and a contract holds them whole.
    let code = |byte| small(byte).and_then(|cell| ton::Code::new(cell).map_err(std::io::Error::other));
    let root = root.map_err(std::io::Error::other).and_then(|root| {
        let (proxy_sc_code, worker_sc_code, client_sc_code) = (code(1)?, code(2)?, code(3)?);
        written(RootConfig { proxy_sc_code, worker_sc_code, client_sc_code, ..root }.to_cell())
    });
    vec![
        ("new_proxy", written(new_proxy.to_cell())),
        ("closing_proxy", written(closing.to_cell())),
        ("new_worker", written(new_worker.to_cell())),
        ("closed_worker", written(closed.to_cell())),
        ("client", written(client.to_cell())),
        ("params", written(params.to_cell())),
        ("params_in_the_oldest_layout", written(oldest.to_cell())),
        ("worker_in_the_oldest_layout", written(WorkerData::initial(owner, proxy, key, &oldest).to_cell())),
        ("root", root),
    ]
}

/// Something of every kind of body.
fn bodies() -> Written {
    let (query_id, excess, amount, owner) = (7, address(1), Nanoton(1_500_000_000), address(2));
    let state = ClientSummary {
        state: ContractState::Closing,
        balance: amount,
        stake: Nanoton(7),
        tokens_used: 9,
        secret_hash: [6; 32],
    };
    let client = |payload| Body::ClientProxyRequest { query_id, owner, state, payload: Some(payload) };
    let worker = |payload| {
        let state = ContractState::Normal;
        Body::WorkerProxyRequest { query_id, owner, state, tokens: 1_234_567, payload }
    };
    let signed = |operation| {
        let payload = SignedPayload { operation, query_id, target: address(3) };
        Body::Signed(SignedBody { payload, excess, signature: [5; 64] })
    };
    let root = |operation| Body::Root { query_id, operation };
    let cell = |byte| small(byte).unwrap_or_else(|_| Cell::empty());
    let payment = UnsignedPayment { kind: PaymentKind::Worker, query_id, tokens: 1_234_567, target: owner, excess };
    let payment = payment.sign(&SigningKey::from_bytes(&[4; 32])).body();
    let bodies = [
        ("empty", Body::Empty),
        ("comment", Body::Comment("w".to_owned())),
        ("long_comment", Body::Comment("thanks for everything; ".repeat(12))),
        ("excesses", Body::Excesses { query_id }),
        ("payout", Body::Payout { query_id }),
        ("saved", Body::DoNotProcess { query_id, note: Note::ProxySaveState { seqno: 3, session: [8; 32] } }),
        ("other_note", Body::DoNotProcess { query_id, note: Note::Other(7) }),
        ("worker_shows_itself", worker(None)),
        ("worker_is_paid", worker(Some(WorkerPayout { worker_part: amount, proxy_part: Nanoton(5), excess }))),
        ("client_put_in", client(ClientPayload::TopUp { amount, excess })),
        ("client_shows_itself", client(ClientPayload::Register { nonce: Some(5) })),
        ("client_refunded", client(ClientPayload::RefundGranted { amount, excess })),
        ("client_refunded_by_force", client(ClientPayload::RefundForce { amount, excess })),
        ("payment", Body::Signed(payment)),
        ("last_payment", signed(SignedOperation::WorkerLastPayout(u64::MAX))),
        ("charge", signed(SignedOperation::ClientCharge(9))),
        ("refund", signed(SignedOperation::ClientGrantRefund(9))),
        ("proxy_closes", signed(SignedOperation::ProxyClose)),
        ("proxy_is_closed", signed(SignedOperation::ProxyCloseComplete)),
        ("owner_takes", Body::ProxyPayoutRequest { query_id, excess }),
        ("stake", Body::ProxyIncreaseStake { query_id, amount, excess }),
        ("register", Body::OwnerClientRegister { query_id, nonce: 11, excess }),
        (
            "secret_and_money",
            Body::OwnerClientChangeSecretHashAndTopUp { query_id, amount, secret_hash: [9; 32], excess },
        ),
        ("fees", root(RootOperation::ChangeFees { price_per_token: Nanoton(20), worker_fee_per_token: Nanoton(19) })),
        (
            "new_codes",
            root(RootOperation::UpgradeContracts { proxy_code: cell(1), worker_code: cell(2), client_code: cell(3) }),
        ),
        ("new_proxy", root(RootOperation::RegisterProxy(cell(7)))),
        ("new_owner", root(RootOperation::ChangeOwner(owner))),
    ];
    bodies.into_iter().map(|(name, body)| (name, body.to_cell().map_err(std::io::Error::other))).collect()
}

/// Data of wallets, and what they are told.
fn wallets() -> Written {
    let of = |version, network, names: [&'static str; 3]| {
        let wallet = WalletContract::new(version, network, [3; 32]);
        let init = wallet.state_init();
        let message = InternalMessage::new(address(2), true, Nanoton(1_500_000_000), Cell::empty());
        let messages = vec![Outgoing { mode: SendMode::TRANSFER, message: message.with_init(init.clone()) }];
        let unsigned = Unsigned::Transfer(Transfer { seqno: 0, valid_until: 1_795_000_000, messages });
        let body = wallet.body_to_sign(&unsigned).map_err(std::io::Error::other);
        let body = body.and_then(|body| wallet.signed_body(&body, &[5; 64]).map_err(std::io::Error::other));
        let whole = body.as_ref().map_or_else(
            |_| small(0),
            |body| wallet.external(body.clone(), true).to_cell().map_err(std::io::Error::other),
        );
        let [data, body_name, whole_name] = names;
        [(data, Ok(init.data)), (body_name, body), (whole_name, whole)]
    };
    [
        of(WalletVersion::V5R1, Network::Main, ["v5r1", "v5r1_transfer", "v5r1_first_transfer"]),
        of(WalletVersion::V4R2, Network::Main, ["v4r2", "v4r2_transfer", "v4r2_first_transfer"]),
        of(WalletVersion::V3R2, Network::Test, ["v3r2", "v3r2_transfer", "v3r2_first_transfer"]),
    ]
    .into_iter()
    .flatten()
    .collect()
}
