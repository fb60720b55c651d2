//! Every call the page can make; those of the pages Wallet, Earnings and Trust are in [`super::wallet`], [`super::earnings`] and
//! [`super::trust`].

use tauri::State;
use tauri_specta::{Builder, collect_commands, collect_events};

use super::{App, earnings, trust, wallet};
use crate::view::{ApiError, Card, ErrorCode, Event, Home, JobPage, JobQuery, Wish};
use crate::wire::{Answer, Question};

/// The page Home, apart from the cards.
#[tauri::command]
#[specta::specta]
pub(crate) async fn home(app: State<'_, App>) -> Result<Home, ApiError> {
    match app.ask(Question::Home).await? {
        Answer::Home(home) => Ok(*home),
        _ => Err(mixed_up()),
    }
}

/// The devices, their readings and their lines.
#[tauri::command]
#[specta::specta]
pub(crate) async fn cards(app: State<'_, App>) -> Result<Vec<Card>, ApiError> {
    match app.ask(Question::Cards).await? {
        Answer::Cards(cards) => Ok(cards),
        _ => Err(mixed_up()),
    }
}

/// Jobs that run, and some of those that are over.
#[tauri::command]
#[specta::specta]
pub(crate) async fn jobs(app: State<'_, App>, query: JobQuery) -> Result<JobPage, ApiError> {
    match app.ask(Question::Jobs(query)).await? {
        Answer::Jobs(page) => Ok(page),
        _ => Err(mixed_up()),
    }
}

/// The owner wants something. What becomes of it shows in the events that follow.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_wish(app: State<'_, App>, wish: Wish) -> Result<(), ApiError> {
    match app.ask(Question::SetWish(wish)).await? {
        Answer::Done => Ok(()),
        _ => Err(mixed_up()),
    }
}

/// Ends running answers early and then the app, and this window with it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn quit(app: State<'_, App>) -> Result<(), ApiError> {
    match app.ask(Question::Quit).await? {
        Answer::Done => Ok(()),
        _ => Err(mixed_up()),
    }
}

/// All commands and events, as the page knows them.
pub(crate) fn builder() -> Builder<tauri::Wry> {
    let commands = collect_commands![
        home,
        cards,
        jobs,
        set_wish,
        quit,
        wallet::wallet,
        wallet::wallet_history,
        wallet::check_destination,
        wallet::prepare_send,
        wallet::confirm_send,
        wallet::create_wallet,
        wallet::reveal_words,
        wallet::answer_quiz,
        wallet::read_words,
        wallet::save_words,
        wallet::forget_words,
        wallet::set_payout_address,
        wallet::keep_payout_address,
        wallet::unlock_wallet,
        wallet::lock_wallet,
        wallet::delete_wallet,
        wallet::set_wallet_aside,
        wallet::set_wallet_rules,
        wallet::dismiss_reminder,
        wallet::take_rest_back,
        wallet::show_on_explorer,
        wallet::qr,
        earnings::earnings,
        earnings::earned_chart,
        earnings::payouts,
        earnings::verify_payout,
        earnings::forecast_take,
        earnings::take_now,
        earnings::set_threshold,
        earnings::set_rate,
        earnings::set_power_price,
        earnings::export_payouts,
        trust::trust,
        trust::check_trust,
        trust::change_rule,
        trust::trust_proof,
    ];
    Builder::new().commands(commands).events(collect_events![Event])
}

/// The answer is not one to the question.
pub(super) fn mixed_up() -> ApiError {
    ApiError { code: ErrorCode::Request, message: "the app answered another question".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the file anew when asked to, so that there is one way to make it.
    const WRITE: &str = "CHRYSALIS_WRITE_BINDINGS";

    #[test]
    fn the_page_knows_the_commands_and_types_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bindings.ts");
        builder().export(specta_typescript::Typescript::default(), &file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/src/ipc/bindings.ts");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            text == committed,
            "ui/src/ipc/bindings.ts is stale; run this test once with {WRITE}=1 and commit the file"
        );
    }
}
