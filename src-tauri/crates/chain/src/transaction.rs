//! Transactions and messages, read from their own cells. What an endpoint says about them in words is not looked at.

use thiserror::Error;
use ton::{Address, Cell, CellBuilder, Nanoton};
use tycho_types::cell::{Cell as TychoCell, CellBuilder as TychoBuilder};
use tycho_types::models as tycho;
use tycho_types::models::{IntAddr, MsgInfo, TxInfo};
use tycho_types::num::Tokens;

use crate::TransactionId;
use crate::account::AccountStatus;
use crate::cells::{self, CellsError};

/// Why bytes are not the transaction that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// The cells can't be read.
    #[error(transparent)]
    Cells(#[from] CellsError),
    /// The cells hold no transaction.
    #[error("no transaction: {0}")]
    Form(String),
    /// It is another transaction.
    #[error("transaction {found} came where {wanted} was asked for")]
    Other {
        /// Hash that was asked for, in hex.
        wanted: String,
        /// Hash of what came, in hex.
        found: String,
    },
    /// An amount that no account can have.
    #[error("an amount of {0} nanotons")]
    Amount(u128),
}

impl From<tycho_types::error::Error> for TransactionError {
    fn from(error: tycho_types::error::Error) -> Self {
        Self::Form(error.to_string())
    }
}

/// What kind of message, and what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// From contract to contract.
    Internal {
        /// Who sent it; the chain says so.
        source: Address,
        /// To whom.
        destination: Address,
        /// Money that goes with it.
        value: Nanoton,
        /// What is left of the fee for carrying it.
        forward_fee: Nanoton,
        /// Whether the money shall come back if the receiver fails.
        bounce: bool,
        /// Whether this is money that came back.
        bounced: bool,
    },
    /// From outside to a contract.
    ExternalIn {
        /// To whom.
        destination: Address,
    },
    /// From a contract to outside: something it wants known.
    ExternalOut {
        /// Who sent it.
        source: Address,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Hash of its cell.
    pub hash: [u8; 32],
    /// Hash that stays the same however its sender laid it out (TEP-467); for messages from outside, else [`Self::hash`].
    pub normalised_hash: [u8; 32],
    /// What kind it is.
    pub kind: MessageKind,
    /// Logical time at which it was made; 0 for messages from outside.
    pub created_lt: u64,
    /// Unix seconds at which it was made; 0 for messages from outside.
    pub created_at: u32,
    /// Whether it brings a contract's first code and data.
    pub brings_state: bool,
    /// What it says.
    pub body: Cell,
}

impl Message {
    /// Reads a message from its cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, TransactionError> {
        Self::from_tycho(&cells::to_tycho(cell)?)
    }

    /// Reads a message from a cell of the virtual machine's.
    pub fn from_tycho(cell: &TychoCell) -> Result<Self, TransactionError> {
        let message = cell.parse::<tycho::OwnedMessage>()?;
        let hash = cell.repr_hash().0;
        let mut body = TychoBuilder::new();
        body.store_slice(tycho_types::cell::CellSlice::apply(&message.body)?)?;
        let body = cells::from_tycho(&body.build()?)?;
        let (kind, created_lt, created_at) = match &message.info {
            MsgInfo::Int(info) => {
                let kind = MessageKind::Internal {
                    source: address(&info.src)?,
                    destination: address(&info.dst)?,
                    value: amount(info.value.tokens)?,
                    forward_fee: amount(info.fwd_fee)?,
                    bounce: info.bounce,
                    bounced: info.bounced,
                };
                (kind, info.created_lt, info.created_at)
            }
            MsgInfo::ExtIn(info) => (MessageKind::ExternalIn { destination: address(&info.dst)? }, 0, 0),
            MsgInfo::ExtOut(info) => {
                (MessageKind::ExternalOut { source: address(&info.src)? }, info.created_lt, info.created_at)
            }
        };
        let normalised_hash = match &kind {
            MessageKind::ExternalIn { destination } => normalised(destination, &body)?,
            MessageKind::Internal { .. } | MessageKind::ExternalOut { .. } => hash,
        };
        Ok(Self { hash, normalised_hash, kind, created_lt, created_at, brings_state: message.init.is_some(), body })
    }

    /// Who sent it, if a contract did.
    pub fn source(&self) -> Option<Address> {
        match self.kind {
            MessageKind::Internal { source, .. } | MessageKind::ExternalOut { source } => Some(source),
            MessageKind::ExternalIn { .. } => None,
        }
    }

    /// To whom it goes, if to a contract.
    pub fn destination(&self) -> Option<Address> {
        match self.kind {
            MessageKind::Internal { destination, .. } | MessageKind::ExternalIn { destination } => Some(destination),
            MessageKind::ExternalOut { .. } => None,
        }
    }

    /// The money that goes with it; none with messages from or to outside.
    pub fn value(&self) -> Nanoton {
        match self.kind {
            MessageKind::Internal { value, .. } => value,
            MessageKind::ExternalIn { .. } | MessageKind::ExternalOut { .. } => Nanoton(0),
        }
    }
}

/// TEP-467: no sender, no import fee, no first state, the body in a reference.
fn normalised(destination: &Address, body: &Cell) -> Result<[u8; 32], TransactionError> {
    let cell = CellBuilder::new()
        .uint(0b10, 2)
        .uint(0, 2)
        .address(destination)
        .amount(Nanoton(0))
        .uint(0b01, 2)
        .reference(body.clone())
        .build()
        .map_err(|error| TransactionError::Form(error.to_string()))?;
    Ok(cell.hash())
}

/// Why no code ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// There is no contract.
    NoState,
    /// The code and data that came with the message are not those of the address.
    BadState,
    /// The money is too little for any computing.
    NoGas,
    /// The chain has locked the account.
    Suspended,
}

/// What became of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComputePhase {
    /// It did not run.
    Skipped(SkipReason),
    /// It ran.
    Executed {
        /// Whether it ended well.
        success: bool,
        /// What it ended with: 0 or 1 if well, else the contract's or the machine's reason.
        exit_code: i32,
        /// Gas it took.
        gas_used: u64,
        /// What that gas cost.
        gas_fees: Nanoton,
    },
}

/// What became of what the code wanted to do: messages above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionPhase {
    /// Whether all was done that could not be left out.
    pub success: bool,
    /// 0, or why not.
    pub result_code: i32,
    /// How many things it wanted.
    pub actions: u16,
    /// How many of them were left out because the contract allowed it: a message that could not be paid for, for instance.
    pub skipped: u16,
    /// Messages that were made.
    pub messages: u16,
    /// What carrying those messages cost, their own share included.
    pub forward_fees: Nanoton,
}

/// A transaction: what one message did to one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Whose.
    pub account: Address,
    /// Its name.
    pub id: TransactionId,
    /// The account's transaction before it: where to read on. `None` for the first one.
    pub previous: Option<TransactionId>,
    /// When, in Unix seconds by the chain's clock.
    pub now: u32,
    /// What the account was before; `None` if it was not there.
    pub status_before: Option<AccountStatus>,
    /// What the account was after; `None` if it was not there any more.
    pub status_after: Option<AccountStatus>,
    /// What came in.
    pub in_message: Option<Message>,
    /// What went out, in order.
    pub out_messages: Vec<Message>,
    /// What the chain took from the account here. The forward fees that go with messages come on top.
    pub total_fees: Nanoton,
    /// The part of it that was for storage.
    pub storage_fees: Nanoton,
    /// What the account still owes for storage.
    pub storage_due: Nanoton,
    /// What became of the code; `None` for the chain's own transactions.
    pub compute: Option<ComputePhase>,
    /// What became of what it wanted to do; `None` if it came to nothing before.
    pub action: Option<ActionPhase>,
    /// Whether everything was taken back.
    pub aborted: bool,
    /// Whether the money of the message was sent back.
    pub bounced_back: bool,
    /// Whether the account is gone.
    pub destroyed: bool,
}

impl Transaction {
    /// Reads a transaction of an account from its bag of cells. If `wanted` is given, the hash must be that one.
    pub fn from_boc(bytes: &[u8], account: Address, wanted: Option<[u8; 32]>) -> Result<Self, TransactionError> {
        let cell = cells::decode(bytes)?;
        let found = cell.repr_hash().0;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(TransactionError::Other { wanted: hex::encode(wanted), found: hex::encode(found) });
        }
        let read = Self::from_tycho(&cell, account.workchain)?;
        if read.account != account {
            return Err(TransactionError::Other { wanted: account.to_string(), found: read.account.to_string() });
        }
        Ok(read)
    }

    /// Reads a transaction of an account in this workchain from a cell of the virtual machine's.
    pub fn from_tycho(cell: &TychoCell, workchain: i8) -> Result<Self, TransactionError> {
        let read = cell.parse::<tycho::Transaction>()?;
        let in_message = read.in_msg.as_ref().map(Message::from_tycho).transpose()?;
        let mut out_messages = Vec::new();
        for entry in read.out_msgs.iter() {
            let (_, message) = entry?;
            out_messages.push(Message::from_tycho(&message)?);
        }
        let mut transaction = Self {
            account: Address { workchain, hash: read.account.0 },
            id: TransactionId { lt: read.lt, hash: cell.repr_hash().0 },
            previous: (read.prev_trans_lt != 0)
                .then_some(TransactionId { lt: read.prev_trans_lt, hash: read.prev_trans_hash.0 }),
            now: read.now,
            status_before: status(read.orig_status),
            status_after: status(read.end_status),
            in_message,
            out_messages,
            total_fees: amount(read.total_fees.tokens)?,
            storage_fees: Nanoton(0),
            storage_due: Nanoton(0),
            compute: None,
            action: None,
            aborted: false,
            bounced_back: false,
            destroyed: false,
        };
        match read.load_info()? {
            TxInfo::Ordinary(info) => transaction.fill(&info)?,
            TxInfo::TickTock(info) => {
                transaction.aborted = info.aborted;
                transaction.destroyed = info.destroyed;
                transaction.storage_fees = amount(info.storage_phase.storage_fees_collected)?;
            }
        }
        Ok(transaction)
    }

    fn fill(&mut self, info: &tycho::OrdinaryTxInfo) -> Result<(), TransactionError> {
        if let Some(storage) = &info.storage_phase {
            self.storage_fees = amount(storage.storage_fees_collected)?;
            self.storage_due = amount(storage.storage_fees_due.unwrap_or_default())?;
        }
        self.compute = Some(match &info.compute_phase {
            tycho::ComputePhase::Skipped(skipped) => ComputePhase::Skipped(match skipped.reason {
                tycho::ComputePhaseSkipReason::NoState => SkipReason::NoState,
                tycho::ComputePhaseSkipReason::BadState => SkipReason::BadState,
                tycho::ComputePhaseSkipReason::NoGas => SkipReason::NoGas,
                tycho::ComputePhaseSkipReason::Suspended => SkipReason::Suspended,
            }),
            tycho::ComputePhase::Executed(executed) => ComputePhase::Executed {
                success: executed.success,
                exit_code: executed.exit_code,
                gas_used: executed.gas_used.into_inner(),
                gas_fees: amount(executed.gas_fees)?,
            },
        });
        if let Some(action) = &info.action_phase {
            self.action = Some(ActionPhase {
                success: action.success,
                result_code: action.result_code,
                actions: action.total_actions,
                skipped: action.skipped_actions,
                messages: action.messages_created,
                forward_fees: amount(action.total_fwd_fees.unwrap_or_default())?,
            });
        }
        self.aborted = info.aborted;
        self.destroyed = info.destroyed;
        self.bounced_back = matches!(info.bounce_phase, Some(tycho::BouncePhase::Executed(_)));
        Ok(())
    }

    /// What the code ended with; `None` if it did not run.
    pub fn exit_code(&self) -> Option<i32> {
        match self.compute {
            Some(ComputePhase::Executed { exit_code, .. }) => Some(exit_code),
            Some(ComputePhase::Skipped(_)) | None => None,
        }
    }

    /// Whether the message did what its sender wanted: either it was money for an account without a contract, or the code ended
    /// well and nothing of what it wanted was left out.
    pub fn succeeded(&self) -> bool {
        let received = !self.bounced_back
            && matches!(self.compute, Some(ComputePhase::Skipped(SkipReason::NoState | SkipReason::NoGas)))
            && matches!(
                self.in_message.as_ref().map(|message| &message.kind),
                Some(MessageKind::Internal { bounce: false, .. } | MessageKind::Internal { bounced: true, .. })
            );
        let executed = matches!(self.compute, Some(ComputePhase::Executed { success: true, .. }))
            && !self.aborted
            && self.action.is_some_and(|action| action.success && action.skipped == 0);
        received || executed
    }

    /// Everything it cost: [`Self::total_fees`] and the forward fees that went with its messages. `None` if that is no amount.
    pub fn all_fees(&self) -> Option<Nanoton> {
        self.out_messages.iter().try_fold(self.total_fees, |sum, message| match message.kind {
            MessageKind::Internal { forward_fee, .. } => sum.checked_add(forward_fee),
            MessageKind::ExternalIn { .. } | MessageKind::ExternalOut { .. } => Some(sum),
        })
    }
}

pub(crate) fn amount(tokens: Tokens) -> Result<Nanoton, TransactionError> {
    let tokens = tokens.into_inner();
    u64::try_from(tokens).map(Nanoton).map_err(|_| TransactionError::Amount(tokens))
}

pub(crate) fn address(address: &IntAddr) -> Result<Address, TransactionError> {
    match address {
        IntAddr::Std(standard) if standard.anycast.is_none() => {
            Ok(Address { workchain: standard.workchain, hash: standard.address.0 })
        }
        IntAddr::Std(_) | IntAddr::Var(_) => {
            Err(TransactionError::Form("an address that is not in the standard form".to_owned()))
        }
    }
}

fn status(status: tycho::AccountStatus) -> Option<AccountStatus> {
    match status {
        tycho::AccountStatus::Uninit => Some(AccountStatus::Uninitialised),
        tycho::AccountStatus::Frozen => Some(AccountStatus::Frozen),
        tycho::AccountStatus::Active => Some(AccountStatus::Active),
        tycho::AccountStatus::NotExists => None,
    }
}
