//! Messages: from contract to contract, and from outside to a contract.
//!
//! ```text
//! internal: 0 | ihr off 1 | bounce | bounced | source | destination | value | extra currencies | two fees | lt u64 | time u32
//! external: 10 | no source 00 | destination | import fee
//! both:     initial state: absent 0, in place 10, in a reference 11 | body: in place 0, in a reference 1
//! ```
//!
//! Both choices between place and reference are made as `@ton/core` makes them, so that hashes are equal; readers take either.
//! Source of the layout: TON's `block.tlb`.

use crate::{Address, Cell, CellBuilder, CellError, CellSlice, Nanoton, StateInit};

/// How a contract sends a message: TON's send mode, a sum of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SendMode(pub u8);

impl SendMode {
    /// The value is what leaves; fees are taken from it.
    pub const ORDINARY: Self = Self(0);
    /// Fees are paid from the balance, not from the value.
    pub const PAY_FEES_SEPARATELY: Self = Self(1);
    /// A message that can't be sent is left out, and the others go.
    pub const IGNORE_ERRORS: Self = Self(2);
    /// The whole balance leaves, whatever the value says.
    pub const CARRY_ALL_BALANCE: Self = Self(128);
    /// What wallets use for an ordinary transfer.
    pub const TRANSFER: Self = Self(3);
    /// What wallets use to send all they have.
    pub const SEND_ALL: Self = Self(130);

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of the other are in this one.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A message from one contract to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalMessage {
    /// Whether the money shall come back if the receiver fails or does not exist.
    pub bounce: bool,
    /// Whether it is such a return.
    pub bounced: bool,
    /// Who sends it; `None` before it is sent, when the chain fills it in.
    pub source: Option<Address>,
    /// Who gets it.
    pub destination: Address,
    /// How much money it carries.
    pub value: Nanoton,
    /// What the receiver begins as, if it does not exist yet.
    pub init: Option<StateInit>,
    /// What it says.
    pub body: Cell,
    /// What the chain fills in when it is sent; zeros before.
    pub stamp: Stamp,
}

/// What the chain fills into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The fee of instant routing, which nobody uses.
    pub ihr_fee: Nanoton,
    /// What is left of the forwarding fee.
    pub forward_fee: Nanoton,
    /// Logical time.
    pub created_lt: u64,
    /// Unix seconds.
    pub created_at: u32,
}

impl InternalMessage {
    /// A message to be sent, without initial state.
    pub fn new(destination: Address, bounce: bool, value: Nanoton, body: Cell) -> Self {
        let (source, init, stamp) = (None, None, Stamp::default());
        Self { bounce, bounced: false, source, destination, value, init, body, stamp }
    }

    /// The same message with what the receiver begins as.
    #[must_use]
    pub fn with_init(mut self, init: StateInit) -> Self {
        self.init = Some(init);
        self
    }

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let builder = CellBuilder::new()
            .uint(0b01, 2)
            .uint(u64::from(self.bounce), 1)
            .uint(u64::from(self.bounced), 1)
            .maybe_address(self.source.as_ref())
            .address(&self.destination)
            .amount(self.value)
            .uint(0, 1)
            .amount(self.stamp.ihr_fee)
            .amount(self.stamp.forward_fee)
            .uint(self.stamp.created_lt, 64)
            .uint(u64::from(self.stamp.created_at), 32);
        finish(builder, self.init.as_ref(), &self.body, 0)
    }
}

/// A message from outside: what wallets are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalMessage {
    /// Who gets it.
    pub destination: Address,
    /// What the receiver begins as, if it does not exist yet.
    pub init: Option<StateInit>,
    /// What it says.
    pub body: Cell,
}

impl ExternalMessage {
    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let builder = CellBuilder::new().uint(0b1000, 4).address(&self.destination).amount(Nanoton(0));
        // A body beside the initial state is given room before that is.
        finish(builder, self.init.as_ref(), &self.body, self.body.bits())
    }

    /// The hash by which a message is followed whatever form it was sent in (TEP-467): without initial state and fee, the body
    /// in a reference.
    pub fn normalized_hash(&self) -> Result<[u8; 32], CellError> {
        let builder = CellBuilder::new().uint(0b1000, 4).address(&self.destination).amount(Nanoton(0));
        Ok(builder.uint(0b01, 2).reference(self.body.clone()).build()?.hash())
    }
}

/// A message as it is read from a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From a contract to a contract.
    Internal(InternalMessage),
    /// From outside to a contract.
    External(ExternalMessage),
    /// From a contract to outside: a note for whoever looks.
    Outgoing {
        /// Who sends it.
        source: Address,
        /// What it says.
        body: Cell,
    },
}

impl Message {
    /// Reads a message. Only standard addresses are read; other currencies are passed over.
    pub fn from_cell(cell: &Cell) -> Result<Self, CellError> {
        let mut slice = cell.slice()?;
        if !slice.bit()? {
            return read_internal(&mut slice).map(Self::Internal);
        }
        if slice.bit()? {
            let source = slice.address()?;
            if slice.uint(2)? != 0 {
                return Err(CellError::Form { of: "receiver outside" });
            }
            slice.uint(64)?;
            slice.uint(32)?;
            let (_, body) = read_rest(&mut slice)?;
            return Ok(Self::Outgoing { source, body });
        }
        if slice.uint(2)? != 0 {
            return Err(CellError::Form { of: "sender outside" });
        }
        let destination = slice.address()?;
        slice.amount()?;
        let (init, body) = read_rest(&mut slice)?;
        Ok(Self::External(ExternalMessage { destination, init, body }))
    }
}

fn read_internal(slice: &mut CellSlice<'_>) -> Result<InternalMessage, CellError> {
    slice.bit()?;
    let (bounce, bounced) = (slice.bit()?, slice.bit()?);
    let source = slice.maybe_address()?;
    let destination = slice.address()?;
    let value = slice.amount()?;
    slice.maybe_reference()?;
    let (ihr_fee, forward_fee) = (slice.amount()?, slice.amount()?);
    let (created_lt, created_at) = (slice.uint(64)?, slice.uint(32)? as u32);
    let stamp = Stamp { ihr_fee, forward_fee, created_lt, created_at };
    let (init, body) = read_rest(slice)?;
    Ok(InternalMessage { bounce, bounced, source, destination, value, init, body, stamp })
}

fn read_rest(slice: &mut CellSlice<'_>) -> Result<(Option<StateInit>, Cell), CellError> {
    let init = match (slice.bit()?, &mut *slice) {
        (false, _) => None,
        (true, slice) => {
            let in_reference = slice.bit()?;
            Some(if in_reference { StateInit::from_cell(slice.reference()?)? } else { StateInit::read(slice)? })
        }
    };
    if !slice.bit()? {
        return Ok((init, slice.rest()?));
    }
    let body = slice.reference()?.clone();
    slice.end()?;
    Ok((init, body))
}

/// Appends initial state and body. `beside` is how many bits must stay free when the initial state stands in place.
fn finish(mut builder: CellBuilder, init: Option<&StateInit>, body: &Cell, beside: usize) -> Result<Cell, CellError> {
    builder = builder.uint(u64::from(init.is_some()), 1);
    if let Some(init) = init {
        let cell = init.to_cell()?;
        // Two bits are needed at least, for the two choices.
        let fits = builder.bits_left().checked_sub(2).is_some_and(|left| left >= cell.bits() + beside);
        builder = if fits { builder.uint(0, 1).inline(&cell) } else { builder.uint(1, 1).reference(cell) };
    }
    let fits = builder.bits_left().checked_sub(1).is_some_and(|left| left >= body.bits());
    let fits = fits && body.refs().len() <= builder.refs_left() && !body.is_opaque();
    builder = if fits { builder.uint(0, 1).inline(body) } else { builder.uint(1, 1).reference(body.clone()) };
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bits: usize, refs: usize) -> Cell {
        let builder = (0..bits).fold(CellBuilder::new(), |builder, bit| builder.uint(bit as u64 % 2, 1));
        (0..refs).fold(builder, |builder, _| builder.reference(Cell::empty())).build().unwrap()
    }

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    #[test]
    fn messages_of_every_shape_are_read_as_they_were_written() {
        let init = StateInit { code: body(7, 1), data: body(9, 0) };
        for bits in [0, 1, 400, 600, 700, 800, 1_023] {
            for refs in 0..=4 {
                for init in [None, Some(init.clone())] {
                    let mut message = InternalMessage::new(address(1), bits % 2 == 0, Nanoton(5), body(bits, refs));
                    message.init = init.clone();
                    let cell = message.to_cell().unwrap();
                    assert_eq!(Message::from_cell(&cell), Ok(Message::Internal(message.clone())));
                    message.source = Some(address(2));
                    message.stamp =
                        Stamp { ihr_fee: Nanoton(0), forward_fee: Nanoton(266_669), created_lt: 7, created_at: 9 };
                    message.bounced = true;
                    let cell = message.to_cell().unwrap();
                    assert_eq!(Message::from_cell(&cell), Ok(Message::Internal(message)));
                    let message = ExternalMessage { destination: address(3), init, body: body(bits, refs) };
                    let cell = message.to_cell().unwrap();
                    assert_eq!(Message::from_cell(&cell), Ok(Message::External(message)));
                }
            }
        }
    }

    #[test]
    fn the_normalised_hash_knows_neither_initial_state_nor_layout() {
        let init = StateInit { code: Cell::empty(), data: Cell::empty() };
        let bare = ExternalMessage { destination: address(3), init: None, body: body(300, 2) };
        let full = ExternalMessage { init: Some(init), ..bare.clone() };
        assert_ne!(bare.to_cell(), full.to_cell());
        assert_eq!(bare.normalized_hash(), full.normalized_hash());
        let other = ExternalMessage { body: body(301, 2), ..bare.clone() };
        assert_ne!(bare.normalized_hash(), other.normalized_hash());
    }

    #[test]
    fn notes_for_the_outside_are_read_and_foreign_forms_refused() {
        let note = |kind: u64| {
            CellBuilder::new()
                .uint(kind, 2)
                .address(&address(4))
                .uint(0, 2)
                .uint(1, 64)
                .uint(2, 32)
                .uint(0, 2)
                .uint(9, 8)
        };
        let read = Message::from_cell(&note(0b11).build().unwrap());
        let said = CellBuilder::new().uint(9, 8).build().unwrap();
        assert_eq!(read, Ok(Message::Outgoing { source: address(4), body: said }));
        assert!(Message::from_cell(&note(0b10).build().unwrap()).is_err());
        assert!(Message::from_cell(&Cell::empty()).is_err());
        // Something behind a body that stands in a reference.
        let message = CellBuilder::new().uint(0b1000, 4).address(&address(3)).uint(0, 4).uint(0b01, 2);
        let message = message.reference(Cell::empty()).uint(1, 1).build().unwrap();
        assert_eq!(Message::from_cell(&message), Err(CellError::LeftOver { bits: 1, refs: 0 }));
    }

    #[test]
    fn modes_are_sums_of_flags() {
        assert_eq!(SendMode::PAY_FEES_SEPARATELY.with(SendMode::IGNORE_ERRORS), SendMode::TRANSFER);
        assert_eq!(SendMode::CARRY_ALL_BALANCE.with(SendMode::IGNORE_ERRORS), SendMode::SEND_ALL);
        assert!(SendMode::SEND_ALL.has(SendMode::CARRY_ALL_BALANCE));
        assert!(!SendMode::TRANSFER.has(SendMode::CARRY_ALL_BALANCE));
    }
}
