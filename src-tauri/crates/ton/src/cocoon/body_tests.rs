use super::*;
use crate::cocoon::{ClientData, ProxyData, SignedOperation, SignedPayload, WorkerData};
use crate::{AddressText, Params, ParamsError, boc};

/// The documented signed payment.
const PAYMENT: &str = "b5ee9c720101020100a90001dba040ad2801020304050607088002e34ad0278342595f291a3820c55e978049cbde922b93153380ccc585426a643eeb7f84ef7d400023861f5c3415db5ce862ee043c7ce2435d4be266cd0735cc64d4aeac00fe789ce65e4dc8a89e7e26dfeade8a55a1c86f213f3fe17ed64ae19001006ba040ad280102030405060708000000000012d68780196c0d0a239b52f55c52e4b59d91980a8a42bdb333f9b44dc6ff7f6676d3079a30";

fn address(byte: u8) -> Address {
    Address { workchain: 0, hash: [byte; 32] }
}

fn signed(operation: SignedOperation) -> Body {
    let payload = SignedPayload { operation, query_id: 77, target: address(3) };
    Body::Signed(SignedBody { payload, excess: address(4), signature: [5; 64] })
}

fn all() -> Vec<Body> {
    let (query_id, excess, amount) = (0x0102_0304_0506_0708, address(1), Nanoton(1_500_000_000));
    let state = ClientSummary {
        state: ContractState::Closing,
        balance: amount,
        stake: Nanoton(7),
        tokens_used: 9,
        secret_hash: [6; 32],
    };
    let client = |payload| Body::ClientProxyRequest { query_id, owner: address(2), state, payload };
    let worker = |payload| Body::WorkerProxyRequest {
        query_id,
        owner: address(2),
        state: ContractState::Closed,
        tokens: u64::MAX,
        payload,
    };
    let cell = |byte: u64| CellBuilder::new().uint(byte, 8).build().unwrap();
    let root = |operation| Body::Root { query_id, operation };
    let mut bodies = vec![
        Body::Empty,
        Body::Comment("w".to_owned()),
        Body::Excesses { query_id },
        Body::Payout { query_id },
        Body::DoNotProcess { query_id, note: Note::ProxySaveState { seqno: -2, session: [8; 32] } },
        Body::DoNotProcess { query_id, note: Note::Other(0xdead_beef) },
        worker(None),
        worker(Some(WorkerPayout { worker_part: amount, proxy_part: Nanoton(0), excess })),
        client(None),
        client(Some(ClientPayload::TopUp { amount, excess })),
        client(Some(ClientPayload::Register { nonce: Some(5) })),
        client(Some(ClientPayload::Register { nonce: None })),
        client(Some(ClientPayload::RefundGranted { amount, excess })),
        client(Some(ClientPayload::RefundForce { amount, excess })),
        Body::ProxyPayoutRequest { query_id, excess },
        Body::ProxyIncreaseStake { query_id, amount, excess },
        Body::OwnerProxyClose { query_id, excess },
        Body::OwnerWorkerRegister { query_id, excess },
        Body::OwnerClientRegister { query_id, nonce: 11, excess },
        Body::OwnerClientChangeSecretHash { query_id, secret_hash: [9; 32], excess },
        Body::OwnerClientChangeSecretHashAndTopUp { query_id, amount, secret_hash: [9; 32], excess },
        Body::ClientTopUp { query_id, amount, excess },
        Body::OwnerClientTopUpReopen { query_id, amount, excess },
        Body::OwnerClientIncreaseStake { query_id, stake: amount, excess },
        Body::OwnerClientRequestRefund { query_id, excess },
        Body::OwnerClientWithdraw { query_id, excess },
        root(RootOperation::AddWorkerType([1; 32])),
        root(RootOperation::DelWorkerType([1; 32])),
        root(RootOperation::AddModelType([1; 32])),
        root(RootOperation::DelModelType([1; 32])),
        root(RootOperation::AddProxyType([1; 32])),
        root(RootOperation::DelProxyType([1; 32])),
        root(RootOperation::RegisterProxy(cell(1))),
        root(RootOperation::UnregisterProxy(3)),
        root(RootOperation::UpdateProxy { seqno: 3, entry: cell(2) }),
        root(RootOperation::ChangeFees { price_per_token: amount, worker_fee_per_token: Nanoton(1) }),
        root(RootOperation::ChangeParams {
            price_per_token: amount,
            worker_fee_per_token: Nanoton(1),
            proxy_delay_before_close: 5,
            client_delay_before_close: 6,
            min_proxy_stake: Nanoton(7),
            min_client_stake: Nanoton(8),
        }),
        root(RootOperation::UpgradeContracts { proxy_code: cell(1), worker_code: cell(2), client_code: cell(3) }),
        root(RootOperation::UpgradeCode(cell(1))),
        root(RootOperation::Reset),
        root(RootOperation::UpgradeFull { data: cell(1), code: cell(2) }),
        root(RootOperation::ChangeOwner(excess)),
    ];
    bodies.extend(
        [
            SignedOperation::WorkerPayout(1),
            SignedOperation::WorkerLastPayout(2),
            SignedOperation::ClientCharge(3),
            SignedOperation::ClientGrantRefund(4),
            SignedOperation::ProxyClose,
            SignedOperation::ProxyCloseComplete,
        ]
        .map(signed),
    );
    bodies
}

#[test]
fn every_body_is_read_as_it_was_written_and_begins_with_its_code_and_number() {
    for body in all() {
        let cell = body.to_cell().unwrap();
        assert_eq!(Body::from_cell(&cell), Ok(body.clone()));
        if let (Some(op), Some(query_id)) = (body.op(), body.query_id()) {
            let mut slice = cell.slice().unwrap();
            assert_eq!((slice.uint(32), slice.uint(64)), (Ok(u64::from(op.code())), Ok(query_id)));
        }
    }
}

#[test]
fn every_operation_is_a_body_or_part_of_one_but_for_three() {
    use std::collections::HashSet;
    let mut seen: HashSet<Op> = all().iter().filter_map(Body::op).collect();
    // Parts of others, found inside.
    seen.extend([Op::ProxySaveState, Op::WorkerProxyPayoutRequest, Op::ClientProxyTopUp, Op::ClientProxyRegister]);
    seen.extend([Op::ClientProxyRefundGranted, Op::ClientProxyRefundForce]);
    let left: Vec<Op> = Op::ALL.iter().copied().filter(|op| !seen.contains(op)).collect();
    // Their layouts are not documented, or another contract's.
    assert_eq!(left, [Op::OwnerWalletSendMessage, Op::RootChangeParamsFull]);
}

#[test]
fn a_body_that_is_too_long_or_misplaced_is_refused() {
    for body in all() {
        let cell = body.to_cell().unwrap();
        let longer = CellBuilder::new().inline(&cell).uint(1, 1).build().unwrap();
        let open = matches!(
            body,
            Body::DoNotProcess { note: Note::Other(_), .. }
                | Body::Root { operation: RootOperation::RegisterProxy(_) | RootOperation::UpdateProxy { .. }, .. }
        );
        assert_eq!(Body::from_cell(&longer).is_ok(), open, "{body:?}");
    }
    let with = |code: u32| {
        let cell = CellBuilder::new().uint(u64::from(code), 32).uint(1, 64).build().unwrap();
        Body::from_cell(&cell)
    };
    assert_eq!(with(0xffff_ffff), Err(BodyError::Unknown { code: 0xffff_ffff }));
    assert_eq!(with(Op::ProxySaveState.code()), Err(BodyError::Misplaced { op: Op::ProxySaveState }));
    assert_eq!(with(Op::Comment.code()), Ok(Body::Comment("\0\0\0\0\0\0\0\u{1}".to_owned())));
}

#[test]
fn an_envelope_around_something_else_is_refused() {
    let payload = SignedPayload { operation: SignedOperation::ProxyClose, query_id: 1, target: address(1) };
    let envelope = |op: Op, query_id| {
        let builder = CellBuilder::new().uint(u64::from(op.code()), 32).uint(query_id, 64);
        let builder = builder.address(&address(2)).bytes(&[0; 64]).reference(payload.to_cell().unwrap());
        SignedBody::from_cell(&builder.build().unwrap())
    };
    assert!(envelope(Op::ProxyCloseRequestSigned, 1).is_ok());
    assert_eq!(envelope(Op::ProxyCloseCompleteRequestSigned, 1), Err(BodyError::Envelope));
    assert_eq!(envelope(Op::ProxyCloseRequestSigned, 2), Err(BodyError::Envelope));
}

#[test]
fn the_documented_payment_is_read_and_repacked() {
    let cell = boc::decode(&hex::decode(PAYMENT).unwrap()).unwrap();
    let Ok(Body::Signed(signed)) = Body::from_cell(&cell) else { panic!("no signed body") };
    assert_eq!(signed.payload.operation, SignedOperation::WorkerPayout(1_234_567));
    assert_eq!(signed.payload.query_id, 0x0102_0304_0506_0708);
    let worker = AddressText::parse("UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO").unwrap().address;
    assert_eq!(signed.payload.target, worker);
    let wallet = AddressText::parse("UQABWAYRUDPbjO0EfnTjtToUuQTATvTK_2wW3liSw_XSOQtq").unwrap().address;
    let repacked = signed.repack(wallet).to_cell().unwrap();
    let known = "9bc311541150f5e198719f1baeb546eebfb4f87df9494a4b0a0d20a45c39fed4";
    assert_eq!(hex::encode(repacked.hash()), known);
    let payload = "2b1eb49b6bfe9336323b5d043df3ef76190324b350ce47511b6ba8beb356456e";
    assert_eq!(hex::encode(signed.payload.to_cell().unwrap().hash()), payload);
}

#[test]
fn data_of_every_contract_are_read_as_they_were_written_in_every_layout() {
    let code = |byte: u64| Some(CellBuilder::new().uint(byte, 8).build().unwrap());
    for struct_version in 0..=crate::NEWEST_STRUCT {
        let full = Params {
            struct_version,
            params_version: 4,
            unique_id: 5,
            is_test: struct_version % 2 == 0,
            price_per_token: Nanoton(20),
            worker_fee_per_token: Nanoton(19),
            prompt_tokens_price_multiplier: if struct_version >= 3 { 1 } else { 10_000 },
            cached_tokens_price_multiplier: if struct_version >= 2 { 2 } else { 10_000 },
            completion_tokens_price_multiplier: if struct_version >= 3 { 3 } else { 10_000 },
            reasoning_tokens_price_multiplier: if struct_version >= 2 { 4 } else { 10_000 },
            proxy_delay_before_close: 600,
            client_delay_before_close: 300,
            min_proxy_stake: Nanoton(if struct_version >= 1 { 6 } else { 1_000_000_000 }),
            min_client_stake: Nanoton(if struct_version >= 1 { 7 } else { 1_000_000_000 }),
            proxy_code: code(1),
            worker_code: code(2),
            client_code: code(3),
        };
        let cell = full.to_cell().unwrap();
        assert_eq!(Params::from_cell(&cell), Ok(full.clone()));

        let mut proxy = ProxyData::initial(address(1), [2; 32], address(3), &full);
        assert_eq!((&proxy.params.proxy_code, &proxy.params.worker_code), (&None, &full.worker_code));
        (proxy.state, proxy.balance, proxy.stake, proxy.unlock_ts) =
            (ContractState::Closing, Nanoton(1), Nanoton(2), 3);
        assert_eq!(ProxyData::from_cell(&proxy.to_cell().unwrap()), Ok(proxy));

        let mut worker = WorkerData::initial(address(1), address(3), [2; 32], &full);
        (worker.state, worker.tokens) = (ContractState::Closed, 300_000_000);
        assert_eq!(WorkerData::from_cell(&worker.to_cell().unwrap()), Ok(worker));

        let mut client = ClientData::initial(address(1), address(3), [2; 32], &full);
        assert_eq!(client.stake, full.min_client_stake);
        (client.balance, client.tokens_used, client.secret_hash) = (Nanoton(9), 8, [7; 32]);
        assert_eq!(ClientData::from_cell(&client.to_cell().unwrap()), Ok(client));
    }
}

#[test]
fn a_layout_from_the_future_is_refused_and_named() {
    let cell = CellBuilder::new().uint(4, 8).uint(0, 500).build().unwrap();
    assert_eq!(Params::from_cell(&cell), Err(ParamsError::Newer { version: 4 }));
    let words = ParamsError::Newer { version: 4 }.to_string();
    assert!(words.contains("layout 4") && words.contains("a newer one"), "{words}");
}

#[test]
fn a_state_that_no_contract_has_is_refused() {
    let data = CellBuilder::new().address(&address(1)).address(&address(2)).bytes(&[0; 32]).uint(3, 2).uint(0, 64);
    let data = data.reference(Cell::empty()).build().unwrap();
    let refused = ParamsError::Cell(CellError::Form { of: "contract's state" });
    assert_eq!(WorkerData::from_cell(&data), Err(refused));
}
