//! What the owner asks for, and what waits for their threshold.

use super::*;

#[test]
fn below_the_threshold_nothing_moves_until_the_owner_asks_and_then_only_if_it_is_worth_it() {
    let mut world = World::new();
    world.sign(FIRST, 99_999);
    world.settle();
    assert!(world.rows.is_empty());
    let wait = Wait::Threshold { owed: Nanoton(99_999_000), threshold: Some(Nanoton(100_000_000)) };
    assert_eq!(world.core.shown().waits, Some(wait));
    world.input(Input::TakeNow);
    world.settle();
    assert_eq!(world.chain.received, 99_999_000);
    // Less than twice the fee: tried, and left alone.
    world.sign(FIRST, 99_999 + 29_999);
    world.input(Input::TakeNow);
    world.settle();
    assert_eq!(world.chain.received, 99_999_000);
    let outcomes = world.outcomes();
    assert!(
        matches!(&outcomes[..], [Outcome::Done { .. }, Outcome::NotBegun { why }] if why.contains("fee")),
        "{outcomes:?}"
    );
}

#[test]
fn an_owner_who_wants_to_be_asked_is_asked_even_when_a_proxy_closes() {
    let mut world = World::new();
    world.terms.threshold = None;
    world.input(Input::TermsAre(world.terms.clone()));
    world.chain.proxies.insert(PROXY, Standing::Closing);
    world.sign(FIRST, 90_000);
    world.settle();
    assert!(world.rows.is_empty() && matches!(world.core.shown().waits, Some(Wait::Threshold { .. })));
    world.input(Input::TakeNow);
    world.settle();
    assert_eq!(world.chain.received, 90_000_000);
}

#[test]
fn what_is_signed_after_the_owner_asked_waits_for_the_threshold() {
    let mut world = World::new();
    world.sign(FIRST, 90_000);
    world.settle();
    world.input(Input::TakeNow);
    // The payout is planned; what is signed from here on would be worth its fee, too.
    while world.rows.is_empty() {
        assert!(world.step(Fate::Good));
    }
    world.sign(FIRST, 90_000 + 80_000);
    world.sign(SECOND, 70_000);
    world.settle();
    assert!(!world.core.shown().busy, "what was asked for is fetched");
    assert_eq!(world.chain.received, 90_000_000);
    assert!(matches!(world.core.shown().waits, Some(Wait::Threshold { owed: Nanoton(80_000_000), .. })));
    world.input(Input::TakeNow);
    world.settle();
    assert_eq!(world.chain.received, 240_000_000, "all of it, once it is asked for");
}

#[test]
fn a_wish_to_fetch_is_kept_until_every_contract_was_seen() {
    let mut world = World::new();
    world.input(Input::Tick);
    let look = world.effects.pop_front().unwrap();
    assert!(matches!(&look, Effect::Look { contracts, .. } if contracts.is_empty()), "{look:?}");
    // The contract is known only after that look began.
    world.sign(SECOND, 99_999);
    world.input(Input::TakeNow);
    let mut sight = world.chain.sight();
    sight.contracts.clear();
    world.input(Input::Seen(Box::new(sight)));
    world.settle();
    assert_eq!(world.chain.received, 99_999_000);
}
