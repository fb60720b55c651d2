//! A proxy's signed word about how many adjusted tokens it owes a worker, or a client owes it: a running total.
//!
//! It is the part of [`ton::cocoon::SignedBody`] that is about tokens and goes over the wire: cells, codes and signed part are that one's.
//! The signature is Ed25519 by the proxy's payment key over the hash of the signed cell.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ton::boc::{self, BocError};
use ton::cocoon::{BodyError, Op, SignedBody, SignedOperation, SignedPayload};
use ton::{Address, Cell, CellError};

/// Longest bag of cells that can hold a payment, with room to spare.
const MAX_BYTES: usize = 4 * 1024;

/// Whose payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentKind {
    /// What a worker has earned.
    Worker,
    /// What a client has used.
    Client,
}

impl PaymentKind {
    /// The operation's code, the first 32 bits of both cells.
    pub const fn code(self) -> u32 {
        self.operation(0).op().code()
    }

    /// What is signed for so many tokens.
    const fn operation(self, tokens: u64) -> SignedOperation {
        match self {
            Self::Worker => SignedOperation::WorkerPayout(tokens),
            Self::Client => SignedOperation::ClientCharge(tokens),
        }
    }
}

/// Why bytes are no payment, or a payment is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// More bytes than a payment can have.
    #[error("{length} bytes are more than a payment can have")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// The bag of cells is wrong.
    #[error(transparent)]
    Bag(#[from] BocError),
    /// A cell does not hold what it should.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Something else that a proxy signs.
    #[error("operation {op:?} is no payment")]
    Kind {
        /// What it is.
        op: Op,
    },
    /// It is for another contract.
    #[error("the payment is for another contract, {target}")]
    Target {
        /// The contract it is for.
        target: Address,
    },
    /// The signature is not by this key over this content.
    #[error("the signature is wrong")]
    Signature,
}

/// A running total that is lower than one seen before. It is worth nothing: the higher one can be presented at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a running total of {offered} tokens is below the {highest} signed before")]
pub struct Decreased {
    /// Highest total so far.
    pub highest: u64,
    /// The total that was offered.
    pub offered: u64,
}

/// The highest total signed for one contract. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunningTotal(Option<u64>);

impl RunningTotal {
    /// Goes on from what is remembered; `None` if nothing was signed yet.
    pub const fn new(highest: Option<u64>) -> Self {
        Self(highest)
    }

    /// The highest total so far; `None` if nothing was signed yet.
    pub const fn highest(self) -> Option<u64> {
        self.0
    }

    /// Takes the total of a verified payment and says by how much it rose: 0 for the same one again.
    pub const fn rise(&mut self, offered: u64) -> Result<u64, Decreased> {
        let highest = match self.0 {
            Some(highest) => highest,
            None => 0,
        };
        match offered.checked_sub(highest) {
            Some(rise) => {
                self.0 = Some(offered);
                Ok(rise)
            }
            None => Err(Decreased { highest, offered }),
        }
    }
}

/// A payment before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsignedPayment {
    /// Whose.
    pub kind: PaymentKind,
    /// Random.
    pub query_id: u64,
    /// Running total of adjusted tokens.
    pub tokens: u64,
    /// Contract of the worker or client.
    pub target: Address,
    /// Who gets what is left of the fee when it is presented to the chain.
    pub excess: Address,
}

impl UnsignedPayment {
    /// Signs it with a proxy's payment key.
    pub fn sign(&self, key: &SigningKey) -> SignedPayment {
        let Self { kind, query_id, tokens, target, excess } = *self;
        let unsigned = SignedPayment { kind, query_id, tokens, target, excess, signature: [0; 64] };
        SignedPayment { signature: key.sign(&sound(unsigned.body().payload.to_cell()).hash()).to_bytes(), ..unsigned }
    }
}

/// A signed payment as it was read. Only [`Self::verify`] says whether it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedPayment {
    /// Whose.
    pub kind: PaymentKind,
    /// The proxy's number of it.
    pub query_id: u64,
    /// Running total of adjusted tokens.
    pub tokens: u64,
    /// Contract of the worker or client.
    pub target: Address,
    /// Who gets what is left of the fee. Not signed.
    pub excess: Address,
    /// Ed25519 over the hash of the inner cell.
    pub signature: [u8; 64],
}

impl SignedPayment {
    /// Reads the bag of cells that a proxy sends. Nothing may be left over anywhere.
    pub fn from_boc(bytes: &[u8]) -> Result<Self, PaymentError> {
        if bytes.len() > MAX_BYTES {
            return Err(PaymentError::TooLong { length: bytes.len() });
        }
        let SignedBody { payload, excess, signature } = SignedBody::from_cell(&boc::decode(bytes)?)?;
        let SignedPayload { operation, query_id, target } = payload;
        let (kind, tokens) = match operation {
            SignedOperation::WorkerPayout(tokens) => (PaymentKind::Worker, tokens),
            SignedOperation::ClientCharge(tokens) => (PaymentKind::Client, tokens),
            other => return Err(PaymentError::Kind { op: other.op() }),
        };
        Ok(Self { kind, query_id, tokens, target, excess, signature })
    }

    /// The bag of cells, as the genuine programs write it.
    pub fn to_boc(&self) -> Vec<u8> {
        boc::encode(&sound(self.body().to_cell())).unwrap_or_default()
    }

    /// The same as a contract is told it.
    pub fn body(&self) -> SignedBody {
        let Self { kind, query_id, tokens, target, excess, signature } = *self;
        SignedBody { payload: SignedPayload { operation: kind.operation(tokens), query_id, target }, excess, signature }
    }

    /// The running total, if the payment is for this contract and signed with this key. Keys of small order, under which
    /// signatures fit any content, are refused.
    pub fn verify(&self, key: &[u8; 32], target: &Address) -> Result<u64, PaymentError> {
        if self.target != *target {
            return Err(PaymentError::Target { target: self.target });
        }
        if is_signed_by(&sound(self.body().payload.to_cell()).hash(), &self.signature, key) {
            Ok(self.tokens)
        } else {
            Err(PaymentError::Signature)
        }
    }

    /// The same payment with another receiver of what is left of the fee: that is not signed, so whoever presents it names itself.
    #[must_use]
    pub fn repack(&self, excess: Address) -> Self {
        Self { excess, ..*self }
    }
}

/// Whether a signature over a cell's hash is by this key. Keys of small order are nobody's.
pub fn is_signed_by(hash: &[u8; 32], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(hash, &Signature::from_bytes(signature)).is_ok())
}

/// 427 and 875 bits fit into a cell.
fn sound(built: Result<Cell, CellError>) -> Cell {
    built.unwrap_or_else(|_| Cell::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ton::{AddressText, CellBuilder};

    const DOCUMENTED: &str = "b5ee9c720101020100a90001dba040ad2801020304050607088002e34ad0278342595f291a3820c55e978049cbde922b93153380ccc585426a643eeb7f84ef7d400023861f5c3415db5ce862ee043c7ce2435d4be266cd0735cc64d4aeac00fe789ce65e4dc8a89e7e26dfeade8a55a1c86f213f3fe17ed64ae19001006ba040ad280102030405060708000000000012d68780196c0d0a239b52f55c52e4b59d91980a8a42bdb333f9b44dc6ff7f6676d3079a30";
    /// Seed of the recorded proxy's key, published in the reference implementation's test configuration.
    const SEED: &str = "9a5fbbc442ee390b5fa7dabd9925ad1e2496c79692055ea9df109fc0f9873b06";

    fn key() -> SigningKey {
        let seed: Vec<u8> = hex::decode(SEED).unwrap();
        SigningKey::from_bytes(&seed.try_into().unwrap())
    }

    fn address(text: &str) -> Address {
        AddressText::parse(text).unwrap().address
    }

    fn documented() -> UnsignedPayment {
        UnsignedPayment {
            kind: PaymentKind::Worker,
            query_id: 0x0102_0304_0506_0708,
            tokens: 1_234_567,
            target: address("UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO"),
            excess: address("UQAXGlaBPBoSyvlI0cEGKvS8Ak5e9JFcmKmcBmYsKhNTIdbG"),
        }
    }

    #[test]
    fn the_documented_payment_is_built_byte_for_byte() {
        assert_eq!(hex::encode(documented().sign(&key()).to_boc()), DOCUMENTED);
    }

    #[test]
    fn the_documented_payment_is_read_and_good() {
        let payment = SignedPayment::from_boc(&hex::decode(DOCUMENTED).unwrap()).unwrap();
        let key = key().verifying_key().to_bytes();
        assert_eq!(payment.verify(&key, &documented().target), Ok(1_234_567));
        let other = documented().excess;
        assert_eq!(payment.verify(&key, &other), Err(PaymentError::Target { target: documented().target }));
        assert_eq!(payment.verify(&[3; 32], &documented().target), Err(PaymentError::Signature));
        let repacked = payment.repack(documented().target);
        assert_eq!(
            repacked.verify(&key, &documented().target),
            Ok(1_234_567),
            "the receiver of the rest is not signed"
        );
        for changed in [
            SignedPayment { tokens: 1_234_568, ..payment },
            SignedPayment { query_id: 1, ..payment },
            SignedPayment { kind: PaymentKind::Client, ..payment },
        ] {
            assert_eq!(changed.verify(&key, &documented().target), Err(PaymentError::Signature));
        }
    }

    #[test]
    fn every_recorded_payment_is_read_verified_and_written_byte_for_byte() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/cocoon/74_signed_payments.json");
        let recorded: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let key = key().verifying_key().to_bytes();
        let mut seen = 0;
        for entry in recorded.as_array().unwrap() {
            let bytes = hex::decode(entry["boc_hex"].as_str().unwrap()).unwrap();
            let payment = SignedPayment::from_boc(&bytes).unwrap();
            assert_eq!(payment.to_boc(), bytes);
            assert_eq!(payment.verify(&key, &payment.target), Ok(payment.tokens));
            seen += 1;
        }
        assert!(seen > 5, "only {seen} payments were read");
    }

    #[test]
    fn a_running_total_never_falls() {
        let mut total = RunningTotal::default();
        assert_eq!(total.highest(), None);
        assert_eq!(total.rise(0), Ok(0));
        assert_eq!((total.rise(134), total.rise(134)), (Ok(134), Ok(0)));
        assert_eq!(total.rise(133), Err(Decreased { highest: 134, offered: 133 }));
        assert_eq!(total.highest(), Some(134), "a refused total changes nothing");
        assert_eq!(RunningTotal::new(Some(5)).rise(u64::MAX), Ok(u64::MAX - 5));
    }

    #[test]
    fn a_payment_with_any_bit_changed_is_refused_or_pays_the_same() {
        let bytes = documented().sign(&key()).to_boc();
        let (key, target) = (key().verifying_key().to_bytes(), documented().target);
        let mut same = 0;
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 0x80 >> (bit % 8);
            let Ok(payment) = SignedPayment::from_boc(&changed) else { continue };
            let Ok(tokens) = payment.verify(&key, &target) else { continue };
            // Only the receiver of the rest is not signed: it does not change what is paid, nor to whom.
            let original = SignedPayment::from_boc(&bytes).unwrap();
            assert_eq!((tokens, payment.repack(original.excess)), (original.tokens, original), "bit {bit}");
            assert_ne!(payment.excess, original.excess, "bit {bit}");
            same += 1;
        }
        assert_eq!(same, 8 + 256, "workchain and hash of the receiver");
    }

    #[test]
    fn a_payment_whose_parts_disagree_or_hold_more_is_refused() {
        let inner = |kind: u64, rest: u64| {
            CellBuilder::new()
                .uint(kind, 32)
                .uint(5, 64)
                .uint(9, 64)
                .address(&documented().target)
                .uint(0, rest as usize)
        };
        let outer = |inner: CellBuilder| {
            let cell = CellBuilder::new().uint(0xa040_ad28, 32).uint(5, 64).address(&documented().excess);
            let cell = cell.bytes(&[0; 64]).reference(inner.build().unwrap()).build().unwrap();
            SignedPayment::from_boc(&boc::encode(&cell).unwrap()).unwrap_err()
        };
        assert_eq!(outer(inner(0xbb63_ff93, 0)), PaymentError::Body(BodyError::Envelope));
        let more = BodyError::Cell(CellError::LeftOver { bits: 1, refs: 0 });
        assert_eq!(outer(inner(0xa040_ad28, 1)), PaymentError::Body(more));
        let last = SignedPayload {
            operation: SignedOperation::WorkerLastPayout(9),
            ..documented().sign(&key()).body().payload
        };
        let last = SignedBody { payload: last, ..documented().sign(&key()).body() }.to_cell().unwrap();
        let last = SignedPayment::from_boc(&boc::encode(&last).unwrap());
        assert_eq!(last, Err(PaymentError::Kind { op: Op::WorkerLastPayoutSigned }));
        let strange = CellBuilder::new().uint(7, 32).uint(5, 64).build().unwrap();
        let strange = SignedPayment::from_boc(&boc::encode(&strange).unwrap());
        assert!(matches!(strange, Err(PaymentError::Body(BodyError::Cell(_)))), "{strange:?}");
        assert_eq!(SignedPayment::from_boc(&[0; 5_000]), Err(PaymentError::TooLong { length: 5_000 }));
    }
}
