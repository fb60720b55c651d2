//! The pages Wallet and Earnings, as far as the app knows: it has no wallet yet, so nothing about money is known, and nothing can be done
//! with it.

use crate::view::{ApiError, ChainKind, Earnings, ErrorCode, Network, NetworkKind, Pipeline, Wallet, WalletState};
use crate::wire::{Answer, EarningsAnswer, EarningsQuestion, WalletAnswer, WalletQuestion};

/// What the page Wallet asked for.
pub(crate) fn wallet(question: &WalletQuestion, network: &Network, now_unix_ms: i64) -> Result<Answer, ApiError> {
    match question {
        WalletQuestion::Page => Ok(Answer::Wallet(WalletAnswer::Page(Box::new(wallet_page(network, now_unix_ms))))),
        _ => Err(not_running()),
    }
}

/// What the page Earnings asked for.
pub(crate) fn earnings(question: &EarningsQuestion, network: &Network, now_unix_ms: i64) -> Result<Answer, ApiError> {
    match question {
        EarningsQuestion::Page => {
            Ok(Answer::Earnings(EarningsAnswer::Page(Box::new(earnings_page(network, now_unix_ms)))))
        }
        _ => Err(not_running()),
    }
}

fn wallet_page(network: &Network, now_unix_ms: i64) -> Wallet {
    Wallet {
        at: now_unix_ms as f64,
        chain: match network.kind {
            NetworkKind::Practice => ChainKind::Practice,
            NetworkKind::Open if network.pays_nothing => ChainKind::Test,
            NetworkKind::Open => ChainKind::Main,
        },
        pays_nothing: network.pays_nothing,
        explorer: None,
        keychain: None,
        state: WalletState::Unknown,
        address: None,
        balance: None,
        balance_at: None,
        chain_fails: None,
        reserve_nanoton: "0".to_owned(),
        key_place: None,
        written_down: None,
        remind: false,
        locks_after_s: None,
        daily_limit_nanoton: None,
        limit_left_nanoton: None,
        payout: None,
        payer: None,
        in_flight: None,
        landed: None,
    }
}

fn earnings_page(network: &Network, now_unix_ms: i64) -> Earnings {
    Earnings {
        at: now_unix_ms as f64,
        pays_nothing: network.pays_nothing,
        practice: network.kind == NetworkKind::Practice,
        explorer: None,
        pipeline: Pipeline {
            counted: None,
            signed: None,
            on_the_way: None,
            flights: 0.0,
            paid: None,
            payouts: None,
            fees: None,
        },
        threshold_nanoton: None,
        waits: None,
        fee: None,
        in_flight: None,
        to: None,
    }
}

fn not_running() -> ApiError {
    ApiError { code: ErrorCode::NotRunning, message: "the app has no wallet and no cashier".to_owned() }
}
