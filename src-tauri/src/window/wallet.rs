//! What the page Wallet can ask for.

use tauri::State;

use super::App;
use super::commands::mixed_up;
use crate::view::{
    ApiError, Destination, Done, ExplorerTarget, PageQuery, PayoutSet, Prepared, Protect, Qr, ReadWords, Revealed,
    Secret, SendOrder, Sent, SetAside, Wallet, WalletHistory, WalletRules,
};
use crate::wire::{Answer, Question, WalletAnswer, WalletQuestion};

async fn ask(app: &App, question: WalletQuestion) -> Result<WalletAnswer, ApiError> {
    match app.ask(Question::Wallet(question)).await? {
        Answer::Wallet(answer) => Ok(answer),
        _ => Err(mixed_up()),
    }
}

/// The page Wallet, apart from its history.
#[tauri::command]
#[specta::specta]
pub(crate) async fn wallet(app: State<'_, App>) -> Result<Wallet, ApiError> {
    match ask(&app, WalletQuestion::Page).await? {
        WalletAnswer::Page(it) => Ok(*it),
        _ => Err(mixed_up()),
    }
}

/// Some of what moved, the newest first.
#[tauri::command]
#[specta::specta]
pub(crate) async fn wallet_history(app: State<'_, App>, query: PageQuery) -> Result<WalletHistory, ApiError> {
    match ask(&app, WalletQuestion::History(query)).await? {
        WalletAnswer::History(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// What is to be known about an address before money goes there.
#[tauri::command]
#[specta::specta]
pub(crate) async fn check_destination(app: State<'_, App>, text: String) -> Result<Destination, ApiError> {
    match ask(&app, WalletQuestion::CheckDestination(text)).await? {
        WalletAnswer::Destination(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Tries a transfer on a copy of the chain. It replaces the draft before it; nothing moves.
#[tauri::command]
#[specta::specta]
pub(crate) async fn prepare_send(app: State<'_, App>, order: SendOrder) -> Result<Prepared, ApiError> {
    match ask(&app, WalletQuestion::PrepareSend(order)).await? {
        WalletAnswer::Prepared(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// The owner's word for a draft. The page's slice follows what becomes of it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn confirm_send(
    app: State<'_, App>,
    draft: String,
    password: Option<Secret>,
) -> Result<Sent, ApiError> {
    match ask(&app, WalletQuestion::ConfirmSend { draft, password }).await? {
        WalletAnswer::Sent(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Makes a wallet with new words and saves it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn create_wallet(app: State<'_, App>, protect: Protect) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::Create(protect)).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// The words of the saved wallet, for the one screen that shows them.
#[tauri::command]
#[specta::specta]
pub(crate) async fn reveal_words(app: State<'_, App>, password: Option<Secret>) -> Result<Revealed, ApiError> {
    match ask(&app, WalletQuestion::Reveal { password }).await? {
        WalletAnswer::Revealed(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// The three words that were asked for. If they are right, the words count as written down.
#[tauri::command]
#[specta::specta]
pub(crate) async fn answer_quiz(app: State<'_, App>, answers: Vec<Secret>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::Quiz(answers)).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Which wallets words could be meant for, with their addresses. Nothing is saved.
#[tauri::command]
#[specta::specta]
pub(crate) async fn read_words(app: State<'_, App>, text: Secret) -> Result<ReadWords, ApiError> {
    match ask(&app, WalletQuestion::ReadWords(text)).await? {
        WalletAnswer::ReadWords(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Saves one of the wallets that `read_words` found.
#[tauri::command]
#[specta::specta]
pub(crate) async fn save_words(
    app: State<'_, App>,
    draft: String,
    candidate: u32,
    protect: Protect,
) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::SaveWords { draft, candidate, protect }).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Forgets what `read_words` read.
#[tauri::command]
#[specta::specta]
pub(crate) async fn forget_words(app: State<'_, App>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::ForgetWords).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Lets payouts go to an address. The first one counts at once, another one a day later.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_payout_address(app: State<'_, App>, text: String) -> Result<PayoutSet, ApiError> {
    match ask(&app, WalletQuestion::SetPayoutAddress(text)).await? {
        WalletAnswer::PayoutSet(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Takes a waiting change of the payout address back.
#[tauri::command]
#[specta::specta]
pub(crate) async fn keep_payout_address(app: State<'_, App>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::KeepPayoutAddress).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Opens the wallet.
#[tauri::command]
#[specta::specta]
pub(crate) async fn unlock_wallet(app: State<'_, App>, password: Option<Secret>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::Unlock { password }).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Closes it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn lock_wallet(app: State<'_, App>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::Lock).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Deletes the wallet of this address from this PC, or stops to watch the address.
#[tauri::command]
#[specta::specta]
pub(crate) async fn delete_wallet(app: State<'_, App>, address: String) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::Delete(address)).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Moves a wallet's file that does not open out of the way. Nothing is deleted.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_wallet_aside(app: State<'_, App>) -> Result<SetAside, ApiError> {
    match ask(&app, WalletQuestion::SetAside).await? {
        WalletAnswer::SetAside(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Sets when the wallet locks itself and how much may leave in a day.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_wallet_rules(app: State<'_, App>, rules: WalletRules) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::SetRules(rules)).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Lets the reminder to write the words down rest for a while.
#[tauri::command]
#[specta::specta]
pub(crate) async fn dismiss_reminder(app: State<'_, App>) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::DismissReminder).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Tries to send all that is in the fee wallet to the payout address, on a copy of the chain; the word is given as for any draft.
#[tauri::command]
#[specta::specta]
pub(crate) async fn take_rest_back(app: State<'_, App>) -> Result<Prepared, ApiError> {
    match ask(&app, WalletQuestion::TakeRestBack).await? {
        WalletAnswer::Prepared(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Opens the site that shows the chain in the owner's browser.
#[tauri::command]
#[specta::specta]
pub(crate) async fn show_on_explorer(app: State<'_, App>, target: ExplorerTarget) -> Result<Done, ApiError> {
    match ask(&app, WalletQuestion::ShowOnExplorer(target)).await? {
        WalletAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// A text as a picture that a phone can read. Made here: it says nothing that the page does not know.
#[tauri::command]
#[specta::specta]
#[expect(clippy::needless_pass_by_value, reason = "a command owns what the page sends")]
pub(crate) fn qr(text: String) -> Result<Qr, ApiError> {
    Qr::of(&text)
}
