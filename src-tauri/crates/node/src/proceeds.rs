//! What a run brought into the owner's wallet, and whether every nanoton of it is explained. Pure.
//!
//! Two sums must hold. What was signed and could not be fetched before, with what was signed since, is what came in with what still can
//! be fetched. And the wallet has what it had, with what came in, less fees, less what worker contracts keep for their own rent, which
//! comes back when they close.

use std::collections::BTreeSet;

use accounting::{Errand, Outcome, Stage, Transfer};
use ton::{Address, Nanoton};

/// How things stood at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is in the wallet, and on the address that is paid where that is another.
    pub wallet: Nanoton,
    /// What the owner's worker contracts have.
    pub reserve: Nanoton,
    /// Everything that was ever signed.
    pub signed: Nanoton,
    /// What of it is not fetched.
    pub unpaid: Nanoton,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proceeds {
    /// Signed in it.
    pub signed: Nanoton,
    /// What proxies' contracts paid to the owner.
    pub paid: Nanoton,
    /// How often.
    pub payouts: u64,
    /// What it cost; `None`: not known of every transfer.
    pub fees: Option<Nanoton>,
    /// Before it.
    pub before: Standing,
    /// After it.
    pub after: Standing,
}

/// What is not explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// A transfer has not come to its end.
    #[error("{name} has not come to its end")]
    UnderWay {
        /// Which.
        name: String,
    },
    /// A transfer's cost is not known.
    #[error("it is not known what the transfers cost")]
    Fees,
    /// Signed is not paid.
    #[error("{signed} more was signed and {paid} came in, but what can be fetched went from {before} to {after}")]
    Signed {
        /// Signed since.
        signed: Nanoton,
        /// What came in.
        paid: Nanoton,
        /// Could be fetched before.
        before: Nanoton,
        /// Can be fetched now.
        after: Nanoton,
    },
    /// The wallet has another amount.
    #[error("the wallet has {has} where it should have {should}")]
    Wallet {
        /// What is in it.
        has: Nanoton,
        /// What should be.
        should: Nanoton,
    },
    /// More money than there is.
    #[error("the sums are no amounts")]
    NoAmount,
}

impl Proceeds {
    /// Adds up the transfers of a run: all of them ended. `owners` are whom its worker contracts pay.
    pub fn of(
        transfers: &[Transfer],
        owners: &BTreeSet<Address>,
        before: Standing,
        after: Standing,
    ) -> Result<Self, Unexplained> {
        let signed = after.signed.checked_sub(before.signed).ok_or(Unexplained::NoAmount)?;
        let mut proceeds = Self { signed, paid: Nanoton(0), payouts: 0, fees: Some(Nanoton(0)), before, after };
        for transfer in transfers {
            let (receipts, fees) = match &transfer.stage {
                Stage::Planned | Stage::Signed(_) => return Err(Unexplained::UnderWay { name: transfer.name() }),
                Stage::Ended(Outcome::Done { receipts, fees } | Outcome::Failed { receipts, fees, .. }) => {
                    (receipts.as_slice(), *fees)
                }
                // No money moved.
                Stage::Ended(Outcome::Expired | Outcome::Overtaken | Outcome::NotBegun { .. }) => {
                    (&[][..], Some(Nanoton(0)))
                }
            };
            if matches!(transfer.errand, Errand::Payout { .. }) {
                for receipt in receipts.iter().filter(|receipt| receipt.is_payout && owners.contains(&receipt.to)) {
                    proceeds.paid = proceeds.paid.checked_add(receipt.value).ok_or(Unexplained::NoAmount)?;
                    proceeds.payouts = proceeds.payouts.saturating_add(1);
                }
            }
            proceeds.fees = match (proceeds.fees, fees) {
                (Some(sum), Some(fees)) => Some(sum.checked_add(fees).ok_or(Unexplained::NoAmount)?),
                _ => None,
            };
        }
        Ok(proceeds)
    }

    /// Whether both sums hold, to the nanoton. Money that the owner sent, or that others sent, is not known here: a run in which that
    /// happened is not explained.
    pub fn check(&self) -> Result<(), Unexplained> {
        let Self { signed, paid, before, after, .. } = *self;
        let wide = |amount: Nanoton| i128::from(amount.0);
        if wide(before.unpaid) + wide(signed) != wide(paid) + wide(after.unpaid) {
            return Err(Unexplained::Signed { signed, paid, before: before.unpaid, after: after.unpaid });
        }
        let fees = self.fees.ok_or(Unexplained::Fees)?;
        let kept = wide(after.reserve) - wide(before.reserve);
        let should = wide(before.wallet) + wide(paid) - wide(fees) - kept;
        if wide(after.wallet) == should {
            return Ok(());
        }
        let should = u64::try_from(should).map_err(|_| Unexplained::NoAmount)?;
        Err(Unexplained::Wallet { has: after.wallet, should: Nanoton(should) })
    }
}

#[cfg(test)]
mod tests {
    use accounting::{Outgoing, Receipt, TransferId};

    use super::*;

    const OWNER: Address = Address { workchain: 0, hash: [1; 32] };
    const PROXY: Address = Address { workchain: 0, hash: [2; 32] };

    fn transfer(outcome: Outcome) -> Transfer {
        Transfer {
            id: TransferId(1),
            payer: OWNER,
            errand: Errand::Payout {
                worker_contract: OWNER,
                proxy_contract: PROXY,
                owner: Some(OWNER),
                from_tokens: 0,
                to_tokens: 10,
                expected: Nanoton(100),
            },
            outgoing: Outgoing {
                to: PROXY,
                value: Nanoton(50),
                everything: false,
                bounce: true,
                body: None,
                state_init: None,
            },
            forecast: None,
            stage: Stage::Ended(outcome),
            planned_unix_ms: 0,
        }
    }

    fn receipt(value: u64, is_payout: bool) -> Receipt {
        Receipt { from: PROXY, to: OWNER, value: Nanoton(value), is_payout, lt: 1, hash: [3; 32], unix: 1 }
    }

    fn standing(wallet: u64, reserve: u64, signed: u64, unpaid: u64) -> Standing {
        Standing {
            wallet: Nanoton(wallet),
            reserve: Nanoton(reserve),
            signed: Nanoton(signed),
            unpaid: Nanoton(unpaid),
        }
    }

    fn paid(fees: Option<u64>) -> Transfer {
        let receipts = vec![receipt(100, true), receipt(7, false)];
        transfer(Outcome::Done { receipts, fees: fees.map(Nanoton) })
    }

    #[test]
    fn what_came_in_less_fees_and_reserve_is_what_the_wallet_has_more() {
        let nothing = transfer(Outcome::NotBegun { why: String::new() });
        let of = |before, after| {
            Proceeds::of(&[paid(Some(15)), nothing.clone()], &BTreeSet::from([OWNER]), before, after).unwrap()
        };
        let before = standing(1_000, 20, 500, 30);
        let proceeds = of(before, standing(1_075, 30, 590, 20));
        assert_eq!((proceeds.paid, proceeds.payouts, proceeds.fees), (Nanoton(100), 1, Some(Nanoton(15))));
        assert_eq!(proceeds.check(), Ok(()));
        for wallet in [1_074, 1_076] {
            let check = of(before, standing(wallet, 30, 590, 20)).check();
            assert_eq!(check, Err(Unexplained::Wallet { has: Nanoton(wallet), should: Nanoton(1_075) }));
        }
        assert!(matches!(of(before, standing(1_075, 30, 590, 19)).check(), Err(Unexplained::Signed { .. })));
        assert!(matches!(of(before, standing(1_075, 31, 590, 20)).check(), Err(Unexplained::Wallet { .. })));
    }

    #[test]
    fn what_is_under_way_or_not_known_is_not_explained() {
        let still = standing(0, 0, 0, 0);
        let mut open = paid(None);
        open.stage = Stage::Planned;
        assert!(matches!(
            Proceeds::of(&[open], &BTreeSet::from([OWNER]), still, still),
            Err(Unexplained::UnderWay { .. })
        ));
        let signed = standing(0, 0, 100, 0);
        let unknown = Proceeds::of(&[paid(None)], &BTreeSet::from([OWNER]), still, signed).unwrap();
        assert_eq!((unknown.fees, unknown.check()), (None, Err(Unexplained::Fees)));
    }
}
