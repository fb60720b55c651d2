//! What worker and client check alike when a proxy introduces itself, and what they remember of it.

use accounting::signed_payment::{PaymentKind, SignedPayment};
use ton::{Address, AddressText, RootConfig};

use crate::{HandshakeFault, PaymentFault, VERSIONS};

/// Bits of `flags` in the parameters: test mode and counts are there; versions are there.
pub(crate) const FLAG_TEST_MODE: u32 = 1;
pub(crate) const FLAG_VERSIONS: u32 = 2;

/// The proxy as it introduced itself, checked.
pub(crate) struct Introduction {
    pub(crate) public_key: [u8; 32],
    pub(crate) owner: Address,
    pub(crate) proxy_contract: Address,
    pub(crate) version: i32,
}

/// Reads and checks a proxy's parameters.
pub(crate) fn introduction(
    params: &tl::proxy::Params,
    is_test: bool,
    is_testnet: bool,
    root: &RootConfig,
    root_contract: &Address,
) -> Result<Introduction, HandshakeFault> {
    if params.flags & (FLAG_TEST_MODE | FLAG_VERSIONS) == 0 {
        return Err(HandshakeFault::TooOld);
    }
    if params.is_test.unwrap_or(false) != is_test {
        return Err(HandshakeFault::TestMode);
    }
    let version = params.proto_version.unwrap_or(0);
    if !(VERSIONS.0..=VERSIONS.1).contains(&version) {
        return Err(HandshakeFault::Version);
    }
    let owner = AddressText::parse(&params.proxy_owner_address).map_err(|_| HandshakeFault::Address)?.address;
    let proxy_contract = root.proxy_contract(&owner, &params.proxy_public_key, root_contract);
    same_contract(&params.proxy_sc_address, &proxy_contract, is_testnet)?;
    Ok(Introduction { public_key: params.proxy_public_key, owner, proxy_contract, version })
}

/// Contract addresses must come in the form that the genuine programs write, or genuine peers would refuse us for passing them on.
pub(crate) fn same_contract(text: &str, wanted: &Address, is_testnet: bool) -> Result<(), HandshakeFault> {
    let read = AddressText::parse(text).map_err(|_| HandshakeFault::Address)?;
    if read.address == *wanted && !read.bounceable && read.testnet == is_testnet {
        Ok(())
    } else {
        Err(HandshakeFault::Contract)
    }
}

/// An address as the genuine programs write it: non-bounceable.
pub(crate) fn text(address: &Address, is_testnet: bool) -> String {
    AddressText { address: *address, bounceable: false, testnet: is_testnet }.to_text()
}

/// Running totals of one account, in adjusted tokens. All of them only grow while a proxy keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Covered by the best signed payment.
    pub signed: u64,
    /// Written to the proxy's database.
    pub stored: i64,
    /// Known to the proxy.
    pub known: i64,
}

/// A payment as it was received and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentReport {
    /// Bag of cells of the outer cell.
    pub boc: Vec<u8>,
    /// Running total of adjusted tokens that it covers.
    pub tokens: u64,
    /// Running total in the proxy's database.
    pub db_tokens: i64,
    /// Running total that the proxy knows of.
    pub max_tokens: i64,
    /// The request it closes and the adjusted tokens charged for it.
    pub request: Option<([u8; 32], i64)>,
}

/// Whom payments must be signed by and made out to.
pub(crate) struct Payee {
    pub(crate) kind: PaymentKind,
    pub(crate) proxy_key: [u8; 32],
    pub(crate) contract: Address,
}

impl Payee {
    /// Checks a payment by itself; yields its bag of cells and its total.
    pub(crate) fn verify(&self, payment: tl::proxy::SignedPayment) -> Result<(Vec<u8>, u64), PaymentFault> {
        let data = match payment {
            tl::proxy::SignedPayment::Payment { data } => data,
            tl::proxy::SignedPayment::Empty => return Err(PaymentFault::Missing),
        };
        let parsed = SignedPayment::from_boc(&data).map_err(|_| PaymentFault::Invalid)?;
        if parsed.kind != self.kind {
            return Err(PaymentFault::Invalid);
        }
        let tokens = parsed.verify(&self.proxy_key, &self.contract).map_err(|_| PaymentFault::Invalid)?;
        Ok((data, tokens))
    }
}

/// What came with a payment.
pub(crate) struct Statement {
    pub(crate) payment: tl::proxy::SignedPayment,
    pub(crate) stored: i64,
    pub(crate) known: i64,
    pub(crate) request: Option<([u8; 32], i64)>,
}

impl Totals {
    /// Takes a statement in if it verifies and no total went down; `None` otherwise changed nothing.
    pub(crate) fn advance(&mut self, statement: Statement, payee: &Payee) -> Result<PaymentReport, PaymentFault> {
        let (boc, tokens) = payee.verify(statement.payment)?;
        if tokens < self.signed || statement.stored < self.stored || statement.known < self.known {
            return Err(PaymentFault::WentDown);
        }
        self.signed = tokens;
        self.stored = statement.stored;
        self.known = statement.known;
        Ok(PaymentReport {
            boc,
            tokens,
            db_tokens: statement.stored,
            max_tokens: statement.known,
            request: statement.request,
        })
    }
}
