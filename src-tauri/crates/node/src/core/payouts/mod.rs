//! How signed tokens become money in the owner's wallet: exactly once, nothing forgotten. Pure: inputs and time in, effects out.
//!
//! A proxy signs a running total; the worker contract remembers how much of it was cashed. So a payout that is asked for twice pays
//! nothing twice, and the chain, not this file, knows what is still owed.
//!
//! Walk-through of one payout: [`Effect::Look`] asks the chain how things stand; [`choose`] picks a [`Claim`] that is worth its fee;
//! the [`Transfer`] is written down ([`Stage::Planned`]), tried on a copy of the chain ([`Effect::Emulate`]), signed, written down
//! again with the signed bytes ([`Stage::Signed`]) and only then sent. From then on the same bytes are sent again until the wallet's
//! sequence number moves, or the chain's own clock is past their time. What came of it is read from the whole trace
//! ([`Effect::Trace`]): paid is only what the proxy's contract sent to the owner.
//!
//! There is one transfer in flight for one wallet, payouts and the owner's own sending alike: both use the same sequence numbers.
//!
//! Each effect but [`Effect::Log`] and [`Effect::Publish`] is answered by exactly one input. After a crash the core is built anew from
//! the rows of the ledger: a planned transfer was never signed and is dropped, a signed one is sent again as it is.

mod claim;
mod clock;
mod judge;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use accounting::{Errand, Forecast, Outcome, Outgoing, SignedMessage, Stage, Transfer, TransferId};
use link::message::LogLevel;
use ton::{Address, Nanoton};

use super::Now;
use super::backoff::Backoff;
pub use claim::{Claim, ClaimError, ContractSight, PayerSight, Sight, Standing, Wait, choose};
use clock::{Clock, Time};
pub use judge::{Sought, Trace, Verdict};

/// Longest time that passes on the chain while it is looked at, in seconds.
const LONGEST_LOOK_SECONDS: u32 = 600;
/// Between two looks at the chain while nothing is under way.
const LOOK_IDLE: Duration = Duration::from_mins(1);
/// And while a message is.
const LOOK_BUSY: Duration = Duration::from_secs(4);
/// Contracts that owe nothing are looked at again after so long: endpoints answer slowly, and there may be many of them.
const LOOK_WHOLE: Duration = Duration::from_hours(1);
/// The same bytes are sent again after so long.
const RESEND: Duration = Duration::from_secs(15);
/// A message is good for so many seconds of the chain's clock.
const VALID_SECONDS: u32 = 120;
/// The chain must be so many seconds past a message's time before it is given up: endpoints answer from older blocks.
const MARGIN_SECONDS: u32 = 60;
/// So often a moved sequence number must come without our message before somebody else's is believed to have taken it.
const MISSES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// What does not change by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who is paid, where neither a worker contract nor its row says it: what an earlier owner's contracts still owe goes to that one.
    pub owner: Address,
    /// The wallet that sends and pays the fees; `None`: no key on this machine can sign.
    pub payer: Option<Address>,
    /// From how much on a claim is cashed by itself; `None`: only when the owner asks.
    pub threshold: Option<Nanoton>,
    /// What must stay in the paying wallet.
    pub reserve: Nanoton,
}

/// The owner's word that money is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Tells the answer to it from others.
    pub number: u64,
    /// What is to be sent.
    pub outgoing: Outgoing,
    /// What is not begun within so long is not begun any more.
    pub within: Duration,
}

/// Why money that the owner wanted to send was not sent, and will not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// No key on this machine can sign.
    #[error("no wallet on this computer can sign")]
    NoWallet,
    /// A wallet has one transfer on its way at a time.
    #[error("another transfer of this wallet is on its way")]
    UnderWay,
    /// It could not be begun in time.
    #[error("it could not be begun in time, so it is not sent{}{}", if why.is_empty() { "" } else { ": " }, why)]
    TooLate {
        /// What was in the way, or nothing if that is not known.
        why: String,
    },
    /// Whoever should have done it has ended.
    #[error("the cashier has ended before it began")]
    Ended,
}

/// Everything that can happen to payouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed; see [`Payouts::next_deadline`].
    Tick,
    /// A proxy signed, or the ledger remembers that it did.
    Signed(Box<Claim>),
    /// The owner wants what is there now.
    TakeNow,
    /// The owner sends money; answered by [`Effect::Begun`] or [`Effect::Refused`].
    Send(Box<Order>),
    /// The owner changed the terms.
    TermsAre(Terms),
    /// How things stand on the chain.
    Seen(Box<Sight>),
    /// The chain could not be asked.
    NotSeen {
        /// What was in the way.
        why: String,
    },
    /// A transfer's row is on the disk.
    Recorded {
        /// Which.
        id: TransferId,
    },
    /// It is not.
    NotRecorded {
        /// Which.
        id: TransferId,
        /// What the ledger said.
        why: String,
    },
    /// What the transfer would do.
    Emulated {
        /// Which.
        id: TransferId,
        /// What came out; or why it could not be tried.
        forecast: Result<Forecast, String>,
    },
    /// The wallet signed.
    MessageSigned {
        /// Which.
        id: TransferId,
        /// What is to be sent; or why the wallet does not sign, in words for the owner.
        message: Result<SignedMessage, String>,
    },
    /// The chain took the bytes, or not. Neither says that they landed: an endpoint may take them and fail to say so.
    Sent {
        /// Which.
        id: TransferId,
        /// What the endpoint said, if it did not take them.
        refused: Option<String>,
    },
    /// What became of the message.
    Traced {
        /// Which.
        id: TransferId,
        /// What was found; or why nothing could be asked.
        trace: Result<Sought, String>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the chain for the paying wallet and these contracts.
    Look {
        /// The wallet.
        payer: Address,
        /// The worker contracts.
        contracts: Vec<Address>,
        /// The contracts of their proxies.
        proxies: Vec<Address>,
    },
    /// Write the transfer's row down as it is now; rows of the same id are replaced.
    Record(Box<Transfer>),
    /// Try it on a copy of the chain, without a signature.
    Emulate {
        /// Which.
        id: TransferId,
        /// The wallet.
        payer: Address,
        /// Whom the payout pays; `None`: it is no payout.
        owner: Option<Address>,
        /// What it sends.
        outgoing: Box<Outgoing>,
        /// Under which number.
        seqno: u32,
        /// Until when, Unix time in seconds of the chain's clock.
        valid_until: u32,
    },
    /// Sign it.
    Sign {
        /// Which.
        id: TransferId,
        /// What the wallet sends.
        outgoing: Box<Outgoing>,
        /// Under which number; 0 brings the wallet's code along.
        seqno: u32,
        /// Until when.
        valid_until: u32,
    },
    /// Give these bytes to the chain.
    Send {
        /// Which.
        id: TransferId,
        /// The external message as a bag of cells.
        boc: Vec<u8>,
    },
    /// Find the message in the wallet's history and follow everything it caused.
    Trace {
        /// Which.
        id: TransferId,
        /// The wallet.
        payer: Address,
        /// It can't have landed before that, Unix time in seconds of the chain's clock.
        since: u32,
        /// The message's normalised hash (TEP-467).
        hash: [u8; 32],
    },
    /// The owner's sending has begun: it is written down.
    Begun {
        /// Which order.
        number: u64,
        /// Under which number it is written down.
        id: TransferId,
    },
    /// The owner's sending is not begun and will not be.
    Refused {
        /// Which order.
        number: u64,
        /// Why.
        why: NotSent,
    },
    /// Say something to whoever reads the log.
    Log {
        /// How serious.
        level: LogLevel,
        /// What.
        message: String,
    },
    /// [`Payouts::shown`] has changed.
    Publish,
}

/// What the ledger remembered.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// The best payment of each worker contract.
    pub claims: Vec<Claim>,
    /// Transfers that had not ended.
    pub open: Vec<Transfer>,
    /// The highest number a transfer ever had.
    pub last: Option<TransferId>,
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Signed and not cashed, as far as the chain was seen; `None`: it was not seen yet.
    pub unpaid: Option<Nanoton>,
    /// What is on its way.
    pub in_flight: Option<Transfer>,
    /// Whether something was asked for that has not come to its end: fetching what is there, sending, or what an earlier run began.
    pub busy: bool,
    /// How often [`Input::TakeNow`] was heard.
    pub asked: u64,
    /// Why nothing is on its way though something is owed, in words.
    pub waits: Option<Wait>,
    /// Running totals that worker contracts have paid for, as last seen.
    pub cashed: BTreeMap<Address, u64>,
    /// The paying wallet's balance as last seen.
    pub balance: Option<Nanoton>,
    /// Why the chain could not be asked, while it can't.
    pub chain_fails: Option<String>,
}

/// What is being waited for, of the transfer in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Its row; then [`After`].
    Recording(After),
    /// The ledger failed; again at this time.
    RecordingAgain(After, Duration),
    Emulating,
    Signing,
    /// It is out.
    Away {
        send_at: Duration,
        misses: u32,
    },
    Tracing {
        send_at: Duration,
        misses: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Emulate,
    Send,
    Forget,
}

struct Hand {
    transfer: Transfer,
    step: Step,
    /// The owner's order, until it is answered.
    order: Option<Unanswered>,
}

/// An order of the owner that has no answer yet.
#[derive(Clone, Copy)]
struct Unanswered {
    number: u64,
    until: Duration,
}

/// Why a claim is left alone for a while.
struct Rest {
    until: Duration,
    pause: Backoff,
}

/// See the module.
pub struct Payouts {
    terms: Terms,
    claims: BTreeMap<Address, Claim>,
    rests: BTreeMap<Address, Rest>,
    hand: Option<Hand>,
    /// Transfers of an earlier run that still have to be looked after.
    queue: Vec<Transfer>,
    next: u64,
    sight: Option<Sight>,
    clock: Clock,
    looking: bool,
    /// The look that is out asks for every contract.
    looking_whole: bool,
    look_at: Duration,
    whole_at: Duration,
    /// The next sight decides about a payout.
    fresh: bool,
    /// What the owner wants at once whatever the threshold: for each contract the running total that was signed when they asked. What is
    /// signed afterwards waits as ever.
    take_now: BTreeMap<Address, u64>,
    asked: u64,
    sending: Option<(Outgoing, Unanswered)>,
    waits: Option<Wait>,
    chain_fails: Option<String>,
    chain_pause: Backoff,
    record_pause: Backoff,
}

impl Payouts {
    /// Goes on from what is remembered.
    pub fn new(terms: Terms, remembered: Remembered) -> Self {
        let next = remembered.last.map_or(0, |last| last.0.saturating_add(1));
        Self {
            terms,
            claims: remembered.claims.into_iter().map(|claim| (claim.worker_contract, claim)).collect(),
            rests: BTreeMap::new(),
            hand: None,
            queue: remembered.open,
            next,
            sight: None,
            clock: Clock::default(),
            looking: false,
            looking_whole: false,
            look_at: Duration::ZERO,
            whole_at: Duration::ZERO,
            fresh: false,
            take_now: BTreeMap::new(),
            asked: 0,
            sending: None,
            waits: None,
            chain_fails: None,
            chain_pause: Backoff::new(LOOK_BUSY, LOOK_IDLE),
            record_pause: Backoff::new(FIRST_RETRY, LAST_RETRY),
        }
    }

    /// Takes one input and appends what is to be done.
    pub fn handle(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) {
        let before = effects.len();
        let publish = !matches!(input, Input::Tick);
        match input {
            Input::Tick => {}
            Input::Signed(claim) => self.signed(*claim, now),
            Input::TakeNow => {
                self.asked = self.asked.saturating_add(1);
                self.take_now = self.claims.values().map(|claim| (claim.worker_contract, claim.tokens)).collect();
                self.rests.clear();
                (self.look_at, self.whole_at) = (now.mono, now.mono);
            }
            Input::Send(order) => self.send(*order, now, effects),
            Input::TermsAre(terms) => {
                self.terms = terms;
                self.look_at = now.mono;
            }
            Input::Seen(sight) => self.seen(*sight, now, effects),
            Input::NotSeen { why } => {
                (self.looking, self.looking_whole) = (false, false);
                self.look_at = now.mono.saturating_add(self.chain_pause.pause());
                self.chain_fails = Some(why);
            }
            Input::Recorded { id } => self.recorded(id, now, effects),
            Input::NotRecorded { id, why } => self.not_recorded(id, &why, now, effects),
            Input::Emulated { id, forecast } => self.emulated(id, forecast, now, effects),
            Input::MessageSigned { id, message } => self.message_signed(id, message, now, effects),
            Input::Sent { id, refused } => {
                if let (Some(hand), Some(why)) = (self.hand.as_ref().filter(|hand| hand.transfer.id == id), refused) {
                    log(effects, LogLevel::Warn, format!("the chain did not take {}: {why}", hand.transfer.name()));
                }
            }
            Input::Traced { id, trace } => self.traced(id, trace, now, effects),
        }
        self.go_on(now, effects);
        if publish || effects.len() > before {
            effects.push(Effect::Publish);
        }
    }

    /// When [`Input::Tick`] is due at the latest; `None`: an answer is waited for.
    pub fn next_deadline(&self) -> Option<Duration> {
        let step = self.hand.as_ref().and_then(|hand| match hand.step {
            Step::RecordingAgain(_, at) => Some(at),
            Step::Away { send_at, .. } => Some(send_at),
            _ => None,
        });
        let look = (!self.looking && self.wants_to_look()).then_some(self.look_at);
        let order = self.sending.as_ref().map(|(_, order)| order.until);
        let unwritten = self.unwritten_order().map(|order| order.until);
        [step, look, order, unwritten].into_iter().flatten().min()
    }

    /// What there is to show.
    pub fn shown(&self) -> Shown {
        let unpaid = self.sight.as_ref().and_then(|sight| {
            self.claims.values().try_fold(Nanoton(0), |sum, claim| sum.checked_add(claim.unpaid(sight).worth?))
        });
        Shown {
            unpaid,
            in_flight: self.hand.as_ref().map(|hand| hand.transfer.clone()),
            asked: self.asked,
            busy: !self.is_at_rest() || !self.take_now.is_empty() || self.sending.is_some(),
            cashed: self
                .sight
                .iter()
                .flat_map(|sight| &sight.contracts)
                .filter(|(_, seen)| seen.standing != Standing::Unreadable)
                .map(|(at, seen)| (*at, seen.tokens))
                .collect(),
            waits: self.waits.clone(),
            balance: self.sight.as_ref().map(|sight| sight.payer.balance),
            chain_fails: self.chain_fails.clone(),
        }
    }

    /// Whether nothing is under way: no transfer, no row that is not on the disk.
    pub fn is_at_rest(&self) -> bool {
        self.hand.is_none() && self.queue.is_empty()
    }

    fn wants_to_look(&self) -> bool {
        let busy = match &self.hand {
            Some(hand) => matches!(hand.step, Step::Away { .. }),
            // What is in the wallet is of use to its owner even while nothing is owed.
            None => true,
        };
        busy && self.payer().is_some()
    }

    /// The wallet that is looked at: what is out is followed on the one it left, whatever the owner has chosen since.
    fn payer(&self) -> Option<Address> {
        self.hand.as_ref().map_or(self.terms.payer, |hand| Some(hand.transfer.payer))
    }

    /// Whom the transfer in hand pays: it may have been begun for another owner than the one of now.
    fn owner(&self) -> Address {
        let of = |hand: &Hand| match hand.transfer.errand {
            Errand::Payout { owner, worker_contract, .. } => owner.or_else(|| self.claims.get(&worker_contract)?.owner),
            Errand::Send => None,
        };
        self.hand.as_ref().and_then(of).unwrap_or(self.terms.owner)
    }

    fn signed(&mut self, claim: Claim, now: Now) {
        let known = self.claims.get(&claim.worker_contract).map_or(0, |known| known.tokens);
        if claim.tokens <= known && self.claims.contains_key(&claim.worker_contract) {
            return;
        }
        let first = self.claims.is_empty();
        self.claims.insert(claim.worker_contract, claim);
        if first || self.chain_fails.is_none() && self.hand.is_none() && self.is_something_worth_it(now) {
            self.look_at = now.mono;
        }
    }

    /// Whether a payout would be begun by itself, as the chain was seen last.
    fn is_something_worth_it(&self, now: Now) -> bool {
        self.sight.as_ref().is_some_and(|sight| choose(self.awake(now), sight, &self.terms, |_| false).is_ok())
    }

    /// Claims that are not left alone for a while.
    fn awake(&self, now: Now) -> impl Iterator<Item = &Claim> {
        let resting = move |contract: &Address| self.rests.get(contract).is_some_and(|rest| now.mono < rest.until);
        self.claims.values().filter(move |claim| !resting(&claim.worker_contract))
    }

    fn send(&mut self, order: Order, now: Now, effects: &mut Vec<Effect>) {
        let Order { number, outgoing, within } = order;
        if self.terms.payer.is_none() {
            effects.push(Effect::Refused { number, why: NotSent::NoWallet });
        } else if self.hand.is_some() || self.sending.is_some() || !self.queue.is_empty() {
            effects.push(Effect::Refused { number, why: NotSent::UnderWay });
        } else {
            self.sending = Some((outgoing, Unanswered { number, until: now.mono.saturating_add(within) }));
            self.look_at = now.mono;
        }
    }

    /// The order of the transfer in hand, while its row can't be written.
    fn unwritten_order(&self) -> Option<Unanswered> {
        let hand = self.hand.as_ref().filter(|hand| matches!(hand.step, Step::RecordingAgain(After::Emulate, _)))?;
        hand.order
    }

    /// What the owner wanted to send long ago is not sent when nobody expects it any more.
    fn give_up_late_orders(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some((_, order)) = self.sending.take_if(|(_, order)| now.mono >= order.until) {
            let why = self.chain_fails.clone().unwrap_or_default();
            effects.push(Effect::Refused { number: order.number, why: NotSent::TooLate { why } });
        }
        if self.unwritten_order().is_some_and(|order| now.mono >= order.until) {
            self.end_late(now, effects);
        }
    }

    /// The row of the owner's sending could not be written in time.
    fn end_late(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let why = "it could not be written down in time".to_owned();
        if let Some(order) = self.hand.as_mut().and_then(|hand| hand.order.take()) {
            effects.push(Effect::Refused { number: order.number, why: NotSent::TooLate { why: why.clone() } });
        }
        self.end(Outcome::NotBegun { why }, now, effects);
    }

    /// The contracts to ask for: those that may owe something, and now and then all. While a message is out only those that were never
    /// seen: what the others owe is known once it has landed.
    fn to_look_at(&self, whole: bool) -> Vec<Address> {
        let wanted = |claim: &&Claim| match &self.sight {
            Some(sight) if sight.contracts.contains_key(&claim.worker_contract) => {
                whole || self.hand.is_none() && claim.unpaid(sight).worth != Some(Nanoton(0))
            }
            _ => true,
        };
        self.claims.values().filter(wanted).map(|claim| claim.worker_contract).collect()
    }

    fn seen(&mut self, mut sight: Sight, now: Now, effects: &mut Vec<Effect>) {
        let whole = std::mem::take(&mut self.looking_whole);
        self.looking = false;
        self.chain_fails = None;
        self.chain_pause.reset();
        let time = self.clock.shows(sight.unix, now);
        let soon = self.hand.is_some() || time == Time::Doubtful;
        self.look_at = now.mono.saturating_add(if soon { LOOK_BUSY } else { LOOK_IDLE });
        match time {
            Time::Good => {}
            // From an older block than one before: it says nothing new.
            Time::Old => return,
            Time::Doubtful => {
                self.chain_fails = Some("the endpoints show a time that cannot be; looking again".to_owned());
                return;
            }
        }
        // Asking may have taken its time, but not for ever: a message is not to be good for longer than it has to be.
        sight.payer.unix = sight.payer.unix.min(sight.unix.saturating_add(LONGEST_LOOK_SECONDS));
        if whole {
            self.whole_at = now.mono.saturating_add(LOOK_WHOLE);
        }
        let before = self.sight.take();
        let (before, proxies) = before.map(|before| (before.contracts, before.proxies)).unwrap_or_default();
        for (contract, seen) in &sight.contracts {
            let was = before.get(contract).map(|before| before.standing);
            if seen.standing == Standing::Unreadable && was != Some(Standing::Unreadable) {
                let why = format!("the worker contract {contract} can't be read, frozen or changed, and is left alone");
                log(effects, LogLevel::Warn, why);
            }
        }
        for (contract, seen) in before {
            sight.contracts.entry(contract).or_insert(seen);
        }
        self.say_who_closes(&proxies, &sight, effects);
        for (proxy, standing) in proxies {
            sight.proxies.entry(proxy).or_insert(standing);
        }
        self.sight = Some(sight);
        self.fresh = true;
        self.follow(now, effects);
    }

    /// What a proxy has signed can be fetched until its contract is closed.
    fn say_who_closes(&self, before: &BTreeMap<Address, Standing>, sight: &Sight, effects: &mut Vec<Effect>) {
        for (contract, standing) in &sight.proxies {
            if before.get(contract) == Some(standing) {
                continue;
            }
            let what = match standing {
                Standing::Closing if self.terms.threshold.is_some() => {
                    "is closing: what is worth its fee is fetched now, whatever the threshold"
                }
                Standing::Closing => "is closing: fetch what it has signed before it is closed",
                Standing::Closed => "is closed: it pays no more",
                Standing::Open | Standing::Absent | Standing::Unreadable => continue,
            };
            log(effects, LogLevel::Warn, format!("the proxy's contract {contract} {what}"));
        }
    }

    /// Whether the message that is out has landed or can't any more.
    fn follow(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let (Some(hand), Some(sight)) = (&mut self.hand, &self.sight) else { return };
        let payer = hand.transfer.payer;
        let Step::Away { send_at, misses } = hand.step else { return };
        let Stage::Signed(message) = &hand.transfer.stage else { return };
        if sight.payer.next_seqno() > message.seqno {
            let since = message.valid_until.saturating_sub(VALID_SECONDS + MARGIN_SECONDS);
            effects.push(Effect::Trace { id: hand.transfer.id, payer, since, hash: message.hash });
            hand.step = Step::Tracing { send_at, misses };
        } else if sight.unix > message.valid_until.saturating_add(MARGIN_SECONDS) && self.clock.is_sure() {
            self.end(Outcome::Expired, now, effects);
        }
    }

    fn traced(&mut self, id: TransferId, trace: Result<Sought, String>, now: Now, effects: &mut Vec<Effect>) {
        let owner = self.owner();
        let Some(hand) = self.hand.as_mut().filter(|hand| hand.transfer.id == id) else { return };
        let Step::Tracing { send_at, misses } = hand.step else { return };
        self.look_at = now.mono.saturating_add(LOOK_BUSY);
        match trace {
            Err(why) => {
                self.chain_fails = Some(why);
                hand.step = Step::Away { send_at, misses };
            }
            Ok(Sought::Absent) if misses < MISSES => {
                hand.step = Step::Away { send_at, misses: misses.saturating_add(1) }
            }
            Ok(Sought::Absent) => self.end(Outcome::Overtaken, now, effects),
            Ok(Sought::GivenUp) => {
                let why = "it is not known what became of it: too much has happened in the wallet since".to_owned();
                self.end(Outcome::Failed { why, receipts: Vec::new(), fees: None }, now, effects);
            }
            Ok(Sought::Found(trace)) => match judge::judge(&hand.transfer, &trace, &owner) {
                Verdict::NotYet => hand.step = Step::Away { send_at, misses },
                Verdict::Final(outcome) => self.end(outcome, now, effects),
            },
        }
    }

    /// Writes down how it ended; it is out of the hand once that is on the disk.
    fn end(&mut self, outcome: Outcome, now: Now, effects: &mut Vec<Effect>) {
        let Some(hand) = &mut self.hand else { return };
        let level = if matches!(outcome, Outcome::Done { .. }) { LogLevel::Info } else { LogLevel::Warn };
        log(effects, level, format!("{}: {outcome}", hand.transfer.name()));
        if let Errand::Payout { worker_contract, .. } = hand.transfer.errand {
            if matches!(outcome, Outcome::Done { .. }) {
                self.rests.remove(&worker_contract);
            } else {
                let rest = self.rests.entry(worker_contract);
                let rest = rest
                    .or_insert_with(|| Rest { until: Duration::ZERO, pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) });
                rest.until = now.mono.saturating_add(rest.pause.pause());
            }
        }
        hand.transfer.stage = Stage::Ended(outcome);
        hand.step = Step::Recording(After::Forget);
        effects.push(Effect::Record(Box::new(hand.transfer.clone())));
    }

    fn recorded(&mut self, id: TransferId, now: Now, effects: &mut Vec<Effect>) {
        let owner = self.owner();
        let Some(hand) = self.hand.as_mut().filter(|hand| hand.transfer.id == id) else { return };
        let Step::Recording(after) = hand.step else { return };
        self.record_pause.reset();
        if after == After::Emulate
            && let Some(order) = hand.order
        {
            if now.mono >= order.until {
                self.end_late(now, effects);
                return;
            }
            hand.order = None;
            effects.push(Effect::Begun { number: order.number, id });
        }
        match after {
            After::Emulate => {
                let Some(sight) = &self.sight else { return };
                hand.step = Step::Emulating;
                effects.push(Effect::Emulate {
                    id,
                    payer: hand.transfer.payer,
                    owner: matches!(hand.transfer.errand, Errand::Payout { .. }).then_some(owner),
                    outgoing: Box::new(hand.transfer.outgoing.clone()),
                    seqno: sight.payer.next_seqno(),
                    valid_until: sight.payer.unix.saturating_add(VALID_SECONDS),
                });
            }
            After::Send => {
                let Stage::Signed(message) = &hand.transfer.stage else { return };
                effects.push(Effect::Send { id, boc: message.boc.clone() });
                hand.step = Step::Away { send_at: now.mono.saturating_add(RESEND), misses: 0 };
                self.look_at = now.mono.saturating_add(LOOK_BUSY);
            }
            After::Forget => {
                self.hand = None;
                self.fresh = false;
                self.look_at = now.mono;
            }
        }
    }

    fn not_recorded(&mut self, id: TransferId, why: &str, now: Now, effects: &mut Vec<Effect>) {
        let Some(hand) = self.hand.as_mut().filter(|hand| hand.transfer.id == id) else { return };
        let Step::Recording(after) = hand.step else { return };
        log(
            effects,
            LogLevel::Error,
            format!("can't write down {}: {why}; nothing is sent until I can", hand.transfer.name()),
        );
        hand.step = Step::RecordingAgain(after, now.mono.saturating_add(self.record_pause.pause()));
    }

    fn emulated(&mut self, id: TransferId, forecast: Result<Forecast, String>, now: Now, effects: &mut Vec<Effect>) {
        let owner = self.owner();
        let Some(hand) = self.hand.as_mut().filter(|hand| hand.transfer.id == id) else { return };
        if hand.step != Step::Emulating {
            return;
        }
        let Some(sight) = &self.sight else { return };
        let judged = match forecast {
            Ok(forecast) => {
                hand.transfer.forecast = Some(forecast.clone());
                judge::is_worth_it(&hand.transfer, &forecast, &owner, sight.payer.balance)
            }
            Err(why) => Err(why),
        };
        match judged {
            Ok(()) => {
                hand.step = Step::Signing;
                effects.push(Effect::Sign {
                    id,
                    outgoing: Box::new(hand.transfer.outgoing.clone()),
                    seqno: sight.payer.next_seqno(),
                    valid_until: sight.payer.unix.saturating_add(VALID_SECONDS),
                });
            }
            Err(why) => self.end(Outcome::NotBegun { why }, now, effects),
        }
    }

    fn message_signed(
        &mut self,
        id: TransferId,
        message: Result<SignedMessage, String>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(hand) = self.hand.as_mut().filter(|hand| hand.transfer.id == id) else { return };
        if hand.step != Step::Signing {
            return;
        }
        match message {
            Ok(message) => {
                hand.transfer.stage = Stage::Signed(message);
                hand.step = Step::Recording(After::Send);
                effects.push(Effect::Record(Box::new(hand.transfer.clone())));
            }
            Err(why) => self.end(Outcome::NotBegun { why }, now, effects),
        }
    }

    /// What time and state ask for, after every input.
    fn go_on(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.take_up_earlier(now, effects);
        self.give_up_late_orders(now, effects);
        if let Some(hand) = &mut self.hand {
            match hand.step {
                Step::RecordingAgain(after, at) if now.mono >= at => {
                    hand.step = Step::Recording(after);
                    effects.push(Effect::Record(Box::new(hand.transfer.clone())));
                }
                Step::Away { send_at, misses } if now.mono >= send_at => {
                    if let Stage::Signed(message) = &hand.transfer.stage {
                        effects.push(Effect::Send { id: hand.transfer.id, boc: message.boc.clone() });
                    }
                    hand.step = Step::Away { send_at: now.mono.saturating_add(RESEND), misses };
                }
                _ => {}
            }
        } else if self.fresh {
            self.fresh = false;
            self.begin(now, effects);
        }
        if !self.looking
            && self.wants_to_look()
            && now.mono >= self.look_at
            && let Some(payer) = self.payer()
        {
            self.looking = true;
            self.looking_whole = self.hand.is_none() && now.mono >= self.whole_at;
            let contracts = self.to_look_at(self.looking_whole);
            let of = |contract: &Address| self.claims.get(contract).map(|claim| claim.proxy_contract);
            let proxies: BTreeSet<Address> = contracts.iter().filter_map(of).collect();
            effects.push(Effect::Look { payer, contracts, proxies: proxies.into_iter().collect() });
        }
    }

    /// A transfer of an earlier run: what was signed is sent again as it is, what was only planned never left.
    fn take_up_earlier(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.hand.is_some() {
            return;
        }
        let Some(transfer) = self.queue.pop() else { return };
        match &transfer.stage {
            Stage::Signed(_) => {
                let step = Step::Away { send_at: now.mono, misses: 0 };
                self.hand = Some(Hand { transfer, step, order: None });
                self.look_at = now.mono;
            }
            Stage::Planned => {
                self.hand = Some(Hand { transfer, step: Step::Emulating, order: None });
                let why = "the program ended before it was signed".to_owned();
                self.end(Outcome::NotBegun { why }, now, effects);
                self.rests.clear();
            }
            Stage::Ended(_) => {}
        }
    }

    fn begin(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let (Some(sight), Some(payer)) = (&self.sight, self.terms.payer) else { return };
        let mut order = None;
        let (errand, outgoing) = if let Some((outgoing, asked)) = self.sending.take() {
            order = Some(asked);
            (Errand::Send, outgoing)
        } else {
            self.take_now
                .retain(|contract, total| sight.contracts.get(contract).is_none_or(|seen| seen.tokens < *total));
            let is_asked_for = |claim: &Claim| self.take_now.contains_key(&claim.worker_contract);
            match choose(self.awake(now), sight, &self.terms, is_asked_for) {
                Ok(claim) => claim.payout(sight, self.terms.owner),
                Err(wait) => {
                    // A look that was out before a contract was known says nothing of it.
                    self.take_now.retain(|contract, _| !sight.contracts.contains_key(contract));
                    if !self.take_now.is_empty() {
                        self.look_at = now.mono;
                    }
                    self.waits = wait;
                    return;
                }
            }
        };
        self.waits = None;
        let transfer = Transfer {
            id: TransferId(self.next),
            payer,
            errand,
            outgoing,
            forecast: None,
            stage: Stage::Planned,
            planned_unix_ms: now.unix_ms,
        };
        self.next = self.next.saturating_add(1);
        effects.push(Effect::Record(Box::new(transfer.clone())));
        self.hand = Some(Hand { transfer, step: Step::Recording(After::Emulate), order });
    }
}

fn log(effects: &mut Vec<Effect>, level: LogLevel, message: String) {
    effects.push(Effect::Log { level, message });
}
