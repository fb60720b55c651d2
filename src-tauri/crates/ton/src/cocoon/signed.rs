//! What a proxy signs and anybody may present: an envelope around a signed cell.
//!
//! ```text
//! envelope: op u32 | query id u64 | who gets what is left of the attached money | signature, 64 bytes | reference to the payload
//! payload:  op u32 | query id u64 | running total of adjusted tokens u64 (not for closing) | contract it is for
//! ```
//!
//! Signed is the payload's hash, Ed25519 by the proxy's payment key; who gets what is left is not signed.

use super::{BodyError, Op};
use crate::{Address, Cell, CellBuilder, CellError, CellSlice};

/// What is signed for. Token counts are running totals, not differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignedOperation {
    /// Pay a worker for so many adjusted tokens in all.
    WorkerPayout(u64),
    /// The same, and close the worker's contract.
    WorkerLastPayout(u64),
    /// Charge a client for so many adjusted tokens in all.
    ClientCharge(u64),
    /// The same, pay the rest back and close the client's contract.
    ClientGrantRefund(u64),
    /// Begin to close the proxy's contract.
    ProxyClose,
    /// Close the proxy's contract for good.
    ProxyCloseComplete,
}

impl SignedOperation {
    /// Its code.
    pub const fn op(self) -> Op {
        match self {
            Self::WorkerPayout(_) => Op::WorkerPayoutSigned,
            Self::WorkerLastPayout(_) => Op::WorkerLastPayoutSigned,
            Self::ClientCharge(_) => Op::ClientChargeSigned,
            Self::ClientGrantRefund(_) => Op::ClientGrantRefundSigned,
            Self::ProxyClose => Op::ProxyCloseRequestSigned,
            Self::ProxyCloseComplete => Op::ProxyCloseCompleteRequestSigned,
        }
    }

    /// The running total; `None` if it is not about tokens.
    pub const fn tokens(self) -> Option<u64> {
        match self {
            Self::WorkerPayout(tokens)
            | Self::WorkerLastPayout(tokens)
            | Self::ClientCharge(tokens)
            | Self::ClientGrantRefund(tokens) => Some(tokens),
            Self::ProxyClose | Self::ProxyCloseComplete => None,
        }
    }

    fn read(op: Op, slice: &mut CellSlice<'_>) -> Result<Self, BodyError> {
        Ok(match op {
            Op::WorkerPayoutSigned => Self::WorkerPayout(slice.uint(64)?),
            Op::WorkerLastPayoutSigned => Self::WorkerLastPayout(slice.uint(64)?),
            Op::ClientChargeSigned => Self::ClientCharge(slice.uint(64)?),
            Op::ClientGrantRefundSigned => Self::ClientGrantRefund(slice.uint(64)?),
            Op::ProxyCloseRequestSigned => Self::ProxyClose,
            Op::ProxyCloseCompleteRequestSigned => Self::ProxyCloseComplete,
            op => return Err(BodyError::Misplaced { op }),
        })
    }
}

/// The signed cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedPayload {
    /// What it is for.
    pub operation: SignedOperation,
    /// Its number.
    pub query_id: u64,
    /// The contract that takes it.
    pub target: Address,
}

impl SignedPayload {
    /// The cell whose hash is signed.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let builder = CellBuilder::new().uint(u64::from(self.operation.op().code()), 32).uint(self.query_id, 64);
        let builder = match self.operation.tokens() {
            Some(tokens) => builder.uint(tokens, 64),
            None => builder,
        };
        builder.address(&self.target).build()
    }

    /// Reads the cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        let code = slice.uint(32)? as u32;
        let op = Op::from_code(code).ok_or(BodyError::Unknown { code })?;
        let query_id = slice.uint(64)?;
        let operation = SignedOperation::read(op, &mut slice)?;
        let target = slice.address()?;
        slice.end()?;
        Ok(Self { operation, query_id, target })
    }
}

/// The envelope. The signature is not checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedBody {
    /// What is signed.
    pub payload: SignedPayload,
    /// Who gets what is left of the attached money.
    pub excess: Address,
    /// Ed25519 over the payload's hash.
    pub signature: [u8; 64],
}

impl SignedBody {
    /// The same with another receiver of what is left: whoever presents it names itself.
    #[must_use]
    pub fn repack(&self, excess: Address) -> Self {
        Self { excess, ..*self }
    }

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        CellBuilder::new()
            .uint(u64::from(self.payload.operation.op().code()), 32)
            .uint(self.payload.query_id, 64)
            .address(&self.excess)
            .bytes(&self.signature)
            .reference(self.payload.to_cell()?)
            .build()
    }

    /// Reads the cell. Envelope and payload must be about the same operation and number, and nothing may be left over.
    pub fn from_cell(cell: &Cell) -> Result<Self, BodyError> {
        let mut slice = cell.slice()?;
        let (code, query_id) = (slice.uint(32)? as u32, slice.uint(64)?);
        let excess = slice.address()?;
        let signature = slice.bytes()?;
        let payload = SignedPayload::from_cell(slice.reference()?)?;
        slice.end()?;
        if payload.operation.op().code() != code || payload.query_id != query_id {
            return Err(BodyError::Envelope);
        }
        Ok(Self { payload, excess, signature })
    }
}
