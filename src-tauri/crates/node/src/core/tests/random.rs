//! Inputs in any order, honest and dishonest ones, against what must hold whatever comes.

use std::collections::{BTreeMap, BTreeSet};

use accounting::signed_payment::SignedPayment;
use proptest::prelude::*;

use super::*;

const REGISTERED: u8 = 3;
const MOST_LANES: usize = 2;

/// Something that happens. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Pass(Duration),
    /// Time passes until the core wants to be woken.
    Wake,
    Wish(Target),
    /// The worker that was asked for runs, greets, and has read its model.
    Serve,
    /// A lane is connected, and the worker reports its proxy truly.
    Meet(u8),
    Started,
    NotStarted,
    Exited,
    Garbled,
    Says(Sentence),
    /// A worker that is gone said something.
    OldSays(Sentence),
    Connected(u8),
    Unreachable(u8),
    HungUp(u8),
    Recorded(u8, bool),
    NotRecorded(u8, bool),
}

/// What a worker may say.
#[derive(Debug, Clone)]
enum Sentence {
    Plain(Box<FromWorker>),
    LaneEnded(u8),
    /// Of this lane that it leads to a proxy with this key.
    LaneReady(u8, u8),
    JobStarted(u8, u32),
    JobDone(u8, Box<JobRecord>),
    /// On this lane a payment that this key signed.
    Payment(u8, u8, u16),
    Rubbish(u8, Vec<u8>),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_one_worker_runs_at_a_time_what_counts_is_written_and_a_yield_comes_to_rest(
        seed: u64, steps in prop::collection::vec(step(), 0..120), failing: u8
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.step(step);
        }
        world.settle(failing);
    }

    #[test]
    fn whatever_comes_in_a_well_running_node_money_is_what_was_checked_and_written(
        seed: u64, steps in prop::collection::vec(busy_step(), 0..120), failing: u8
    ) {
        let mut world = World::new(seed);
        world.step(Step::Serve);
        world.step(Step::Pass(Duration::from_mins(1)));
        for lane in 0..2 {
            world.step(Step::Meet(lane));
        }
        for step in steps {
            world.step(step);
        }
        world.settle(failing);
    }
}

/// What surrounds the core, kept by its effects alone.
struct World {
    stage: Stage,
    /// Of the process that was asked for last.
    generation: u64,
    process: Option<Process>,
    target: Target,
    lanes: BTreeMap<LaneId, SocketAddrV4>,
    named: BTreeSet<LaneId>,
    under_way: BTreeMap<u64, Effect>,
    jobs: u64,
    signed: BTreeMap<Address, u64>,
    /// Jobs that ended and whose last bytes must not leave yet.
    held: BTreeMap<LaneId, u64>,
}

/// A process, from the wish to have one until it is gone.
#[derive(Default)]
struct Process {
    ran: bool,
    /// It has read a model.
    read: bool,
    killed: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let stage = Stage::with(settings(REGISTERED, MOST_LANES as u32), Remembered::default(), seed);
        let mut world = Self {
            stage,
            generation: 0,
            process: None,
            target: Target::Serve,
            lanes: BTreeMap::new(),
            named: BTreeSet::new(),
            under_way: BTreeMap::new(),
            jobs: 0,
            signed: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        world.feed(Input::Tick);
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(pause) => {
                self.stage.later(pause);
                self.feed(Input::Tick);
            }
            Step::Wake => {
                self.stage.now = self.stage.core.next_deadline().unwrap_or(self.stage.now);
                self.feed(Input::Tick);
            }
            Step::Wish(target) => {
                self.target = target;
                self.feed(wants(target));
            }
            Step::Serve => {
                self.step(Step::Started);
                self.feed(hears(self.generation, hello()));
                self.feed(hears(self.generation, FromWorker::Ready(facts())));
                self.reads();
            }
            Step::Meet(lane) => {
                let (lane, number) = (self.lane(lane), self.proxy_at(lane));
                self.feed(connected(lane.0));
                self.feed(hears(self.generation, FromWorker::LaneReady { lane, proxy: report(number) }));
            }
            Step::Started if self.runs() == Some(false) => {
                self.process = Some(Process { ran: true, killed: self.is_killed(), read: false });
                self.feed(started(self.generation));
            }
            Step::NotStarted if self.runs() == Some(false) => {
                self.process = None;
                self.feed(not_started(self.generation));
            }
            Step::Exited if self.runs() == Some(true) => {
                self.process = None;
                self.feed(exited_with(self.generation, Departure { gone_at: self.stage.now, ..Departure::default() }));
            }
            // Of no process that is there.
            Step::Started => self.feed(started(self.generation + 1)),
            Step::NotStarted => self.feed(not_started(self.generation.saturating_sub(1))),
            Step::Exited => self.feed(exited(self.generation.saturating_sub(1))),
            Step::Garbled => self.feed(garbled(self.generation)),
            Step::OldSays(sentence) => self.feed(hears(self.generation.saturating_sub(1), self.sentence(sentence))),
            // It can't before it runs.
            Step::Says(_) if self.runs() == Some(false) => {}
            Step::Says(sentence) => {
                let message = self.sentence(sentence);
                if matches!(message, FromWorker::Ready(_)) {
                    self.reads();
                }
                self.feed(hears(self.generation, message));
            }
            Step::Connected(lane) => self.feed(connected(self.lane(lane).0)),
            Step::Unreachable(lane) => {
                let lane = self.lane(lane);
                self.lanes.remove(&lane);
                self.feed(unreachable(lane.0));
            }
            Step::HungUp(lane) => {
                let lane = self.lane(lane);
                self.lanes.remove(&lane);
                self.feed(hung_up(lane.0));
            }
            Step::Recorded(entry, new) => {
                let entry = self.entry(entry);
                match self.under_way.remove(&entry) {
                    Some(Effect::RecordJob { .. }) if new => self.jobs += 1,
                    Some(Effect::RecordPayment { payment, .. }) => {
                        let best = self.signed.entry(payment.proxy.worker_contract).or_default();
                        *best = payment.tokens.max(*best);
                    }
                    _ => {}
                }
                self.feed(if new { recorded(entry) } else { known(entry) });
            }
            Step::NotRecorded(entry, content) => {
                let entry = self.entry(entry);
                self.under_way.remove(&entry);
                self.feed(if content { refused(entry) } else { not_recorded(entry) });
            }
        }
    }

    /// `None`: there is no process; `false`: it was only asked for.
    fn runs(&self) -> Option<bool> {
        self.process.as_ref().map(|process| process.ran)
    }

    fn is_killed(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.killed)
    }

    fn reads(&mut self) {
        if let Some(process) = &mut self.process {
            process.read = true;
        }
    }

    fn sentence(&self, sentence: Sentence) -> FromWorker {
        match sentence {
            Sentence::Plain(message) => *message,
            Sentence::LaneEnded(lane) => FromWorker::LaneEnded { lane: self.lane(lane), why: LaneEnd::Silent },
            Sentence::LaneReady(lane, number) => FromWorker::LaneReady { lane: self.lane(lane), proxy: report(number) },
            Sentence::JobStarted(lane, active) => began(self.lane(lane), active as u8, active),
            Sentence::JobDone(lane, record) => {
                FromWorker::JobDone { lane: self.lane(lane), record: *record, active: 0 }
            }
            Sentence::Payment(lane, number, tokens) => payment(self.lane(lane).0, signed(number, tokens.into())),
            Sentence::Rubbish(lane, boc) => payment(self.lane(lane).0, boc),
        }
    }

    /// One of the open lanes, or one that may never have been.
    fn lane(&self, choice: u8) -> LaneId {
        let open = self.lanes.keys().nth(usize::from(choice)).copied();
        open.unwrap_or(LaneId(u32::from(choice).saturating_sub(MOST_LANES as u32)))
    }

    /// Which proxy the chosen lane leads to.
    fn proxy_at(&self, choice: u8) -> u8 {
        let place = self.lanes.get(&self.lane(choice));
        (1..=REGISTERED).find(|number| Some(&endpoint(*number)) == place).unwrap_or(1)
    }

    /// One of the entries that are under way, or one that is not.
    fn entry(&self, choice: u8) -> u64 {
        self.under_way.keys().nth(usize::from(choice)).copied().unwrap_or(u64::from(choice))
    }

    fn feed(&mut self, input: Input) {
        if let Input::Worker { message, .. } = &input
            && let Some(lane) = message.ends_a_paid_job()
        {
            *self.held.entry(lane).or_default() += 1;
        }
        for effect in self.stage.feed(input) {
            self.execute(effect);
        }
        for lane in std::mem::take(&mut self.stage.released) {
            let held = self.held.get_mut(&lane).filter(|held| **held > 0);
            *held.expect("a lane that waits") -= 1;
        }
        let shown = self.stage.core.snapshot();
        let gone = matches!(shown.worker, WorkerState::Gone | WorkerState::Waiting { .. } | WorkerState::Failed(_));
        assert_eq!(gone, self.process.is_none(), "shown is {:?}", shown.worker);
        assert_eq!(shown.worker == WorkerState::Ending, self.is_killed());
        assert_eq!(shown.worker_pid.is_some(), self.runs() == Some(true));
        assert!(shown.unwritten >= self.under_way.len());
        assert_eq!(shown.totals.answered + shown.totals.failed, self.jobs);
        let signed: u64 = self.signed.values().sum();
        // Less when some of it was signed before a job of this session was done: that pays earlier ones.
        assert!((0..=signed as i64).contains(&shown.signed_tokens));
        assert!(shown.proxies.len() <= MOST_LANES);
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::StartWorker { generation } => {
                assert!(self.process.is_none(), "two at a time");
                assert_ne!(self.target, Target::Yield);
                assert_eq!(generation.0, self.generation + 1);
                self.generation = generation.0;
                self.process = Some(Process::default());
            }
            Effect::KillWorker { generation } => {
                assert_eq!(generation.0, self.generation);
                self.process.as_mut().expect("a process to kill").killed = true;
            }
            Effect::Send(message) => {
                let Some(process) = self.process.as_ref().filter(|process| process.ran) else {
                    panic!("{message:?} is said to nobody");
                };
                let lanes = matches!(message, ToWorker::OpenLane { .. } | ToWorker::LaneClosed { .. });
                assert!(process.read || !lanes, "{message:?} before the model is read");
            }
            Effect::Dial { lane, endpoint } => {
                assert!(matches!(self.stage.state(), WorkerState::Serving { .. }), "nobody would answer");
                assert!(self.named.insert(lane), "{lane:?} is used twice");
                assert!(self.lanes.values().all(|open| *open != endpoint), "{endpoint} is dialled twice");
                assert!((1..=REGISTERED).any(|number| super::endpoint(number) == endpoint));
                self.lanes.insert(lane, endpoint);
            }
            Effect::CloseLane { lane } => {
                self.lanes.remove(&lane);
            }
            Effect::RecordJob { entry, ref job } => {
                let expected = job.record.usage.adjusted(job.record.coefficient, &Prices::from(&root(1)));
                assert!([expected, AdjustedUsage::default()].contains(&job.record.adjusted));
                self.write(entry, effect);
            }
            Effect::RecordPayment { entry, ref payment } => {
                let SignedRecord { proxy, tokens, boc, .. } = &**payment;
                let read = SignedPayment::from_boc(boc).unwrap();
                assert_eq!(read.verify(&proxy.key, &proxy.worker_contract), Ok(*tokens));
                self.write(entry, effect);
            }
            Effect::RecordProxy { entry, ref proxy } => {
                let root = root(1);
                let ours = root.worker_contract(&OWNER, &proxy.proxy_contract, &proxy.key);
                assert_eq!(proxy.worker_contract, ours);
                self.write(entry, effect);
            }
            Effect::RecordTuning { entry, .. } | Effect::RecordRefusal { entry, .. } => self.write(entry, effect),
            Effect::Attest { .. } | Effect::Log { .. } | Effect::Publish | Effect::ReleaseLane { .. } => {}
        }
    }

    fn write(&mut self, entry: EntryId, effect: Effect) {
        assert!(self.under_way.insert(entry.0, effect).is_none(), "{entry:?} is written twice at a time");
    }

    /// The card is wanted, processes end when they are killed, and the ledger works after some failures.
    fn settle(&mut self, mut failing: u8) {
        self.step(Step::Wish(Target::Yield));
        let starts = self.generation;
        let mut turns = 0;
        while !self.stage.core.is_at_rest() {
            turns += 1;
            assert!(turns < 2_000, "it never comes to rest: {:?}", self.stage.core.snapshot());
            if self.is_killed() {
                self.step(if self.runs() == Some(true) { Step::Exited } else { Step::NotStarted });
            } else if !self.under_way.is_empty() {
                let fails = failing.is_multiple_of(3);
                let content = failing.is_multiple_of(2);
                failing /= 2;
                self.step(if fails && failing > 0 { Step::NotRecorded(0, content) } else { Step::Recorded(0, true) });
            } else {
                assert!(self.stage.core.next_deadline().is_some(), "it waits for nothing");
                self.step(Step::Wake);
            }
        }
        assert!(self.process.is_none() && self.generation == starts, "no other one is started");
        assert_eq!(self.stage.core.next_deadline(), None);
        assert!(self.lanes.is_empty(), "{:?} are still open", self.lanes);
        assert!(self.held.values().all(|held| *held == 0), "an answer is held back for ever");
        let state = self.stage.state();
        assert!(matches!(state, WorkerState::Gone | WorkerState::Failed(_)), "{state:?}");
        // And from there it serves again, unless only the owner can help.
        self.step(Step::Wish(Target::Serve));
        assert_eq!(self.process.is_some(), state == WorkerState::Gone);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => pause().prop_map(Step::Pass),
        4 => Just(Step::Wake),
        2 => target().prop_map(Step::Wish),
        4 => Just(Step::Serve),
        4 => (0..4_u8).prop_map(Step::Meet),
        2 => Just(Step::Started),
        1 => Just(Step::NotStarted),
        2 => Just(Step::Exited),
        1 => Just(Step::Garbled),
        1 => beginning().prop_map(Step::Says),
        1 => prop_oneof![beginning(), sentence()].prop_map(Step::OldSays),
        12 => busy_step(),
    ]
}

/// What happens while a worker serves.
fn busy_step() -> impl Strategy<Value = Step> {
    let lane = || 0..5_u8;
    prop_oneof![
        10 => sentence().prop_map(Step::Says),
        2 => Just(Step::Wake),
        2 => lane().prop_map(Step::Meet),
        1 => lane().prop_map(Step::Connected),
        1 => lane().prop_map(Step::Unreachable),
        1 => lane().prop_map(Step::HungUp),
        6 => (0..4_u8, prop::bool::weighted(0.8)).prop_map(|(entry, new)| Step::Recorded(entry, new)),
        2 => (0..4_u8, prop::bool::weighted(0.2)).prop_map(|(entry, content)| Step::NotRecorded(entry, content)),
    ]
}

fn pause() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![0, 1, 100, 1_000, 10_000, 61_000, 400_000, 2_000_000]).prop_map(Duration::from_millis)
}

fn target() -> impl Strategy<Value = Target> {
    prop::sample::select(vec![Target::Serve, Target::Drain, Target::Yield, Target::Serve])
}

/// What is out of place once the worker serves.
fn beginning() -> impl Strategy<Value = Sentence> {
    let wrong = ModelFacts { sha256: [0; 32], ..facts() };
    let messages = vec![
        hello(),
        FromWorker::Hello { build: String::new() },
        FromWorker::Ready(facts()),
        FromWorker::Ready(wrong),
        FromWorker::Failed(Failure::Model(String::new())),
    ];
    prop::sample::select(messages).prop_map(|message| Sentence::Plain(Box::new(message)))
}

fn sentence() -> impl Strategy<Value = Sentence> {
    let lane = || 0..5_u8;
    let plain = vec![
        FromWorker::Enabled(true),
        FromWorker::Enabled(false),
        FromWorker::Yielded,
        FromWorker::WantEvidence { lane: LaneId(0), ask: 1, tls_key: [1; 32], nonce: [2; 32] },
        FromWorker::Enrolled { statement: vec![1] },
        FromWorker::Log { level: LogLevel::Info, message: "a line".to_owned() },
    ];
    prop_oneof![
        2 => prop::sample::select(plain).prop_map(|message| Sentence::Plain(Box::new(message))),
        1 => lane().prop_map(Sentence::LaneEnded),
        2 => (lane(), 1..=REGISTERED + 1).prop_map(|(lane, number)| Sentence::LaneReady(lane, number)),
        2 => (lane(), any::<u32>()).prop_map(|(lane, active)| Sentence::JobStarted(lane, active)),
        1 => (0..4_u8, any::<[u64; 2]>()).prop_map(|(number, [prompt_tokens, completion_tokens])| {
            let progress = FromWorker::JobProgress { id: JobId([number; 32]), prompt_tokens, completion_tokens };
            Sentence::Plain(Box::new(progress))
        }),
        6 => (lane(), record()).prop_map(|(lane, record)| Sentence::JobDone(lane, Box::new(record))),
        6 => (lane(), 1..=REGISTERED, 0..500_u16)
            .prop_map(|(lane, number, tokens)| Sentence::Payment(lane, number, tokens)),
        1 => (lane(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(lane, boc)| Sentence::Rubbish(lane, boc)),
    ]
}

fn record() -> impl Strategy<Value = JobRecord> {
    let odd = (any::<[u64; 4]>(), any::<i32>(), any::<[i64; 5]>(), any::<i32>(), any::<bool>()).prop_map(
        |([prompt, cached, completion, reasoning], coefficient, claims, code, answered)| JobRecord {
            outcome: if answered { JobOutcome::Answered } else { JobOutcome::Failed { code } },
            usage: TokenUsage { prompt, cached, completion, reasoning },
            coefficient,
            adjusted: AdjustedUsage {
                prompt: claims[0],
                cached: claims[1],
                completion: claims[2],
                reasoning: claims[3],
                total: claims[4],
            },
            ..job(0)
        },
    );
    prop_oneof![2 => any::<u8>().prop_map(job), 1 => odd]
}
