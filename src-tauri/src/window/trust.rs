//! What the page Trust can ask for.

use tauri::State;

use super::App;
use super::commands::mixed_up;
use crate::view::ApiError;
use crate::view::trust::{RuleChange, Trust};
use crate::wire::{Answer, Question, TrustAnswer, TrustQuestion};

async fn page(app: &App, question: TrustQuestion) -> Result<Trust, ApiError> {
    match app.ask(Question::Trust(question)).await? {
        Answer::Trust(TrustAnswer::Page(it)) => Ok(*it),
        _ => Err(mixed_up()),
    }
}

/// The page Trust, as far as things are known.
#[tauri::command]
#[specta::specta]
pub(crate) async fn trust(app: State<'_, App>) -> Result<Trust, ApiError> {
    page(&app, TrustQuestion::Page).await
}

/// Looks at this PC anew, which takes seconds, and gives the page then.
#[tauri::command]
#[specta::specta]
pub(crate) async fn check_trust(app: State<'_, App>) -> Result<Trust, ApiError> {
    page(&app, TrustQuestion::Check).await
}

/// Has Windows ask the owner for an administrator and the firewall's rule for the worker made or taken away, and gives the page then.
#[tauri::command]
#[specta::specta]
pub(crate) async fn change_rule(app: State<'_, App>, change: RuleChange) -> Result<Trust, ApiError> {
    page(&app, TrustQuestion::Rule(change)).await
}

/// What can be shown to others: JSON that `chrysalis verify` reads.
#[tauri::command]
#[specta::specta]
pub(crate) async fn trust_proof(app: State<'_, App>) -> Result<String, ApiError> {
    match app.ask(Question::Trust(TrustQuestion::Proof)).await? {
        Answer::Trust(TrustAnswer::Proof(it)) => Ok(it),
        _ => Err(mixed_up()),
    }
}
