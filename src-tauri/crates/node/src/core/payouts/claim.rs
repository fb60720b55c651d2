//! What is owed, and which of it is worth fetching now.

use std::collections::BTreeMap;
use std::fmt;

use accounting::{Errand, Outgoing};
use ton::cocoon::{BodyError, SignedBody, SignedOperation, WorkerData};
use ton::{Address, CellError, Nanoton, boc};

use super::Terms;

/// What goes along with a payout to pay for three contracts' work; what is left of it comes back. A worker contract refuses 0.1 or less.
pub(super) const ATTACHED: Nanoton = Nanoton(200_000_000);

/// What a proxy has signed for one worker contract, and what it takes to cash it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which contract.
    pub worker_contract: Address,
    /// The contract that pays.
    pub proxy_contract: Address,
    /// Who is paid: the owner whom the worker contract names, whoever is paid by later ones; `None`: not known, the owner of today.
    pub owner: Option<Address>,
    /// What a token is worth there; the contract holds it to this, whatever the network asks for today.
    pub fee_per_token: Nanoton,
    /// Running total of adjusted tokens that is signed.
    pub tokens: u64,
    /// The signed payment with the paying wallet as the one that gets back what is left, a bag of cells: the message's body.
    pub body: Vec<u8>,
    /// The worker contract's code and first data, a bag of cells; sent along as long as the contract is not there. `None`: not known,
    /// and trying it out says that nothing comes of it.
    pub state_init: Option<Vec<u8>>,
}

/// How a contract of a worker or a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It is not there yet.
    #[default]
    Absent,
    /// It pays.
    Open,
    /// It pays until the delay of its network is over. A worker's contract has no such state.
    Closing,
    /// It pays no more.
    Closed,
    /// It is there and can't be read: frozen, or of a form that is not known. How much it has paid for is not known then.
    Unreadable,
}

/// A worker contract as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContractSight {
    /// How it stands.
    pub standing: Standing,
    /// Running total of adjusted tokens that it has paid for.
    pub tokens: u64,
    /// Whom it pays; `None`: it is not there yet.
    pub owner: Option<Address>,
}

/// The paying wallet as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayerSight {
    /// What is in it.
    pub balance: Nanoton,
    /// Its sequence number; `None`: its code is not there yet.
    pub seqno: Option<u32>,
    /// When that was so, Unix time in seconds of the chain's clock.
    pub unix: u32,
}

impl PayerSight {
    /// The number its next message must have.
    pub fn next_seqno(&self) -> u32 {
        self.seqno.unwrap_or(0)
    }
}

/// How things stand on the chain, all of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Time of the oldest block that an answer is of, Unix time in seconds. The chain's clock is the one that counts, not this machine's.
    pub unix: u32,
    /// The paying wallet.
    pub payer: PayerSight,
    /// Worker contracts, as they were when they were asked for last.
    pub contracts: BTreeMap<Address, ContractSight>,
    /// The contracts of the proxies that were asked for.
    pub proxies: BTreeMap<Address, Standing>,
}

impl Sight {
    /// How a proxy's contract stands; one that was not looked at is taken for open.
    fn proxy(&self, contract: &Address) -> Standing {
        self.proxies.get(contract).copied().unwrap_or(Standing::Open)
    }
}

/// What is signed and not cashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpaid {
    /// Total that the contract has paid for.
    pub from: u64,
    /// Total that is signed.
    pub to: u64,
    /// What the difference is worth; `None`: more money than there is, or a contract that was not seen or can't be read.
    pub worth: Option<Nanoton>,
}

/// Why nothing is fetched though something is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// It is less than the owner wants to fetch at once.
    Threshold {
        /// What is owed by the contract that owes most.
        owed: Nanoton,
        /// From how much on it is fetched.
        threshold: Option<Nanoton>,
    },
    /// The paying wallet can't pay the fees.
    Fees {
        /// What is in it.
        balance: Nanoton,
        /// What must be in it.
        needed: Nanoton,
    },
    /// No key on this machine can sign.
    NoWallet,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { owed, threshold: Some(threshold) } => {
                write!(f, "{owed} can be fetched; it is done by itself from {threshold} on")
            }
            Self::Threshold { owed, threshold: None } => write!(f, "{owed} can be fetched when you ask for it"),
            Self::Fees { balance, needed } => {
                write!(f, "the wallet that pays the fees has {balance} and needs {needed}, most of which comes back")
            }
            Self::NoWallet => write!(f, "no wallet on this computer can pay the fees"),
        }
    }
}

/// Why a payment can't be cashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The bag of cells is wrong.
    #[error(transparent)]
    Bag(#[from] boc::BocError),
    /// It holds no payment.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It can't be written again.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// It is for a client, or closes something.
    #[error("it is no payment to a worker")]
    Kind,
}

impl Claim {
    /// The claim of a signed payment that was checked before: what is left of the fee goes to the paying wallet. `state_init` is the
    /// worker contract's first state, a bag of cells.
    pub fn of_payment(
        payment: &[u8],
        proxy_contract: Address,
        fee_per_token: Nanoton,
        payer: Address,
        state_init: Option<Vec<u8>>,
    ) -> Result<Self, ClaimError> {
        let signed = SignedBody::from_cell(&boc::decode(payment)?)?;
        let SignedOperation::WorkerPayout(tokens) = signed.payload.operation else { return Err(ClaimError::Kind) };
        let worker_contract = signed.payload.target;
        Ok(Self {
            worker_contract,
            owner: state_init.as_deref().and_then(|init| WorkerData::owner_of(init, &worker_contract)),
            proxy_contract,
            fee_per_token,
            tokens,
            body: boc::encode(&signed.repack(payer).to_cell()?)?,
            state_init,
        })
    }

    /// What is owed, as the chain was seen.
    pub fn unpaid(&self, sight: &Sight) -> Unpaid {
        let seen = sight.contracts.get(&self.worker_contract);
        let from = seen.map_or(0, |seen| seen.tokens);
        let tokens = self.tokens.saturating_sub(from);
        let worth = match seen {
            Some(seen) if seen.standing == Standing::Closed => Some(Nanoton(0)),
            Some(seen) if seen.standing == Standing::Unreadable => None,
            // It is its proxy's contract that pays.
            Some(_) if sight.proxy(&self.proxy_contract) == Standing::Closed => Some(Nanoton(0)),
            Some(_) => self.fee_per_token.checked_mul(tokens),
            None => None,
        };
        Unpaid { from, to: self.tokens.max(from), worth }
    }

    /// The transfer that cashes it. It pays whom the contract names, whoever the owner is meanwhile; `owner` is for a contract of which
    /// neither the chain nor the ledger says it.
    pub fn payout(&self, sight: &Sight, owner: Address) -> (Errand, Outgoing) {
        let Unpaid { from, to, worth } = self.unpaid(sight);
        let seen = sight.contracts.get(&self.worker_contract);
        let absent = seen.is_none_or(|seen| seen.standing == Standing::Absent);
        let named = seen.and_then(|seen| seen.owner).or(self.owner);
        let errand = Errand::Payout {
            worker_contract: self.worker_contract,
            proxy_contract: self.proxy_contract,
            owner: Some(named.unwrap_or(owner)),
            from_tokens: from,
            to_tokens: to,
            expected: worth.unwrap_or_default(),
        };
        let outgoing = Outgoing {
            to: self.worker_contract,
            value: ATTACHED,
            everything: false,
            bounce: true,
            body: Some(self.body.clone()),
            state_init: self.state_init.clone().filter(|_| absent),
        };
        (errand, outgoing)
    }
}

/// The claim to be fetched now, of those that the owner asked for or that are worth their threshold: of a proxy whose contract is closing
/// before any other, then of the one that owes most. What a closing proxy owes can't be had later, so it is fetched below the threshold
/// too, unless the owner wants to be asked each time (`None`). `Err(None)`: nothing is owed.
pub fn choose<'a>(
    claims: impl Iterator<Item = &'a Claim>,
    sight: &Sight,
    terms: &Terms,
    is_asked_for: impl Fn(&Claim) -> bool,
) -> Result<&'a Claim, Option<Wait>> {
    let most = claims
        .filter_map(|claim| {
            let worth = claim.unpaid(sight).worth.filter(|worth| *worth > Nanoton(0))?;
            let is_last_chance = sight.proxy(&claim.proxy_contract) == Standing::Closing;
            let is_worth_it = terms.threshold.is_some_and(|threshold| is_last_chance || worth >= threshold);
            Some((is_worth_it || is_asked_for(claim), is_last_chance, worth, claim))
        })
        .max_by_key(|(is_due, is_last_chance, worth, claim)| (*is_due, *is_last_chance, *worth, claim.worker_contract));
    let Some((is_due, _, owed, claim)) = most else { return Err(None) };
    if !is_due {
        return Err(Some(Wait::Threshold { owed, threshold: terms.threshold }));
    }
    if terms.payer.is_none() {
        return Err(Some(Wait::NoWallet));
    }
    let needed = Nanoton(ATTACHED.0.saturating_add(terms.reserve.0));
    if sight.payer.balance < needed {
        return Err(Some(Wait::Fees { balance: sight.payer.balance, needed }));
    }
    Ok(claim)
}
