//! This machine's clock is wrong by a day, in either direction: payouts go by the chain's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounting::{Outcome, Stage, Transfer};
use chain::Chain as _;
use node::core::payouts::Input;
use node::earnings::{Earnings, Range};

use crate::money::{FEE, Purse, ROOT, rows, settled, soon, stage_at, within};

const DAY_MS: i64 = 24 * 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_pc_whose_clock_is_a_day_ahead_is_paid_once_and_shows_when() {
    pays_once_with_the_chain(-DAY_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pc_whose_clock_is_a_day_behind_is_paid_once_and_shows_when() {
    pays_once_with_the_chain(DAY_MS).await;
}

/// A message that gets lost is given up by the chain's clock, another one is paid, and both are shown under the chain's time.
async fn pays_once_with_the_chain(ahead_ms: i64) {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage_at(folder.path(), Purse::new(3).address(), ahead_ms).await;
    let tokens = 100_000_000;
    stage.signs(folder.path(), tokens);
    stage.chain.set_faults(&["drop:sendBoc:1000"]).await.unwrap();
    let began = stage.client.head().await.unwrap().time;
    let cashier = stage.cashier(folder.path());
    let signed = |row: &Transfer| match &row.stage {
        Stage::Signed(message) => Some(message.valid_until),
        _ => None,
    };
    let valid_until = soon("a signed message", || async { rows(folder.path()).iter().find_map(signed) }).await;
    let now = stage.client.head().await.unwrap().time;
    assert!((began..=now + 120).contains(&valid_until), "{valid_until} is not by the chain's clock, {began} to {now}");
    // Nobody has it: the chain's time passes, whatever this machine's clock says.
    stage.chain.advance(Duration::from_mins(5)).await.unwrap();
    let expired = |row: &Transfer| matches!(row.stage, Stage::Ended(Outcome::Expired));
    // A chain's clock that jumps is believed only after many looks.
    let given_up = || async { rows(folder.path()).iter().any(expired).then_some(()) };
    within(Duration::from_mins(2), "the lost message's end", given_up).await;
    stage.chain.set_faults(&[]).await.unwrap();
    cashier.tell(Input::TakeNow).await;
    soon("the payout", || async { (!stage.payouts().await.is_empty()).then_some(()) }).await;
    settled(&cashier).await;
    cashier.stop().await;
    assert_eq!(stage.payouts().await, [tokens * FEE]);

    let over = stage.client.head().await.unwrap().time;
    let receipt = rows(folder.path())
        .into_iter()
        .find_map(|row| match row.stage {
            Stage::Ended(Outcome::Done { receipts, .. }) => receipts.first().copied(),
            _ => None,
        })
        .unwrap();
    assert!((began..=over).contains(&receipt.unix), "{receipt:?} is not by the chain's clock, {began} to {over}");
    // Charts of this machine's now: it stands in all time, and in the last days where its day has begun here.
    let earnings = Earnings::open(&folder.path().join("ledger.sqlite"), 0).unwrap();
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let paid = |range| earnings.chart(&ROOT, range, here, |_| 0).unwrap().total.paid.0;
    assert_eq!(paid(Range::All), tokens * FEE);
    assert_eq!(paid(Range::Week), if ahead_ms < 0 { tokens * FEE } else { 0 });
    let page = earnings.payouts(&ROOT, None, 10).unwrap();
    assert_eq!(page.payouts.iter().map(|payout| payout.receipt.unix).collect::<Vec<_>>(), [receipt.unix]);
    stage.chain.stop().await;
}
