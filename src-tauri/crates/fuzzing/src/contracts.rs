//! What contracts remember and what they are told: cells that a chain's endpoint, or a stranger through it, has made.

use accounting::signed_payment::SignedPayment;
use ton::cocoon::{Body, ClientData, ProxyData, SignedBody, SignedPayload, WorkerData};
use ton::{
    Address, Cell, CellError, Message, Params, RootConfig, SignedTransfer, StateInit, Transfer, Unsigned,
    WalletContract, WalletData, WalletVersion, boc,
};

/// The bytes as a bag with the data of a contract: of a proxy, a worker, a client, a network's root, or their parameters.
pub fn contract_data(data: &[u8]) {
    let Ok(cell) = boc::decode(data) else { return };
    same(&cell, |cell| ProxyData::from_cell(cell).ok(), ProxyData::to_cell);
    same(&cell, |cell| WorkerData::from_cell(cell).ok(), WorkerData::to_cell);
    same(&cell, |cell| ClientData::from_cell(cell).ok(), ClientData::to_cell);
    same(&cell, |cell| Params::from_cell(cell).ok(), Params::to_cell);
    let root = Some(Address { workchain: 0, hash: [1; 32] });
    same(&cell, |cell| RootConfig::from_cell(cell, root).ok(), RootConfig::to_cell);
    if let Ok(config) = RootConfig::from_cell(&cell, root) {
        let owner = config.root_owner_address;
        let proxy = config.proxy_contract(&owner, &[1; 32], &owner);
        assert!(proxy != config.proxy_contract(&owner, &[2; 32], &owner), "two keys have one contract");
    }
}

/// The bytes as a bag with what a contract is told.
pub fn contract_body(data: &[u8]) {
    let Ok(cell) = boc::decode(data) else { return };
    if let Ok(body) = Body::from_cell(&cell) {
        // A note may go on behind what is read of it, and a text has many ways to stand in cells.
        let Ok(written) = body.to_cell() else { panic!("what a contract is told can't be written: {body:?}") };
        assert!(Body::from_cell(&written).as_ref() == Ok(&body), "what a contract is told is read in two ways");
        assert!(body.op().is_some() || body == Body::Empty, "a body without an operation");
    }
    same(&cell, |cell| SignedPayload::from_cell(cell).ok(), SignedPayload::to_cell);
    if let Ok(signed) = SignedBody::from_cell(&cell) {
        assert!(signed.to_cell().is_ok_and(|written| written == cell), "what is signed changed");
        let repacked = signed.repack(signed.payload.target);
        assert!(repacked.payload == signed.payload && repacked.signature == signed.signature);
        // The reader of the pipe and of the protocol takes the payments among them, and says the same of them.
        if let Ok(payment) = SignedPayment::from_boc(data) {
            assert!(payment.body() == signed, "a payment is read in two ways");
        }
    }
}

/// The bytes as a bag with a wallet's data, or with what a wallet is told to send.
pub fn wallet_contract(data: &[u8]) {
    let Ok(cell) = boc::decode(data) else { return };
    same(&cell, |cell| StateInit::from_cell(cell).ok(), StateInit::to_cell);
    for version in [WalletVersion::V5R1, WalletVersion::V4R2, WalletVersion::V3R2] {
        if let Ok(data) = WalletData::read(version, &cell) {
            let contract = WalletContract { version, wallet_id: data.wallet_id, public_key: data.public_key };
            let again = WalletData::read(version, &contract.state_init().data);
            assert!(again == Ok(WalletData { seqno: 0, ..data }), "a wallet begins as another one");
        }
        let body = match Message::from_cell(&cell) {
            Ok(Message::External(message)) => message.body,
            _ => cell.clone(),
        };
        let Ok(SignedTransfer { wallet_id, transfer, signature, .. }) = SignedTransfer::read(version, &body) else {
            continue;
        };
        let contract = WalletContract { version, wallet_id, public_key: [1; 32] };
        let Transfer { seqno, valid_until, messages } = transfer.clone();
        let Ok(to_sign) = contract.body_to_sign(&Unsigned::Transfer(transfer)) else { continue };
        let again = contract.signed_body(&to_sign, &signature).map(|body| SignedTransfer::read(version, &body));
        let Ok(Ok(again)) = again else { panic!("a transfer can't be read as it was written") };
        let counted = again.transfer.messages.len() == messages.len();
        assert!(counted && again.transfer.seqno == seqno && again.transfer.valid_until == valid_until);
        assert!(again.signature == signature && again.wallet_id == wallet_id, "a transfer changed");
    }
}

/// What is taken is written as something that is taken again, and is the same.
fn same<T: PartialEq>(cell: &Cell, read: impl Fn(&Cell) -> Option<T>, write: impl Fn(&T) -> Result<Cell, CellError>) {
    let Some(taken) = read(cell) else { return };
    let Ok(written) = write(&taken) else { panic!("what was read can't be written") };
    assert!(read(&written).is_some_and(|again| again == taken), "it is read in two ways");
}
