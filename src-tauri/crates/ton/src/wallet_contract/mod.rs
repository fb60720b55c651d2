//! Contracts that hold an owner's money: wallets V5R1, V4R2 and V3R2.
//!
//! ```text
//! data   V5R1: 1 | seqno u32 | wallet id u32 | key | no extensions 0
//!        V4R2: seqno u32 | wallet id u32 | key | no plugins 0
//!        V3R2: seqno u32 | wallet id u32 | key
//! signed V5R1: "sign" u32 | wallet id u32 | valid until u32 | seqno u32 | 1, reference to the list | 0 | signature
//!              list = reference to the list before | 0x0ec3c86d u32 | mode u8 | reference to the message
//!        V4R2: signature | wallet id u32 | valid until u32 | seqno u32 | 0 u8 | for each message: mode u8, reference to it
//!        V3R2: the same without the 0 u8
//! ```
//!
//! The signature is Ed25519 over the hash of all the rest as a cell of its own. Who signs is crate `wallet`.

mod code;

use crate::{
    Address, Cell, CellBuilder, CellError, CellSlice, ExternalMessage, InternalMessage, Message, SendMode, StateInit,
    boc,
};

/// Which wallet contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum WalletVersion {
    /// What is made today.
    V5R1,
    /// What most wallets were before.
    V4R2,
    /// Older still.
    V3R2,
}

/// Which of TON's networks. A V5R1 wallet has another address on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Network {
    /// Where coins are worth something.
    Main,
    /// Where they are not.
    Test,
}

impl Network {
    /// The number by which a chain calls itself: its configuration's parameter 19.
    pub const fn global_id(self) -> i32 {
        match self {
            Self::Main => -239,
            Self::Test => -3,
        }
    }
}

const V5R1_MAIN: u32 = 0x7fff_ff11;
const V5R1_TEST: u32 = 0x7fff_fffd;
const EARLIER: u32 = 698_983_191;
const SIGNED_EXTERNAL: u64 = 0x7369_676e;
const SEND_MESSAGE: u64 = 0x0ec3_c86d;
const SIGNATURE_BITS: usize = 512;

impl WalletVersion {
    /// All of them, the newest first.
    pub const ALL: [Self; 3] = [Self::V5R1, Self::V4R2, Self::V3R2];

    /// The contract's code.
    pub fn code(self) -> Cell {
        let text = match self {
            Self::V5R1 => code::V5R1,
            Self::V4R2 => code::V4R2,
            Self::V3R2 => code::V3R2,
        };
        // The constants are good: a test compares their hashes.
        hex::decode(text).ok().and_then(|bytes| boc::decode(&bytes).ok()).unwrap_or_else(Cell::empty)
    }

    /// The version whose code has this hash; `None` if none has.
    pub fn with_code(hash: &[u8; 32]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.code().hash() == *hash)
    }

    /// The number that is part of address and messages, of a first wallet.
    pub const fn wallet_id(self, network: Network) -> u32 {
        match (self, network) {
            (Self::V5R1, Network::Main) => V5R1_MAIN,
            (Self::V5R1, Network::Test) => V5R1_TEST,
            (Self::V4R2 | Self::V3R2, _) => EARLIER,
        }
    }

    /// Most messages that one transfer has.
    pub const fn most_messages(self) -> usize {
        match self {
            Self::V5R1 => 255,
            Self::V4R2 | Self::V3R2 => 4,
        }
    }
}

/// Why a transfer can't be made, or a body is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// No messages, or more than the contract takes.
    #[error("{messages} messages; this wallet sends 1 to {most} at a time")]
    Messages {
        /// How many.
        messages: usize,
        /// Most of them.
        most: usize,
    },
    /// A body of another operation.
    #[error("operation {code:#010x} is no transfer")]
    Operation {
        /// Its code.
        code: u32,
    },
    /// A cell can't be built or read.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// A message and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The send mode.
    pub mode: SendMode,
    /// The message.
    pub message: InternalMessage,
}

/// What a wallet is told to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The wallet's count of transfers; it takes only the one that is due. 0 brings the contract with it.
    pub seqno: u32,
    /// Unix seconds after which the wallet refuses it.
    pub valid_until: u32,
    /// What it sends, in this order.
    pub messages: Vec<Outgoing>,
}

/// All that is ever signed for an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// Send messages.
    Transfer(Transfer),
}

/// A signed transfer as it is read from a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransfer {
    /// The wallet's number.
    pub wallet_id: u32,
    /// What it is told.
    pub transfer: Transfer,
    /// The signature, which is not checked here.
    pub signature: [u8; 64],
    /// The hash that must have been signed.
    pub signed_hash: [u8; 32],
}

/// What a wallet's data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalletData {
    /// The transfer that is due.
    pub seqno: u32,
    /// The wallet's number.
    pub wallet_id: u32,
    /// The key that signs.
    pub public_key: [u8; 32],
}

impl WalletData {
    /// Reads a wallet's data; extensions and plugins are passed over.
    pub fn read(version: WalletVersion, data: &Cell) -> Result<Self, CellError> {
        let mut slice = data.slice()?;
        if version == WalletVersion::V5R1 {
            slice.bit()?;
        }
        let (seqno, wallet_id) = (slice.uint(32)? as u32, slice.uint(32)? as u32);
        Ok(Self { seqno, wallet_id, public_key: slice.bytes()? })
    }
}

/// A wallet contract of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct WalletContract {
    /// Which contract.
    pub version: WalletVersion,
    /// Its number.
    pub wallet_id: u32,
    /// The key that signs for it, Ed25519.
    pub public_key: [u8; 32],
}

impl WalletContract {
    /// The first wallet of a key on a network.
    pub const fn new(version: WalletVersion, network: Network, public_key: [u8; 32]) -> Self {
        Self { version, wallet_id: version.wallet_id(network), public_key }
    }

    /// What the contract begins as.
    pub fn state_init(&self) -> StateInit {
        let builder = CellBuilder::new();
        let builder = if self.version == WalletVersion::V5R1 { builder.uint(1, 1) } else { builder };
        let builder = builder.uint(0, 32).uint(u64::from(self.wallet_id), 32).bytes(&self.public_key);
        let builder = if self.version == WalletVersion::V3R2 { builder } else { builder.uint(0, 1) };
        StateInit { code: self.version.code(), data: builder.build().unwrap_or_else(|_| Cell::empty()) }
    }

    /// Where it lives, in workchain 0.
    pub fn address(&self) -> Address {
        // Two references always fit.
        self.state_init().address().unwrap_or(Address { workchain: 0, hash: [0; 32] })
    }

    /// The cell whose hash is to be signed. V5R1 takes from outside only messages whose mode ignores errors, so that flag is added.
    pub fn body_to_sign(&self, unsigned: &Unsigned) -> Result<Cell, TransferError> {
        let Unsigned::Transfer(transfer) = unsigned;
        let (messages, most) = (transfer.messages.len(), self.version.most_messages());
        if messages == 0 || messages > most {
            return Err(TransferError::Messages { messages, most });
        }
        let builder = CellBuilder::new();
        let builder = if self.version == WalletVersion::V5R1 { builder.uint(SIGNED_EXTERNAL, 32) } else { builder };
        let mut builder = builder
            .uint(u64::from(self.wallet_id), 32)
            .uint(u64::from(transfer.valid_until), 32)
            .uint(u64::from(transfer.seqno), 32);
        if self.version == WalletVersion::V5R1 {
            let mut list = Cell::empty();
            for Outgoing { mode, message } in &transfer.messages {
                let mode = mode.with(SendMode::IGNORE_ERRORS);
                let action = CellBuilder::new().reference(list).uint(SEND_MESSAGE, 32).uint(u64::from(mode.0), 8);
                list = action.reference(message.to_cell()?).build()?;
            }
            return Ok(builder.uint(1, 1).reference(list).uint(0, 1).build()?);
        }
        if self.version == WalletVersion::V4R2 {
            builder = builder.uint(0, 8);
        }
        for Outgoing { mode, message } in &transfer.messages {
            builder = builder.uint(u64::from(mode.0), 8).reference(message.to_cell()?);
        }
        Ok(builder.build()?)
    }

    /// The body of the message from outside: what was signed, with its signature.
    pub fn signed_body(&self, to_sign: &Cell, signature: &[u8; 64]) -> Result<Cell, CellError> {
        let builder = CellBuilder::new();
        match self.version {
            WalletVersion::V5R1 => builder.inline(to_sign).bytes(signature).build(),
            WalletVersion::V4R2 | WalletVersion::V3R2 => builder.bytes(signature).inline(to_sign).build(),
        }
    }

    /// The message from outside with this body; with the contract where it does not exist yet (a first transfer, seqno 0).
    pub fn external(&self, body: Cell, with_contract: bool) -> ExternalMessage {
        let state_init = self.state_init();
        let init = with_contract.then_some(state_init);
        ExternalMessage { destination: self.address(), init, body }
    }
}

impl SignedTransfer {
    /// Reads the body of a message from outside to a wallet. The signature is not checked.
    pub fn read(version: WalletVersion, body: &Cell) -> Result<Self, TransferError> {
        let mut slice = body.slice()?;
        let (signature, signed) = if version == WalletVersion::V5R1 {
            let bits = slice
                .bits_left()
                .checked_sub(SIGNATURE_BITS)
                .ok_or(CellError::TooFewBits { wanted: SIGNATURE_BITS, left: slice.bits_left() })?;
            let mut signed = CellBuilder::new();
            for _ in 0..bits {
                signed = signed.uint(slice.uint(1)?, 1);
            }
            let signature = slice.bytes()?;
            (signature, signed.inline(&slice.rest()?).build()?)
        } else {
            (slice.bytes()?, slice.rest()?)
        };
        let mut slice = signed.slice()?;
        if version == WalletVersion::V5R1 {
            let code = slice.uint(32)?;
            if code != SIGNED_EXTERNAL {
                return Err(TransferError::Operation { code: code as u32 });
            }
        }
        let wallet_id = slice.uint(32)? as u32;
        let (valid_until, seqno) = (slice.uint(32)? as u32, slice.uint(32)? as u32);
        let messages = match version {
            WalletVersion::V5R1 => read_list(&mut slice)?,
            WalletVersion::V4R2 => {
                let code = slice.uint(8)?;
                if code != 0 {
                    return Err(TransferError::Operation { code: code as u32 });
                }
                read_pairs(&mut slice)?
            }
            WalletVersion::V3R2 => read_pairs(&mut slice)?,
        };
        let transfer = Transfer { seqno, valid_until, messages };
        Ok(Self { wallet_id, transfer, signature, signed_hash: signed.hash() })
    }
}

fn read_pairs(slice: &mut CellSlice<'_>) -> Result<Vec<Outgoing>, TransferError> {
    let mut messages = Vec::new();
    while slice.refs_left() > 0 {
        let mode = SendMode(slice.uint(8)? as u8);
        messages.push(Outgoing { mode, message: internal(slice.reference()?)? });
    }
    slice.end()?;
    Ok(messages)
}

fn read_list(slice: &mut CellSlice<'_>) -> Result<Vec<Outgoing>, TransferError> {
    let mut next = slice.maybe_reference()?;
    // Extensions are added and removed by such bodies too; nothing here does that.
    if slice.bit()? {
        return Err(CellError::Form { of: "list of actions" }.into());
    }
    slice.end()?;
    let most = WalletVersion::V5R1.most_messages();
    let mut messages = Vec::new();
    while let Some(cell) = next.filter(|cell| cell.bits() > 0) {
        if messages.len() == most {
            return Err(TransferError::Messages { messages: most + 1, most });
        }
        let mut slice = cell.slice()?;
        next = Some(slice.reference()?);
        let code = slice.uint(32)?;
        if code != SEND_MESSAGE {
            return Err(TransferError::Operation { code: code as u32 });
        }
        let mode = SendMode(slice.uint(8)? as u8);
        messages.push(Outgoing { mode, message: internal(slice.reference()?)? });
        slice.end()?;
    }
    messages.reverse();
    Ok(messages)
}

fn internal(cell: &Cell) -> Result<InternalMessage, CellError> {
    match Message::from_cell(cell)? {
        Message::Internal(message) => Ok(message),
        Message::External(_) | Message::Outgoing { .. } => Err(CellError::Form { of: "message of a transfer" }),
    }
}

#[cfg(test)]
mod tests;
