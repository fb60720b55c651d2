//! What a proxy has signed is fetched before its contract is closed, whatever the threshold.

use accounting::{Errand, Outcome, Stage};
use node::core::payouts::{Input, Wait};
use ton::Cell;
use ton::cocoon::Body;

use crate::money::{COIN, FEE, rows, send, settled, soon, stage};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closing_proxy_has_signed_is_fetched_below_the_threshold_unless_the_fee_eats_it() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path()).await;
    let tokens = 20_000_000;
    assert!(tokens * FEE < COIN, "below the threshold");
    stage.signs(folder.path(), tokens);
    let cashier = stage.cashier(folder.path());
    let mut shown = cashier.shown();
    shown.wait_for(|shown| matches!(shown.waits, Some(Wait::Threshold { .. }))).await.unwrap();
    assert!(rows(folder.path()).is_empty());

    // Its operator begins to close it: the contract pays on until its delay is over.
    let excess = stage.operator.address();
    let close = Body::OwnerProxyClose { query_id: 1, excess }.to_cell().unwrap();
    send(&stage.client, &stage.operator, stage.proxy, COIN, close, None).await;
    soon("the payout", || async {
        // It looks every minute; terms that are told make it look now.
        cashier.tell(Input::TermsAre(stage.terms())).await;
        (!stage.payouts().await.is_empty()).then_some(())
    })
    .await;
    settled(&cashier).await;
    assert_eq!(stage.payouts().await, [tokens * FEE]);
    cashier.stop().await;

    // A little more is signed while it closes, less than what fetching costs: it is tried, and not sent.
    stage.signs(folder.path(), tokens + 100_000);
    let seqno =
        |cell: &Option<Cell>| ton::WalletData::read(ton::WalletVersion::V5R1, cell.as_ref().unwrap()).unwrap().seqno;
    let before = seqno(&account(&stage).await);
    let cashier = stage.cashier(folder.path());
    let too_dear =
        || rows(folder.path()).into_iter().find(|row| matches!(&row.stage, Stage::Ended(Outcome::NotBegun { .. })));
    let row = soon("a try that is not worth it", || async { too_dear() }).await;
    assert!(matches!(row.errand, Errand::Payout { from_tokens, .. } if from_tokens == tokens), "{row:?}");
    cashier.stop().await;
    assert_eq!(seqno(&account(&stage).await), before, "nothing was sent");
    assert_eq!(stage.payouts().await, [tokens * FEE]);
    stage.chain.stop().await;
}

async fn account(stage: &crate::money::Scene) -> Option<Cell> {
    use chain::Chain as _;
    stage.client.account(stage.owner.address()).await.unwrap().data
}
