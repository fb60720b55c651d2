//! `chrysalis` itself: the process in the tray. It owns the ledger's folder, the provider while there is one, the icon, and the window's process.
//!
//! One loop takes [`Input`]s, one after another. What the owner wants over time is decided in [`node::owner`], what is shown in
//! [`home`]; here it is only passed on.
//!
//! - [`home`]: what the page Home shows, made of facts.
//! - [`session`]: starting and stopping a provider with its practice network.
//! - [`meter`]: speed over the last minutes.
//! - [`power`]: what the card draws.
//! - [`money`]: the pages Wallet and Earnings; [`trust`] the page Trust, [`walls`] the worker's box on it.
//! - [`window`]: the window's process.
//! - [`knock`]: a second start shows the window of the first.

mod calendar;
mod home;
mod jobs;
mod knock;
mod meter;
mod money;
mod power;
mod session;
mod trust;
pub(crate) mod walls;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use node::core::Target;
use node::core::workers::WorkerState;
use node::folder::{Folder, FolderError};
use node::history::History;
use node::model_file::Known;
use node::owner::{Moment, Order, Owner, Progress, Stage, Wish};
use node::run::{Moved, Traffic};
use node::snapshot::Snapshot;
use tokio::sync::{mpsc, watch};

use crate::cli::AppArguments;
use crate::identity::Place;
use crate::practice;
use crate::provider::{Asked, unix_ms};
use crate::report;
use crate::tray::{Action, Face, PauseFor, Tray};
use crate::view::{self, ApiError, Card, ErrorCode, Event, Page};
use crate::wire::{Answer, Question, ToApp, ToWindow};
use home::Facts;
use meter::Meter;
use money::Desk;
use power::Power;
use session::{Session, Wanted};
use trust::{Inspector, Seen};
use window::WindowProcess;

/// How often numbers are brought up to date.
const BEAT: Duration = Duration::from_secs(1);
/// And those of the pages about money, which are sums over the ledger; what happens to money is told at once.
const MONEY_BEAT: Duration = Duration::from_secs(5);
/// How long the end may take: running answers, the last records, the processes.
const ENDING_PATIENCE: Duration = Duration::from_secs(30);
/// Things that happened and wait to be looked at.
const WAITING_INPUTS: usize = 64;

/// Everything that can happen to the app.
enum Input {
    /// Time has passed.
    Beat,
    /// The owner chose something in the tray.
    Tray(Action),
    /// The window of that number says something.
    Window(u64, ToApp),
    /// The window of that number is closed.
    WindowGone {
        /// Which.
        number: u64,
        /// Its process did not end well.
        failed: bool,
    },
    /// Somebody started the app a second time.
    Knocked,
    /// The provider shows something new.
    Shown(Box<Snapshot>),
    /// A provider was started, or not.
    Started(Result<Box<Session>>),
    /// A question of the window of that number is answered.
    Answered {
        /// Which window.
        number: u64,
        /// Which question.
        id: u64,
        /// What.
        answer: Result<Answer, ApiError>,
    },
    /// Something about money has changed.
    MoneyMoved,
    /// It is gone; its last facts.
    Stopped(Box<Snapshot>),
    /// Readings of the devices.
    Cards(Vec<Card>),
    /// The system wants the app to end.
    AskedToEnd,
}

/// Runs until the owner quits.
pub(crate) async fn run(arguments: AppArguments) -> Result<()> {
    let path = match &arguments.data {
        Some(path) => path.clone(),
        None => practice::own_folder()?,
    };
    let folder = match Folder::take(&path) {
        Err(FolderError::InUse { .. }) => return knock::knock(&path).await,
        other => other?,
    };
    if !window::there_is_a_display() {
        bail!(
            "there is no display to show a window on; use `chrysalis practice` or `chrysalis headless` in a terminal"
        );
    }
    let model = match &arguments.model {
        Some(path) => path.clone(),
        None => practice::practice_model()?,
    };
    // Before there is any word or key in this process. What it starts (worker, network, window) keeps its own.
    sandbox::keep_memory_private().context("this system does not let a program keep its memory to itself")?;
    let mut asked = Asked::listen()?;
    let (sender, mut inputs) = mpsc::channel(WAITING_INPUTS);
    let history = History::open(&folder.ledger(), unix_ms()).context("the ledger can't be read")?;
    let desk = Arc::new(Desk::new(folder.path().to_owned(), &folder.ledger()).context("the ledger can't be read")?);
    let tray = start_tray(&sender).await;
    forward(&sender, move |sender| async move {
        loop {
            asked.wait().await;
            if sender.send(Input::AskedToEnd).await.is_err() {
                return;
            }
        }
    });
    knock::listen(folder.path(), sender.clone());
    let (worker, worker_pid) = watch::channel(None);
    crate::cards::watch(sender.clone(), Input::Cards, worker_pid);
    let wanted = Wanted {
        data: folder.path().to_owned(),
        ledger: folder.ledger(),
        model,
        customers: arguments.customers,
        seed: arguments.seed,
        device: arguments.device.clone(),
    };
    let first = if arguments.start { Wish::Work } else { Wish::Pause { until_unix_ms: None } };
    let mut app = App {
        owner: Owner::new(first),
        wanted: Arc::new(wanted),
        history,
        desk,
        told_money: None,
        inputs: sender.clone(),
        tray,
        window: None,
        windows: 0,
        session: None,
        known: Known::default(),
        facts: Facts::default(),
        snapshot: None,
        meter: Meter::default(),
        power: Power::default(),
        cards: Vec::new(),
        worker,
        inspector: Arc::new(Inspector::new(folder.path().to_owned(), Place::new(arguments.tpm.clone()))),
        traffic: None,
        moved: Vec::new(),
        chain: None,
        started: Instant::now(),
        started_at: unix_ms(),
        quitting: None,
        was_seen: false,
        unseen: false,
    };
    if !arguments.hidden {
        app.open(Page::Home);
    }
    let beats = sender;
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if beats.send(Input::Beat).await.is_err() {
                return;
            }
        }
    });
    while let Some(input) = inputs.recv().await {
        app.take(input).await;
        if app.has_ended() {
            break;
        }
    }
    app.end().await;
    anyhow::ensure!(
        !app.unseen,
        "neither a window nor an icon in the tray can be shown here; use `chrysalis practice` or `chrysalis headless` in a terminal"
    );
    Ok(())
}

async fn start_tray(sender: &mpsc::Sender<Input>) -> Option<Tray> {
    let (actions, mut chosen) = mpsc::unbounded_channel();
    forward(sender, move |sender| async move {
        while let Some(action) = chosen.recv().await {
            if sender.send(Input::Tray(action)).await.is_err() {
                return;
            }
        }
    });
    match Tray::start(actions).await {
        Ok(tray) => Some(tray),
        Err(why) => {
            tracing::warn!(why, "no icon in the tray; start chrysalis again to see its window");
            None
        }
    }
}

fn forward<F: Future<Output = ()> + Send + 'static>(
    sender: &mpsc::Sender<Input>,
    task: impl FnOnce(mpsc::Sender<Input>) -> F,
) {
    tokio::spawn(task(sender.clone()));
}

struct App {
    owner: Owner,
    wanted: Arc<Wanted>,
    history: History,
    desk: Arc<Desk>,
    /// When the pages about money were brought up to date last.
    told_money: Option<Instant>,
    inputs: mpsc::Sender<Input>,
    tray: Option<Tray>,
    window: Option<WindowProcess>,
    /// Numbers windows.
    windows: u64,
    session: Option<Session>,
    /// By what the model's file is known again.
    known: Known,
    facts: Facts,
    /// What the running provider shows.
    snapshot: Option<Box<Snapshot>>,
    meter: Meter,
    power: Power,
    cards: Vec<Card>,
    /// Process id of the worker, for whoever reads the cards.
    worker: watch::Sender<Option<u32>>,
    inspector: Arc<Inspector>,
    /// Counts what the running session moves.
    traffic: Option<Traffic>,
    /// What sessions before it have moved.
    moved: Vec<Moved>,
    /// The address of the chain that was asked last.
    chain: Option<String>,
    started: Instant,
    /// The same by the clock, Unix time in milliseconds.
    started_at: i64,
    quitting: Option<Instant>,
    /// A window has been there.
    was_seen: bool,
    /// Neither a window nor an icon can be shown, so nobody would know that the app runs.
    unseen: bool,
}

impl App {
    fn now(&self) -> Moment {
        Moment { mono: self.started.elapsed(), unix_ms: unix_ms() }
    }

    fn has_ended(&self) -> bool {
        self.quitting.is_some_and(|since| self.owner.stage() == Stage::Resting || since.elapsed() > ENDING_PATIENCE)
    }

    async fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Beat => {
                self.desk.beat();
                if self.told_money.is_none_or(|told| told.elapsed() >= MONEY_BEAT) {
                    let desk = Arc::clone(&self.desk);
                    tokio::spawn(async move { desk.look().await });
                    self.tell_money();
                }
                let order = self.beat(now);
                self.obey(order).await;
                self.tell().await;
                return;
            }
            Input::Cards(cards) => {
                self.cards = cards;
                self.measure(now);
                return;
            }
            Input::Tray(Action::Open(page)) => return self.open(page),
            Input::Knocked => return self.open(Page::Home),
            Input::Tray(Action::Quit) | Input::AskedToEnd => self.quit(now).await,
            Input::Tray(Action::Start) => self.want(Wish::Work, now).await,
            Input::Tray(Action::FinishAndPause) => self.want(Wish::FinishAndPause, now).await,
            Input::Tray(Action::Pause(how)) => {
                let until_unix_ms = match how {
                    PauseFor::Minutes(minutes) => Some(now.unix_ms + i64::from(minutes) * 60_000),
                    PauseFor::UntilTomorrow => calendar::tomorrow_at_eight(now.unix_ms),
                    PauseFor::UntilISaySo => None,
                };
                self.want(Wish::Pause { until_unix_ms }, now).await;
            }
            Input::Window(
                number,
                ToApp::Ask { id, question: question @ (Question::Wallet(_) | Question::Earnings(_)) },
            ) => {
                self.was_seen = true;
                let desk = Arc::clone(&self.desk);
                forward(&self.inputs, |sender| async move {
                    let answer = match question {
                        Question::Wallet(question) => desk.wallet(question).await,
                        Question::Earnings(question) => desk.earnings(question).await,
                        _ => return,
                    };
                    let _ = sender.send(Input::Answered { number, id, answer }).await;
                });
                return;
            }
            Input::Window(number, ToApp::Ask { id, question: Question::Trust(question) }) => {
                self.was_seen = true;
                let (inspector, seen) = (Arc::clone(&self.inspector), self.seen(now));
                forward(&self.inputs, move |sender| async move {
                    let answer = inspector.answer(question, seen).await;
                    let _ = sender.send(Input::Answered { number, id, answer }).await;
                });
                return;
            }
            Input::Answered { number, id, answer } => {
                if let Some(window) = self.window.as_ref().filter(|window| window.number() == number) {
                    window.say(&ToWindow::Answer { id, answer });
                }
                self.tell_money();
                return;
            }
            Input::MoneyMoved => {
                self.tell_money();
                self.say(&ToWindow::Event(Event::WalletHistoryChanged));
                self.say(&ToWindow::Event(Event::PayoutsChanged));
                return;
            }
            Input::Window(number, ToApp::Ask { id, question }) => {
                self.was_seen = true;
                let answer = self.answer(question).await;
                if let Some(window) = self.window.as_ref().filter(|window| window.number() == number) {
                    window.say(&ToWindow::Answer { id, answer });
                }
                return;
            }
            Input::WindowGone { number, failed } => {
                self.window.take_if(|window| window.number() == number);
                if failed && self.tray.is_none() && !self.was_seen {
                    self.unseen = true;
                    self.quit(now).await;
                }
                return;
            }
            Input::Shown(snapshot) => {
                let jobs_changed = self.snapshot.as_ref().is_none_or(|old| {
                    old.totals != snapshot.totals
                        || old.running != snapshot.running
                        || old.active != snapshot.active
                        || old.signed_tokens != snapshot.signed_tokens
                });
                if matches!(snapshot.worker, WorkerState::Failed(_)) {
                    // Perhaps because the file is another one than it seemed. The next start looks for itself.
                    self.known = Known::default();
                }
                self.worker.send_replace(snapshot.worker_pid);
                if let Some(session) = &self.session
                    && self.snapshot.as_ref().is_none_or(|old| old.signed_tokens != snapshot.signed_tokens)
                {
                    session.payments_came().await;
                }
                // A job that ends shows its speed together with itself, not a beat later.
                self.meter.add(now.mono, &snapshot);
                self.snapshot = Some(snapshot);
                let order = self.progress(now);
                self.obey(order).await;
                if jobs_changed {
                    self.say(&ToWindow::Event(Event::JobsChanged));
                }
            }
            Input::Started(Ok(session)) => {
                self.snapshot = Some(Box::new(session.snapshots().borrow().clone()));
                self.watch(&session);
                self.facts.network = Some(session.network());
                self.known = session.known();
                let root = Arc::new(session.root().clone());
                self.desk.opened(session.cashbox(), session.purse(), root).await;
                self.traffic = Some(session.traffic());
                self.chain = Some(session.chain_endpoint());
                self.session = Some(*session);
                self.meter.begin();
                if let Some(snapshot) = &self.snapshot {
                    // The first answer may be there before the next beat.
                    self.meter.add(now.mono, snapshot);
                }
                let order = self.owner.started(now);
                self.obey(order).await;
            }
            Input::Started(Err(error)) => {
                let why = crate::sentence(&error);
                tracing::error!(why, "practice does not start");
                self.owner.not_started(why);
            }
            Input::Stopped(last) => {
                self.meter.add(now.mono, &last);
                self.facts.freed_in_ms = last.freed.map(|freed| freed.took.as_millis() as f64);
                self.snapshot = None;
                if let Some(traffic) = self.traffic.take() {
                    trust::add(&mut self.moved, traffic.moved());
                }
                self.worker.send_replace(None);
                let order = self.owner.stopped(now);
                self.obey(order).await;
                self.say(&ToWindow::Event(Event::JobsChanged));
            }
        }
        self.tell().await;
    }

    /// Adds up what the card draws that the worker runs on, as far as its driver says. The rest of the PC is not in it.
    fn measure(&mut self, now: Moment) {
        if self.session.is_none() {
            return;
        }
        let cards = crate::cards::with_work(self.cards.clone(), self.snapshot.as_deref(), None);
        let ours = cards.iter().filter(|card| card.ours && card.kind == view::CardKind::Graphics);
        let watts: Option<Vec<f64>> = ours.map(|card| card.watts).collect();
        let watts = watts.filter(|watts| !watts.is_empty()).map(|watts| watts.iter().sum());
        if let Some(drawn) = self.power.add(now.mono, now.unix_ms, watts) {
            self.desk.drew(drawn);
        }
    }

    fn beat(&mut self, now: Moment) -> Option<Order> {
        if let Some(snapshot) = &self.snapshot {
            self.meter.add(now.mono, snapshot);
        }
        if let Some(session) = &mut self.session
            && session.network_has_ended()
            && self.owner.stage() == Stage::Running
        {
            // The wish to work stays, so it begins anew once it is stopped.
            tracing::error!("the practice network ended by itself; starting anew");
            let pause = self.owner.wants(Wish::Pause { until_unix_ms: None }, now);
            let work = self.owner.wants(Wish::Work, now);
            return pause.or(work);
        }
        if self.desk.is_paid_elsewhere() && self.owner.stage() == Stage::Running {
            tracing::warn!("payouts go to another address from now on; practice starts anew");
            let pause = self.owner.wants(Wish::Pause { until_unix_ms: None }, now);
            let work = self.owner.wants(Wish::Work, now);
            return pause.or(work);
        }
        self.owner.tick(now).or_else(|| self.progress(now))
    }

    fn progress(&mut self, now: Moment) -> Option<Order> {
        let (Some(snapshot), Some(session)) = (&self.snapshot, &self.session) else { return None };
        let progress = Progress {
            active: snapshot.active,
            covered: report::is_covered(snapshot, session.root()),
            stuck: matches!(snapshot.worker, WorkerState::Failed(_)),
        };
        self.owner.progress(progress, now)
    }

    async fn want(&mut self, wish: Wish, now: Moment) {
        if self.quitting.is_none() {
            let order = self.owner.wants(wish, now);
            self.obey(order).await;
        }
    }

    async fn quit(&mut self, now: Moment) {
        if self.quitting.is_none() {
            let order = self.owner.wants(Wish::Pause { until_unix_ms: None }, now);
            self.obey(order).await;
            self.quitting = Some(Instant::now());
        }
    }

    async fn obey(&mut self, order: Option<Order>) {
        match order {
            None => {}
            Some(Order::Start) => {
                let (wanted, desk) = (Arc::clone(&self.wanted), Arc::clone(&self.desk));
                let known = self.known.clone();
                forward(&self.inputs, |sender| async move {
                    let started = session::start(&wanted, &desk, known).await.map(Box::new);
                    let _ = sender.send(Input::Started(started)).await;
                });
            }
            Some(Order::Drain) => self.target(Target::Drain).await,
            Some(Order::Resume) => self.target(Target::Serve).await,
            Some(Order::Stop) => {
                let Some(session) = self.session.take() else {
                    // Nothing can be stopped that was never started.
                    return;
                };
                if let Some(drawn) = self.power.end() {
                    self.desk.drew(drawn);
                }
                self.desk.closed();
                forward(&self.inputs, |sender| async move {
                    let last = session.stop().await;
                    let _ = sender.send(Input::Stopped(Box::new(last))).await;
                });
            }
        }
    }

    async fn target(&self, target: Target) {
        if let Some(session) = &self.session {
            session.want(target).await;
        }
    }

    fn watch(&self, session: &Session) {
        let mut snapshots = session.snapshots();
        forward(&self.inputs, |sender| async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = Box::new(snapshots.borrow_and_update().clone());
                if sender.send(Input::Shown(snapshot)).await.is_err() {
                    return;
                }
            }
        });
        let mut payouts = session.cashbox().shown();
        forward(&self.inputs, |sender| async move {
            let under_way =
                |shown: &node::core::payouts::Shown| shown.in_flight.as_ref().map(|it| (it.id, it.stage.clone()));
            let mut before = None;
            while payouts.changed().await.is_ok() {
                let now = under_way(&payouts.borrow_and_update());
                if now != before && sender.send(Input::MoneyMoved).await.is_err() {
                    return;
                }
                before = now;
            }
        });
    }

    /// Brings tray and window up to date.
    async fn tell(&mut self) {
        let home = self.home();
        let cards = self.cards();
        if let Some(tray) = &self.tray {
            tray.show(Face::of(&home, &cards)).await;
        }
        if self.window.is_some() {
            self.say(&ToWindow::Event(Event::Home(Box::new(home))));
            self.say(&ToWindow::Event(Event::Cards(cards)));
        }
    }

    /// Brings the pages about money up to date.
    fn tell_money(&mut self) {
        self.told_money = Some(Instant::now());
        if self.window.is_some() {
            self.say(&ToWindow::Event(Event::Wallet(Box::new(self.desk.wallet_page()))));
            if let Ok(page) = self.desk.earnings_page() {
                self.say(&ToWindow::Event(Event::Earnings(Box::new(page))));
            }
        }
    }

    fn say(&self, message: &ToWindow) {
        if let Some(window) = &self.window {
            window.say(message);
        }
    }

    fn home(&mut self) -> view::Home {
        let now = self.now();
        let speed = self.meter.tokens_per_second(now.mono, meter::LONG);
        self.facts.refresh(&self.history, self.snapshot.as_deref(), now);
        home::home(&self.facts, &self.owner, self.snapshot.as_deref(), &self.wanted, speed, now)
    }

    /// What there is to know for the page Trust.
    fn seen(&self, now: Moment) -> Seen {
        let mut moved = self.moved.clone();
        if let Some(traffic) = &self.traffic {
            trust::add(&mut moved, traffic.moved());
        }
        let network = self.facts.network.clone().unwrap_or_else(|| self.wanted.network());
        Seen {
            now: now.unix_ms,
            practice: network.kind == view::NetworkKind::Practice,
            snapshot: self.snapshot.clone(),
            served_hash: self.session.as_ref().and_then(Session::served_hash),
            chain: self.chain.clone(),
            moved,
            since: self.started_at,
            // A page that can't say who was refused says the rest.
            refusals: tokio::task::block_in_place(|| self.history.refusals(trust::SHOWN_REFUSALS)).unwrap_or_default(),
            walls: self
                .snapshot
                .as_deref()
                .and_then(|snapshot| walls::Read::of(snapshot.worker_pid?, snapshot.confinement.as_ref(), now.unix_ms)),
        }
    }

    fn cards(&self) -> Vec<Card> {
        let now = self.now();
        let speed = self.meter.tokens_per_second(now.mono, meter::SHORT);
        crate::cards::with_work(self.cards.clone(), self.snapshot.as_deref(), speed)
    }

    async fn answer(&mut self, question: Question) -> Result<Answer, ApiError> {
        match question {
            Question::Home => Ok(Answer::Home(Box::new(self.home()))),
            Question::Cards => Ok(Answer::Cards(self.cards())),
            Question::Jobs(query) => jobs::page(&self.history, self.snapshot.as_deref(), &query).map(Answer::Jobs),
            Question::Wallet(question) => self.desk.wallet(question).await,
            Question::Earnings(question) => self.desk.earnings(question).await,
            Question::Trust(question) => self.inspector.answer(question, self.seen(self.now())).await,
            Question::Quit => {
                let now = self.now();
                self.quit(now).await;
                self.tell().await;
                Ok(Answer::Done)
            }
            Question::SetWish(wish) => {
                let now = self.now();
                let wish = match wish {
                    view::Wish::Work => Wish::Work,
                    view::Wish::FinishAndPause => Wish::FinishAndPause,
                    view::Wish::Pause { until: None } => Wish::Pause { until_unix_ms: None },
                    view::Wish::Pause { until: Some(until) } if until.is_finite() && until > 0.0 => {
                        Wish::Pause { until_unix_ms: Some(until as i64) }
                    }
                    view::Wish::Pause { .. } => {
                        let message = "a pause needs a time to end, or none".to_owned();
                        return Err(ApiError { code: ErrorCode::Request, message });
                    }
                };
                self.want(wish, now).await;
                self.tell().await;
                Ok(Answer::Done)
            }
        }
    }

    fn open(&mut self, page: Page) {
        if let Some(window) = &self.window {
            window.say(&ToWindow::Event(Event::Show { page }));
            window.say(&ToWindow::Raise);
            return;
        }
        self.windows += 1;
        let inputs = self.inputs.clone();
        match WindowProcess::start(self.windows, &self.wanted.data, inputs) {
            Ok(window) => self.window = Some(window),
            Err(error) => tracing::error!(%error, "the window does not open"),
        }
    }

    async fn end(&mut self) {
        if self.owner.stage() != Stage::Resting {
            tracing::error!("the end took too long; what still ran is cut off");
        }
        drop(self.window.take());
        if let Some(tray) = self.tray.take() {
            tray.stop().await;
        }
    }
}
