//! What the page Earnings can ask for.

use tauri::State;

use super::App;
use super::commands::mixed_up;
use crate::view::{
    ApiError, Done, EarnedChart, Earnings, ExportOrder, Exported, PageQuery, PayoutPage, PowerOrder, Range, RateOrder,
    Sent, TakeForecast, Verification,
};
use crate::wire::{Answer, EarningsAnswer, EarningsQuestion, Question};

async fn ask(app: &App, question: EarningsQuestion) -> Result<EarningsAnswer, ApiError> {
    match app.ask(Question::Earnings(question)).await? {
        Answer::Earnings(answer) => Ok(answer),
        _ => Err(mixed_up()),
    }
}

/// The page Earnings, apart from its chart and its list.
#[tauri::command]
#[specta::specta]
pub(crate) async fn earnings(app: State<'_, App>) -> Result<Earnings, ApiError> {
    match ask(&app, EarningsQuestion::Page).await? {
        EarningsAnswer::Page(it) => Ok(*it),
        _ => Err(mixed_up()),
    }
}

/// What was earned over a length of time, bar by bar.
#[tauri::command]
#[specta::specta]
pub(crate) async fn earned_chart(app: State<'_, App>, range: Range) -> Result<EarnedChart, ApiError> {
    match ask(&app, EarningsQuestion::Chart(range)).await? {
        EarningsAnswer::Chart(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Some payouts, the newest first.
#[tauri::command]
#[specta::specta]
pub(crate) async fn payouts(app: State<'_, App>, query: PageQuery) -> Result<PayoutPage, ApiError> {
    match ask(&app, EarningsQuestion::Payouts(query)).await? {
        EarningsAnswer::Payouts(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Computes everything about a payout anew, from the chain's data and the ledger.
#[tauri::command]
#[specta::specta]
pub(crate) async fn verify_payout(app: State<'_, App>, key: String) -> Result<Verification, ApiError> {
    match ask(&app, EarningsQuestion::Verify(key)).await? {
        EarningsAnswer::Verification(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// What fetching now would bring and cost, tried on a copy of the chain.
#[tauri::command]
#[specta::specta]
pub(crate) async fn forecast_take(app: State<'_, App>) -> Result<TakeForecast, ApiError> {
    match ask(&app, EarningsQuestion::ForecastTake).await? {
        EarningsAnswer::TakeForecast(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Fetches what is signed now. The page's slice follows what becomes of it.
#[tauri::command]
#[specta::specta]
pub(crate) async fn take_now(app: State<'_, App>) -> Result<Sent, ApiError> {
    match ask(&app, EarningsQuestion::TakeNow).await? {
        EarningsAnswer::Sent(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// From how much on money is fetched by itself; none: only when asked.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_threshold(app: State<'_, App>, nanoton: Option<String>) -> Result<Done, ApiError> {
    match ask(&app, EarningsQuestion::SetThreshold(nanoton)).await? {
        EarningsAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Writes down what a coin is worth today, as the owner says.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_rate(app: State<'_, App>, order: RateOrder) -> Result<Done, ApiError> {
    match ask(&app, EarningsQuestion::SetRate(order)).await? {
        EarningsAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Writes down what a kilowatt-hour costs from a day on, as the owner says.
#[tauri::command]
#[specta::specta]
pub(crate) async fn set_power_price(app: State<'_, App>, order: PowerOrder) -> Result<Done, ApiError> {
    match ask(&app, EarningsQuestion::SetPowerPrice(order)).await? {
        EarningsAnswer::Done(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}

/// Writes a statement, a table or a tax file, and says where.
#[tauri::command]
#[specta::specta]
pub(crate) async fn export_payouts(app: State<'_, App>, order: ExportOrder) -> Result<Exported, ApiError> {
    match ask(&app, EarningsQuestion::Export(order)).await? {
        EarningsAnswer::Exported(it) => Ok(it),
        _ => Err(mixed_up()),
    }
}
