//! Bodies of messages to and from Cocoon's contracts.
//!
//! Every one begins with `op u32 | query id u64`; what follows stands beside each variant. Sources: the builders and parsers of the
//! genuine programs, and `messages.tlb` of the contracts; where these differ, what the contracts read is written.

use super::{ContractState, Op, RootOperation, SignedBody};
use crate::{Address, Cell, CellBuilder, CellError, CellSlice, Nanoton, comment, read_comment};

/// Why a cell is no body that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// An operation that is not known.
    #[error("operation {code:#010x} is not known")]
    Unknown {
        /// Its code.
        code: u32,
    },
    /// A known operation at the wrong place.
    #[error("operation {op:?} does not stand here")]
    Misplaced {
        /// The operation.
        op: Op,
    },
    /// The signed part is about another operation or number than its envelope.
    #[error("the signed part is about another operation or query than its envelope")]
    Envelope,
    /// A text that is none, or too long.
    #[error("the comment is no text")]
    Comment,
    /// A cell does not hold what it should.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: money alone, or a contract's deployment.
    Empty,
    /// A text.
    Comment(String),
    /// What was left of attached money comes back.
    Excesses {
        /// Of the message that had it attached.
        query_id: u64,
    },
    /// A contract's money to its owner: the only income there is.
    Payout {
        /// Of the message that caused it.
        query_id: u64,
    },
    /// A note that contracts leave alone: `inner op u32 | …`.
    DoNotProcess {
        /// Its number.
        query_id: u64,
        /// What it says.
        note: Note,
    },
    /// A worker's contract to its proxy's: `owner | state u2 | tokens u64 | 0, or 1 and a reference to the payload`.
    WorkerProxyRequest {
        /// Its number.
        query_id: u64,
        /// The worker's owner.
        owner: Address,
        /// How far the worker's contract is.
        state: ContractState,
        /// Adjusted tokens paid for so far.
        tokens: u64,
        /// What to pay, if anything.
        payload: Option<WorkerPayout>,
    },
    /// A client's contract to its proxy's: `owner | reference to the state | 0, or 1 and a reference to the payload`.
    ClientProxyRequest {
        /// Its number.
        query_id: u64,
        /// The client's owner.
        owner: Address,
        /// The client's contract.
        state: ClientSummary,
        /// What happened, if the proxy must act.
        payload: Option<ClientPayload>,
    },
    /// Something a proxy has signed.
    Signed(SignedBody),
    /// Pay the proxy's owner what the proxy has earned: `excess`.
    ProxyPayoutRequest {
        /// Its number.
        query_id: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Add to the proxy's stake: `amount | excess`.
    ProxyIncreaseStake {
        /// Its number.
        query_id: u64,
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The owner begins to close the proxy's contract: `excess`.
    OwnerProxyClose {
        /// Its number.
        query_id: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The worker's owner shows itself: `excess`.
    OwnerWorkerRegister {
        /// Its number.
        query_id: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The client's owner shows itself to the proxy: `nonce u64 | excess`.
    OwnerClientRegister {
        /// Its number.
        query_id: u64,
        /// What the proxy asked to be said.
        nonce: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Another secret of the client: `hash | excess`.
    OwnerClientChangeSecretHash {
        /// Its number.
        query_id: u64,
        /// SHA-256 of the secret.
        secret_hash: [u8; 32],
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Another secret and more money: `amount | hash | excess`.
    OwnerClientChangeSecretHashAndTopUp {
        /// Its number.
        query_id: u64,
        /// How much.
        amount: Nanoton,
        /// SHA-256 of the secret.
        secret_hash: [u8; 32],
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Add to the client's balance: `amount | excess`.
    ClientTopUp {
        /// Its number.
        query_id: u64,
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Add to the balance of a client that was closing: `amount | excess`.
    OwnerClientTopUpReopen {
        /// Its number.
        query_id: u64,
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Raise the client's stake: `new stake | excess`.
    OwnerClientIncreaseStake {
        /// Its number.
        query_id: u64,
        /// The stake from now on, not the difference.
        stake: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The client's owner wants the balance back: `excess`.
    OwnerClientRequestRefund {
        /// Its number.
        query_id: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The client's owner takes what is above the stake: `excess`.
    OwnerClientWithdraw {
        /// Its number.
        query_id: u64,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// What a network's owner tells its root contract.
    Root {
        /// Its number.
        query_id: u64,
        /// What.
        operation: RootOperation,
    },
}

/// What a note says that contracts leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// A proxy has saved its state: `seqno i32 | session hash`.
    ProxySaveState {
        /// Number of the saved state.
        seqno: i32,
        /// Hash of the proxy's session.
        session: [u8; 32],
    },
    /// Something else, with this code.
    Other(u32),
}

/// What a worker's contract asks its proxy's to pay: `op u32 | worker's part | proxy's part | excess`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerPayout {
    /// What the worker's owner gets.
    pub worker_part: Nanoton,
    /// What the proxy keeps.
    pub proxy_part: Nanoton,
    /// Who gets what is left of the attached money.
    pub excess: Address,
}

/// What a client's contract says of itself: `state u2 | balance | stake | tokens u64 | secret hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientSummary {
    /// How far it is.
    pub state: ContractState,
    /// What is left to be charged.
    pub balance: Nanoton,
    /// Its stake.
    pub stake: Nanoton,
    /// Adjusted tokens that have been charged.
    pub tokens_used: u64,
    /// SHA-256 of the client's secret.
    pub secret_hash: [u8; 32],
}

/// What happened to a client's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPayload {
    /// Money was added: `amount | excess`.
    TopUp {
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// The owner has shown itself: `nonce u64`, which some contracts leave out.
    Register {
        /// What the proxy had asked to be said; `None` if the contract does not say.
        nonce: Option<u64>,
    },
    /// Pay back: `amount | excess`.
    RefundGranted {
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
    /// Pay back although the proxy did not answer: `amount | excess`.
    RefundForce {
        /// How much.
        amount: Nanoton,
        /// Who gets what is left of the attached money.
        excess: Address,
    },
}

impl Body {
    /// The operation; `None` for an empty body.
    pub fn op(&self) -> Option<Op> {
        Some(match self {
            Self::Empty => return None,
            Self::Comment(_) => Op::Comment,
            Self::Excesses { .. } => Op::Excesses,
            Self::Payout { .. } => Op::Payout,
            Self::DoNotProcess { .. } => Op::DoNotProcess,
            Self::WorkerProxyRequest { .. } => Op::WorkerProxyRequest,
            Self::ClientProxyRequest { .. } => Op::ClientProxyRequest,
            Self::Signed(signed) => signed.payload.operation.op(),
            Self::ProxyPayoutRequest { .. } => Op::ProxyPayoutRequest,
            Self::ProxyIncreaseStake { .. } => Op::ProxyIncreaseStake,
            Self::OwnerProxyClose { .. } => Op::OwnerProxyClose,
            Self::OwnerWorkerRegister { .. } => Op::OwnerWorkerRegister,
            Self::OwnerClientRegister { .. } => Op::OwnerClientRegister,
            Self::OwnerClientChangeSecretHash { .. } => Op::OwnerClientChangeSecretHash,
            Self::OwnerClientChangeSecretHashAndTopUp { .. } => Op::OwnerClientChangeSecretHashAndTopUp,
            Self::ClientTopUp { .. } => Op::ClientTopUp,
            Self::OwnerClientTopUpReopen { .. } => Op::OwnerClientTopUpReopen,
            Self::OwnerClientIncreaseStake { .. } => Op::OwnerClientIncreaseStake,
            Self::OwnerClientRequestRefund { .. } => Op::OwnerClientRequestRefund,
            Self::OwnerClientWithdraw { .. } => Op::OwnerClientWithdraw,
            Self::Root { operation, .. } => operation.op(),
        })
    }

    /// The number by which question and answer are matched; `None` where there is none.
    pub const fn query_id(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Comment(_) => None,
            Self::Signed(signed) => Some(signed.payload.query_id),
            Self::Excesses { query_id }
            | Self::Payout { query_id }
            | Self::DoNotProcess { query_id, .. }
            | Self::WorkerProxyRequest { query_id, .. }
            | Self::ClientProxyRequest { query_id, .. }
            | Self::ProxyPayoutRequest { query_id, .. }
            | Self::ProxyIncreaseStake { query_id, .. }
            | Self::OwnerProxyClose { query_id, .. }
            | Self::OwnerWorkerRegister { query_id, .. }
            | Self::OwnerClientRegister { query_id, .. }
            | Self::OwnerClientChangeSecretHash { query_id, .. }
            | Self::OwnerClientChangeSecretHashAndTopUp { query_id, .. }
            | Self::ClientTopUp { query_id, .. }
            | Self::OwnerClientTopUpReopen { query_id, .. }
            | Self::OwnerClientIncreaseStake { query_id, .. }
            | Self::OwnerClientRequestRefund { query_id, .. }
            | Self::OwnerClientWithdraw { query_id, .. }
            | Self::Root { query_id, .. } => Some(*query_id),
        }
    }

    /// The cell. `Err` for a text that is too long, or an entry of a proxy that does not fit.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let head = |query_id: u64| {
            let code = self.op().map_or(0, Op::code);
            CellBuilder::new().uint(u64::from(code), 32).uint(query_id, 64)
        };
        match self {
            Self::Empty => Ok(Cell::empty()),
            Self::Comment(text) => comment(text),
            Self::Signed(signed) => signed.to_cell(),
            Self::Excesses { query_id } | Self::Payout { query_id } => head(*query_id).build(),
            Self::DoNotProcess { query_id, note } => match note {
                Note::ProxySaveState { seqno, session } => head(*query_id)
                    .uint(u64::from(Op::ProxySaveState.code()), 32)
                    .uint(u64::from(seqno.cast_unsigned()), 32)
                    .bytes(session)
                    .build(),
                Note::Other(code) => head(*query_id).uint(u64::from(*code), 32).build(),
            },
            Self::WorkerProxyRequest { query_id, owner, state, tokens, payload } => {
                let payload = payload.map(WorkerPayout::to_cell).transpose()?;
                let builder = head(*query_id).address(owner).uint(state.code(), 2).uint(*tokens, 64);
                builder.maybe_reference(payload).build()
            }
            Self::ClientProxyRequest { query_id, owner, state, payload } => {
                let payload = payload.map(ClientPayload::to_cell).transpose()?;
                head(*query_id).address(owner).reference(state.to_cell()?).maybe_reference(payload).build()
            }
            Self::ProxyPayoutRequest { query_id, excess }
            | Self::OwnerProxyClose { query_id, excess }
            | Self::OwnerWorkerRegister { query_id, excess }
            | Self::OwnerClientRequestRefund { query_id, excess }
            | Self::OwnerClientWithdraw { query_id, excess } => head(*query_id).address(excess).build(),
            Self::ProxyIncreaseStake { query_id, amount, excess }
            | Self::ClientTopUp { query_id, amount, excess }
            | Self::OwnerClientTopUpReopen { query_id, amount, excess }
            | Self::OwnerClientIncreaseStake { query_id, stake: amount, excess } => {
                head(*query_id).amount(*amount).address(excess).build()
            }
            Self::OwnerClientRegister { query_id, nonce, excess } => {
                head(*query_id).uint(*nonce, 64).address(excess).build()
            }
            Self::OwnerClientChangeSecretHash { query_id, secret_hash, excess } => {
                head(*query_id).bytes(secret_hash).address(excess).build()
            }
            Self::OwnerClientChangeSecretHashAndTopUp { query_id, amount, secret_hash, excess } => {
                head(*query_id).amount(*amount).bytes(secret_hash).address(excess).build()
            }
            Self::Root { query_id, operation } => operation.write(head(*query_id)).build(),
        }
    }

    /// Reads a body. Nothing may be left over, but in a note of another kind.
    pub fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        if slice.bits_left() == 0 && slice.refs_left() == 0 {
            return Ok(Self::Empty);
        }
        let code = slice.uint(32)? as u32;
        let op = Op::from_code(code).ok_or(BodyError::Unknown { code })?;
        if op == Op::Comment {
            return read_comment(cell).map(Self::Comment).ok_or(BodyError::Comment);
        }
        let query_id = slice.uint(64)?;
        let slice = &mut slice;
        let body = match op {
            Op::WorkerPayoutSigned
            | Op::WorkerLastPayoutSigned
            | Op::ClientChargeSigned
            | Op::ClientGrantRefundSigned
            | Op::ProxyCloseRequestSigned
            | Op::ProxyCloseCompleteRequestSigned => return SignedBody::from_cell(cell).map(Self::Signed),
            Op::Excesses => Self::Excesses { query_id },
            Op::Payout => Self::Payout { query_id },
            Op::DoNotProcess => match slice.uint(32)? as u32 {
                code if code == Op::ProxySaveState.code() => {
                    let seqno = (slice.uint(32)? as u32).cast_signed();
                    Self::DoNotProcess { query_id, note: Note::ProxySaveState { seqno, session: slice.bytes()? } }
                }
                code => return Ok(Self::DoNotProcess { query_id, note: Note::Other(code) }),
            },
            Op::WorkerProxyRequest => Self::WorkerProxyRequest {
                query_id,
                owner: slice.address()?,
                state: ContractState::from_code(slice.uint(2)?)?,
                tokens: slice.uint(64)?,
                payload: slice.maybe_reference()?.map(WorkerPayout::from_cell).transpose()?,
            },
            Op::ClientProxyRequest => Self::ClientProxyRequest {
                query_id,
                owner: slice.address()?,
                state: ClientSummary::from_cell(slice.reference()?)?,
                payload: slice.maybe_reference()?.map(ClientPayload::from_cell).transpose()?,
            },
            Op::ProxyPayoutRequest => Self::ProxyPayoutRequest { query_id, excess: slice.address()? },
            Op::ProxyIncreaseStake => {
                Self::ProxyIncreaseStake { query_id, amount: slice.amount()?, excess: slice.address()? }
            }
            Op::OwnerProxyClose => Self::OwnerProxyClose { query_id, excess: slice.address()? },
            Op::OwnerWorkerRegister => Self::OwnerWorkerRegister { query_id, excess: slice.address()? },
            Op::OwnerClientRegister => {
                Self::OwnerClientRegister { query_id, nonce: slice.uint(64)?, excess: slice.address()? }
            }
            Op::OwnerClientChangeSecretHash => {
                Self::OwnerClientChangeSecretHash { query_id, secret_hash: slice.bytes()?, excess: slice.address()? }
            }
            Op::OwnerClientChangeSecretHashAndTopUp => Self::OwnerClientChangeSecretHashAndTopUp {
                query_id,
                amount: slice.amount()?,
                secret_hash: slice.bytes()?,
                excess: slice.address()?,
            },
            Op::ClientTopUp => Self::ClientTopUp { query_id, amount: slice.amount()?, excess: slice.address()? },
            Op::OwnerClientTopUpReopen => {
                Self::OwnerClientTopUpReopen { query_id, amount: slice.amount()?, excess: slice.address()? }
            }
            Op::OwnerClientIncreaseStake => {
                Self::OwnerClientIncreaseStake { query_id, stake: slice.amount()?, excess: slice.address()? }
            }
            Op::OwnerClientRequestRefund => Self::OwnerClientRequestRefund { query_id, excess: slice.address()? },
            Op::OwnerClientWithdraw => Self::OwnerClientWithdraw { query_id, excess: slice.address()? },
            op => Self::Root { query_id, operation: RootOperation::read(op, slice)? },
        };
        slice.end()?;
        Ok(body)
    }
}

impl WorkerPayout {
    fn to_cell(self) -> Result<Cell, CellError> {
        let builder = CellBuilder::new().uint(u64::from(Op::WorkerProxyPayoutRequest.code()), 32);
        builder.amount(self.worker_part).amount(self.proxy_part).address(&self.excess).build()
    }

    fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        let code = slice.uint(32)? as u32;
        if code != Op::WorkerProxyPayoutRequest.code() {
            return Err(misplaced(code));
        }
        let (worker_part, proxy_part, excess) = (slice.amount()?, slice.amount()?, slice.address()?);
        slice.end()?;
        Ok(Self { worker_part, proxy_part, excess })
    }
}

impl ClientSummary {
    fn to_cell(self) -> Result<Cell, CellError> {
        CellBuilder::new()
            .uint(self.state.code(), 2)
            .amount(self.balance)
            .amount(self.stake)
            .uint(self.tokens_used, 64)
            .bytes(&self.secret_hash)
            .build()
    }

    fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        let state = ContractState::from_code(slice.uint(2)?)?;
        let (balance, stake) = (slice.amount()?, slice.amount()?);
        let (tokens_used, secret_hash) = (slice.uint(64)?, slice.bytes()?);
        slice.end()?;
        Ok(Self { state, balance, stake, tokens_used, secret_hash })
    }
}

impl ClientPayload {
    fn to_cell(self) -> Result<Cell, CellError> {
        let head = |op: Op| CellBuilder::new().uint(u64::from(op.code()), 32);
        match self {
            Self::Register { nonce: Some(nonce) } => head(Op::ClientProxyRegister).uint(nonce, 64).build(),
            Self::Register { nonce: None } => head(Op::ClientProxyRegister).build(),
            Self::TopUp { amount, excess } => head(Op::ClientProxyTopUp).amount(amount).address(&excess).build(),
            Self::RefundGranted { amount, excess } => {
                head(Op::ClientProxyRefundGranted).amount(amount).address(&excess).build()
            }
            Self::RefundForce { amount, excess } => {
                head(Op::ClientProxyRefundForce).amount(amount).address(&excess).build()
            }
        }
    }

    fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        let code = slice.uint(32)? as u32;
        let payload = match Op::from_code(code) {
            Some(Op::ClientProxyRegister) => {
                let nonce = if slice.bits_left() == 0 { None } else { Some(slice.uint(64)?) };
                Self::Register { nonce }
            }
            Some(Op::ClientProxyTopUp) => {
                let (amount, excess) = both(&mut slice)?;
                Self::TopUp { amount, excess }
            }
            Some(Op::ClientProxyRefundGranted) => {
                let (amount, excess) = both(&mut slice)?;
                Self::RefundGranted { amount, excess }
            }
            Some(Op::ClientProxyRefundForce) => {
                let (amount, excess) = both(&mut slice)?;
                Self::RefundForce { amount, excess }
            }
            _ => return Err(misplaced(code)),
        };
        slice.end()?;
        Ok(payload)
    }
}

fn both(slice: &mut CellSlice<'_>) -> Result<(Nanoton, Address), CellError> {
    Ok((slice.amount()?, slice.address()?))
}

fn misplaced(code: u32) -> BodyError {
    Op::from_code(code).map_or(BodyError::Unknown { code }, |op| BodyError::Misplaced { op })
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
