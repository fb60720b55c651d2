//! The page Earnings: where the money is, what came when, what proves it, and fetching it.

use std::sync::Arc;
use std::time::Duration;

use accounting::statement::{Date, Energy, EnergyDay, EntryKind, Form, Month, Prices, Rates, write, write_electricity};
use accounting::{Errand, Transfer};
use node::core::payouts::{Input, Shown, Terms, Wait};
use node::earnings::{self as figures, KnownNetwork, PayoutCursor};
use node::paper::{self, Statement};
use node::receipt::{Check, Finding, Proof, prove};
use ton::{AddressText, Nanoton};

use super::page::flight;
use super::{Desk, failed, paid};
use crate::app::power::Drawn;
use crate::prices;
use crate::provider::unix_ms;
use crate::view::{
    ApiError, Bar, BarLength, Done, EarnedChart, Earnings, ErrorCode, ExportKind, ExportOrder, Exported, Fact,
    FactCheck, Kind, Money, Payout, PayoutPage, PayoutWait, Pipeline, PowerPrice, Range, Refusal, Sent, TakeForecast,
    Valued, Verification, Worth,
};
use crate::wire::{Answer, EarningsAnswer, EarningsQuestion};

/// How long the cashier may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);
/// Most bars of a chart.
const MOST_BARS: usize = 400;

fn signed(amount: Nanoton) -> Money {
    Money { nanoton: amount.0.to_string(), kind: Kind::Signed }
}

fn measured(amount: Nanoton) -> Money {
    Money { nanoton: amount.0.to_string(), kind: Kind::Measured }
}

fn ledger(error: &impl ToString) -> ApiError {
    ApiError { code: ErrorCode::Ledger, message: error.to_string() }
}

impl Desk {
    /// Answers the page.
    pub(crate) async fn earnings(&self, question: EarningsQuestion) -> Result<Answer, ApiError> {
        let done = |refused: Result<(), Refusal>| {
            EarningsAnswer::Done(match refused {
                Ok(()) => Done::Yes,
                Err(refusal) => Done::No { refusal },
            })
        };
        Ok(Answer::Earnings(match question {
            EarningsQuestion::Page => EarningsAnswer::Page(Box::new(self.earnings_page()?)),
            EarningsQuestion::Chart(range) => EarningsAnswer::Chart(self.chart(range)?),
            EarningsQuestion::Payouts(query) => {
                EarningsAnswer::Payouts(self.payouts(query.before.as_deref(), query.limit)?)
            }
            EarningsQuestion::Verify(key) => EarningsAnswer::Verification(self.verify(&key).await?),
            EarningsQuestion::ForecastTake => EarningsAnswer::TakeForecast(self.forecast_take().await),
            EarningsQuestion::TakeNow => EarningsAnswer::Sent(match self.take_now().await {
                Ok(id) => Sent::Begun { id },
                Err(refusal) => Sent::No { refusal },
            }),
            EarningsQuestion::SetThreshold(text) => done(self.set_threshold(text.as_deref()).await),
            EarningsQuestion::SetRate(order) => done(tokio::task::block_in_place(|| {
                prices::set_rate(&self.data, prices::today(), &order.rate, &order.currency, &order.source)
                    .map_err(|error| failed(&error))
            })),
            EarningsQuestion::SetPowerPrice(order) => done(tokio::task::block_in_place(|| {
                let from = order.from.parse().map_err(|error| failed(&anyhow::Error::new(error)))?;
                prices::set_price(&self.data, from, &order.price, &order.currency).map_err(|error| failed(&error))
            })),
            EarningsQuestion::Export(order) => EarningsAnswer::Exported(self.export(&order)),
        }))
    }

    /// The network whose money is shown: the one that is or was served last.
    pub(super) fn served(&self) -> Result<Option<KnownNetwork>, ApiError> {
        let networks = tokio::task::block_in_place(|| self.figures.networks()).map_err(|error| ledger(&error))?;
        Ok(networks.into_iter().next())
    }

    /// The page. Waits for the disk.
    pub(crate) fn earnings_page(&self) -> Result<Earnings, ApiError> {
        let shown = self.shown();
        let network = self.served()?;
        let pipeline = match &network {
            Some(network) => {
                let cashed = self
                    .inner()
                    .open
                    .as_ref()
                    .map(|open| open.cashbox.shown().borrow().cashed.clone())
                    .unwrap_or_default();
                let known =
                    tokio::task::block_in_place(|| self.figures.pipeline(&network.root_contract, &cashed, None))
                        .map_err(|error| ledger(&error))?;
                Pipeline {
                    counted: Some(measured(known.counted)),
                    signed: Some(signed(known.signed)),
                    on_the_way: Some(signed(known.on_the_way)),
                    flights: known.flights as f64,
                    paid: Some(paid(known.paid)),
                    payouts: Some(known.payouts as f64),
                    fees: (known.unknown_fees == 0).then(|| paid(known.fees)),
                }
            }
            None => Pipeline {
                counted: None,
                signed: None,
                on_the_way: None,
                flights: 0.0,
                paid: None,
                payouts: None,
                fees: None,
            },
        };
        let inner = self.inner();
        let waits = shown.as_ref().and_then(|shown| waits(shown, inner.locked));
        let to = inner.open.as_ref().map(|open| open.cashbox.owner()).or(inner.owner);
        Ok(Earnings {
            at: unix_ms() as f64,
            pays_nothing: true,
            practice: true,
            explorer: None,
            pipeline,
            threshold_nanoton: inner.rules.threshold.map(|threshold| threshold.0.to_string()),
            waits,
            fee: shown
                .as_ref()
                .and_then(|shown| shown.in_flight.as_ref())
                .and_then(|transfer| transfer.forecast.as_ref())
                .map(|forecast| Money { nanoton: forecast.fees.0.to_string(), kind: Kind::Estimate }),
            in_flight: shown.as_ref().and_then(|shown| shown.in_flight.as_ref()).and_then(flight),
            to: to.map(|address| AddressText { address, bounceable: false, testnet: true }.to_text()),
            // Practice money has no rate, whatever the owner's table says of real coins.
            valued: Valued::Worthless,
            power: tokio::task::block_in_place(|| power_price(prices::read_prices(&self.data))),
        })
    }

    fn chart(&self, range: Range) -> Result<EarnedChart, ApiError> {
        let now = unix_ms();
        let wanted = match range {
            Range::Day => figures::Range::Day,
            Range::Week => figures::Range::Week,
            Range::Month => figures::Range::Month,
            Range::All => figures::Range::All,
        };
        let Some(network) = self.served()? else {
            let length = BarLength::Day;
            return Ok(EarnedChart { range, length, bars: Vec::new(), to: now as f64, total: None, kwh: None });
        };
        let offset = crate::app::calendar::ahead_of_utc_ms;
        let chart = tokio::task::block_in_place(|| self.figures.chart(&network.root_contract, wanted, now, offset))
            .map_err(|error| ledger(&error))?;
        let skipped = chart.bars.len().saturating_sub(MOST_BARS);
        // A table that can't be read is told on the page; without it nothing has a cost.
        let prices = tokio::task::block_in_place(|| prices::read_prices(&self.data)).unwrap_or_default();
        let shown = || chart.bars.iter().skip(skipped);
        let kwh = |days: &[EnergyDay]| days.iter().map(|day| day.energy).reduce(Energy::plus);
        let drawn: Vec<EnergyDay> = shown().flat_map(|bar| bar.drawn.iter().copied()).collect();
        let bars = shown().map(|bar| Bar {
            kwh: kwh(&bar.drawn).map(Energy::kwh),
            cost: prices.cost(&bar.drawn).map(|cost| cost.billionths().to_string()),
            from: bar.from_unix_ms as f64,
            earned: Some(measured(bar.earned.counted)),
            jobs: Some(bar.earned.answered as f64),
        });
        Ok(EarnedChart {
            range,
            length: match chart.length {
                figures::BarLength::Hour => BarLength::Hour,
                figures::BarLength::Day => BarLength::Day,
                figures::BarLength::Week => BarLength::Week,
                figures::BarLength::Month => BarLength::Month,
            },
            to: chart.bars.last().map_or(now, |bar| bar.until_unix_ms) as f64,
            bars: bars.collect(),
            total: Some(measured(chart.total.counted)),
            kwh: kwh(&drawn).map(Energy::kwh),
        })
    }

    fn payouts(&self, before: Option<&str>, limit: u32) -> Result<PayoutPage, ApiError> {
        let no_place =
            || ApiError { code: ErrorCode::Request, message: "that is no place in the list of payouts".to_owned() };
        let before = match before {
            None => None,
            Some(text) => Some(PayoutCursor::from_text(text).ok_or_else(no_place)?),
        };
        let Some(network) = self.served()? else { return Ok(PayoutPage { payouts: Vec::new(), next: None }) };
        let page =
            tokio::task::block_in_place(|| self.figures.payouts(&network.root_contract, before, limit.clamp(1, 200)));
        let page = page.map_err(|error| ledger(&error))?;
        let rates = tokio::task::block_in_place(|| prices::read_rates(&self.data)).unwrap_or_default();
        let payouts = page.payouts.iter().map(|entry| Payout {
            key: key(entry.receipt.lt, &entry.receipt.hash),
            at: f64::from(entry.receipt.unix) * 1_000.0,
            amount: paid(entry.receipt.value),
            fee: entry.transfer.and_then(|transfer| transfer.fees).map(paid),
            from: AddressText { address: entry.receipt.from, bounceable: true, testnet: true }.to_text(),
            transaction: hex::encode(entry.receipt.hash),
            worth: worth(&rates, &network, entry.receipt.unix.into(), entry.receipt.value),
            proved: None,
        });
        Ok(PayoutPage { payouts: payouts.collect(), next: page.next.map(PayoutCursor::to_text) })
    }

    async fn verify(&self, payout: &str) -> Result<Verification, ApiError> {
        let at = unix_ms() as f64;
        let request = |message: &str| ApiError { code: ErrorCode::Request, message: message.to_owned() };
        let (lt, hash) = named(payout).ok_or_else(|| request("that names no payout"))?;
        let network = self.served()?.ok_or_else(|| request("no network was served yet"))?;
        let claimed = tokio::task::block_in_place(|| self.figures.claimed(&network.root_contract, lt, &hash));
        let claimed = claimed.map_err(|error| ledger(&error))?.ok_or_else(|| request("there is no such payout"))?;
        let open = self.inner().open.as_ref().map(|open| (Arc::clone(&open.cashbox), Arc::clone(&open.terms)));
        let Some((cashbox, terms)) = open else {
            let chain_fails = Some("practice is paused, and its chain with it".to_owned());
            return Ok(Verification { key: payout.to_owned(), at, checks: Vec::new(), chain_fails });
        };
        let verdict = prove(cashbox.chain(), &claimed, Some(&terms)).await;
        let checks = verdict.findings.iter().map(fact).collect();
        Ok(Verification { key: payout.to_owned(), at, checks, chain_fails: None })
    }

    async fn forecast_take(&self) -> TakeForecast {
        let tried = async {
            let (cashbox, purse) = self.session()?;
            if purse.is_locked() {
                return Err(Refusal::Locked);
            }
            cashbox.forecast_payout(&purse).await
        };
        match tried.await {
            Ok((forecast, kept)) => match forecast.failure {
                Some(why) => TakeForecast::No { refusal: Refusal::WouldFail { why } },
                None if forecast.income.0 / 2 < forecast.fees.0
                    || forecast.income.0 <= forecast.fees.0.saturating_add(kept.0) =>
                {
                    TakeForecast::No {
                        refusal: Refusal::FeeTooHigh {
                            fee: forecast.fees.0.saturating_add(kept.0).to_string(),
                            income: forecast.income.0.to_string(),
                        },
                    }
                }
                None => {
                    let estimate = |amount: Nanoton| Money { nanoton: amount.0.to_string(), kind: Kind::Estimate };
                    let kept = Some(kept).filter(|kept| *kept > Nanoton(0)).map(estimate);
                    TakeForecast::Ready { income: estimate(forecast.income), fee: estimate(forecast.fees), kept }
                }
            },
            Err(refusal) => TakeForecast::No { refusal },
        }
    }

    async fn take_now(&self) -> Result<String, Refusal> {
        let (cashbox, purse) = self.session()?;
        if purse.is_locked() {
            return Err(Refusal::Locked);
        }
        cashbox.payments_came().await;
        let mut shown = cashbox.shown();
        let asked = shown.borrow().asked;
        cashbox.tell(Input::TakeNow).await;
        // The owner's own sending may be on its way: it is nobody's payout.
        let fetching = |shown: &Shown| {
            let payout = |transfer: &&Transfer| matches!(transfer.errand, Errand::Payout { .. });
            shown.in_flight.as_ref().filter(payout).map(|transfer| transfer.id)
        };
        let heard = |shown: &Shown| shown.asked > asked && (fetching(shown).is_some() || !shown.busy);
        let begun = tokio::time::timeout(BEGINNING, shown.wait_for(heard)).await;
        match begun {
            Ok(Ok(shown)) => {
                let id = fetching(&shown).ok_or(Refusal::Nothing)?;
                self.inner().asked_for = Some(id);
                Ok(id.0.to_string())
            }
            Ok(Err(_)) => Err(Refusal::Failed { why: "the cashier has ended".to_owned() }),
            Err(_) => {
                let why = "it is not begun yet, and begins when the chain answers".to_owned();
                Err(Refusal::ChainFails { why })
            }
        }
    }

    async fn set_threshold(&self, text: Option<&str>) -> Result<(), Refusal> {
        let threshold = text.map(|text| text.parse::<u64>().map(Nanoton).map_err(|_| Refusal::NoAmount)).transpose()?;
        self.change_rules(|rules| rules.threshold = threshold)?;
        if let Ok((cashbox, _)) = self.session() {
            cashbox.tell(Input::TermsAre(Terms { threshold, ..cashbox.terms() })).await;
        }
        Ok(())
    }

    fn export(&self, order: &ExportOrder) -> Exported {
        match tokio::task::block_in_place(|| self.exported(order)) {
            Ok(exported) => exported,
            Err(error) => Exported::No { refusal: failed(&error) },
        }
    }

    /// Writes the file into the owner's folder for documents, under a name that is free.
    fn exported(&self, order: &ExportOrder) -> anyhow::Result<Exported> {
        use anyhow::Context as _;
        let moment = |text: &Option<String>, other: i64| match text {
            None => Ok(other),
            Some(text) => text.parse::<i64>().map(|at| at.div_euclid(1_000)).context("that is no moment"),
        };
        let (from, to) = (moment(&order.from, i64::MIN)?, moment(&order.to, i64::MAX)?);
        let network = self.figures.networks()?.into_iter().next().context("nothing was earned yet")?;
        let rates = prices::read_rates(&self.data)?;
        let mut counted = (0, 0);
        let mut table = |form| -> anyhow::Result<Vec<u8>> {
            let entries = self.figures.entries(&network, from, to)?;
            let payouts = || entries.iter().filter(|entry| entry.kind == EntryKind::Payout);
            let unrated = |unix| network.pays_nothing || rates.on(Date::of_unix(unix)).is_none();
            counted = (payouts().count(), payouts().filter(|entry| unrated(entry.unix)).count());
            Ok(write(&entries, &rates, form).into_bytes())
        };
        let (bytes, name, ending) = match order.kind {
            ExportKind::Statement => {
                let month: Month = order.month.as_deref().context("a statement is of a month")?.parse()?;
                let part = self.figures.month(&network, month)?;
                let payouts = part.entries.iter().filter(|entry| entry.kind == EntryKind::Payout);
                let without =
                    payouts.clone().filter(|entry| entry.pays_nothing || rates.on(Date::of_unix(entry.unix)).is_none());
                counted = (payouts.count(), without.count());
                let prices = prices::read_prices(&self.data)?;
                let written_unix = unix_ms().div_euclid(1_000);
                let statement = Statement { month, written_unix, parts: &[part], rates: &rates, prices: &prices };
                (paper::pdf(&statement), format!("statement-{month}"), "pdf")
            }
            ExportKind::Months => (table(Form::Months)?, "months".to_owned(), "csv"),
            ExportKind::Csv => (table(Form::Lines)?, "payouts".to_owned(), "csv"),
            ExportKind::Koinly => (table(Form::Koinly)?, "koinly".to_owned(), "csv"),
            ExportKind::Electricity => {
                let days = self.figures.energy_days(&network, from, to)?;
                anyhow::ensure!(!days.is_empty(), "no card's power was measured in that time");
                let text = write_electricity(&days, &prices::read_prices(&self.data)?);
                (text.into_bytes(), "electricity".to_owned(), "csv")
            }
        };
        let folder = directories::UserDirs::new()
            .and_then(|folders| folders.document_dir().map(std::path::Path::to_owned))
            .filter(|folder| folder.is_dir())
            .or_else(|| directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned()))
            .context("this user has no folder for documents")?;
        let path = free(&folder, &name, ending).context("every name for the file is taken")?;
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(Exported::Written {
            path: path.display().to_string(),
            payouts: counted.0 as f64,
            without_rate: counted.1 as f64,
        })
    }

    /// Writes down what a card drew in this session. Waits for the disk.
    pub(crate) fn drew(&self, drawn: Drawn) {
        let root = self.inner().open.as_ref().map(|open| open.cashbox.root_contract());
        let Some(root) = root else { return };
        let written = tokio::task::block_in_place(|| self.figures.record_energy(&root, drawn.unix_ms, drawn.energy));
        if let Err(error) = written {
            tracing::warn!(%error, "what the card drew can't be written down");
        }
    }
}

fn power_price(prices: anyhow::Result<Prices>) -> PowerPrice {
    match prices {
        Ok(prices) => prices.newest(prices::today()).map_or(PowerPrice::Unknown, |(from, price)| PowerPrice::Known {
            price: price.to_text(),
            currency: price.currency.clone(),
            from: from.to_string(),
        }),
        Err(error) => PowerPrice::Unreadable { why: crate::sentence(&error) },
    }
}

/// What a payout was worth on its day. Practice money never is.
fn worth(rates: &Rates, network: &KnownNetwork, unix: i64, amount: Nanoton) -> Option<Worth> {
    let rate = rates.on(Date::of_unix(unix)).filter(|_| !network.pays_nothing)?;
    Some(Worth { amount: rate.about(amount, 2), currency: rate.currency.clone(), source: rate.source.clone() })
}

/// A name that nothing has. Practice is in it, because the money is worth nothing.
fn free(folder: &std::path::Path, name: &str, ending: &str) -> Option<std::path::PathBuf> {
    let numbered = |number: u32| match number {
        1 => format!("chrysalis-practice-{name}.{ending}"),
        _ => format!("chrysalis-practice-{name}-{number}.{ending}"),
    };
    (1..1_000).map(|number| folder.join(numbered(number))).find(|path| !path.exists())
}

fn key(lt: u64, hash: &[u8; 32]) -> String {
    format!("{lt}.{}", hex::encode(hash))
}

fn named(key: &str) -> Option<(u64, [u8; 32])> {
    let (lt, hash) = key.split_once('.')?;
    Some((lt.parse().ok()?, hex::decode(hash).ok()?.try_into().ok()?))
}

fn fact(finding: &Finding) -> FactCheck {
    FactCheck {
        fact: match finding.check {
            Check::Transaction => Fact::Transaction,
            Check::Message => Fact::Message,
            Check::Amount => Fact::Amount,
            Check::Proxy => Fact::Proxy,
            Check::Terms => Fact::Terms,
            Check::Worker => Fact::Worker,
            Check::Signature => Fact::Signature,
            Check::Total => Fact::Total,
            Check::Counted => Fact::Counted,
        },
        holds: match finding.proof {
            Proof::Passed => Some(true),
            Proof::Failed => Some(false),
            Proof::Unknown => None,
        },
        found: finding.found.clone(),
        expected: finding.expected.clone(),
        why: finding.why.clone(),
    }
}

fn waits(shown: &Shown, locked: bool) -> Option<PayoutWait> {
    if let Some(why) = &shown.chain_fails {
        return Some(PayoutWait::ChainFails { why: why.clone() });
    }
    match shown.waits.as_ref()? {
        _ if locked => Some(PayoutWait::Locked),
        Wait::Threshold { threshold: Some(_), .. } => Some(PayoutWait::Threshold),
        Wait::Threshold { threshold: None, .. } => Some(PayoutWait::OnlyWhenAsked),
        Wait::Fees { balance, needed } => {
            Some(PayoutWait::Fees { balance: balance.0.to_string(), needed: needed.0.to_string() })
        }
        Wait::NoWallet => Some(PayoutWait::NoWallet),
    }
}
