//! Which proxies are kept connected, and whether they are who they were.
//!
//! As genuine workers do: every second, while there are too few, one registered proxy is drawn; if it is connected or tried
//! already, nothing happens this round. A lost one is dialled again after a pause; one that is not ready for five minutes is
//! dropped, so that another may be drawn. The first draw and the first dial are made at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

use link::message::{LaneEnd, LogLevel, ProxyReport};
use link::{LaneId, ToWorker};
use ton::{Address, StateInit, boc};

use super::proof::ShownStanding;
use super::refusals::{Refusal, Refusals, RefusedBy};
use super::{Effect, Out, PinnedKey, PinnedProxy, Settings};
use crate::snapshot::ShownProxy;

/// Between two draws.
const DRAW: Duration = Duration::from_secs(1);
/// A proxy that was not ready for this long is dropped.
const NOT_READY: Duration = Duration::from_mins(5);
/// Lanes that ended are remembered for what the worker still says about them.
const ENDED_KEPT: usize = 64;

/// A proxy as the app has recomputed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Where it was dialled.
    pub endpoint: SocketAddrV4,
    /// Its payment key.
    pub key: [u8; 32],
    /// Its contract.
    pub proxy_contract: Address,
    /// Our worker contract there.
    pub worker_contract: Address,
    /// Negotiated version of the protocol.
    pub protocol_version: i32,
}

enum State {
    /// Not connected; dialled again at this time.
    Waiting { until: Duration },
    /// Dialled.
    Dialling { lane: LaneId },
    /// Connected; the worker does proof of work, TLS and handshake. In the handshake the proxy presents what it has signed so far.
    Greeting { lane: LaneId, payment: Option<Vec<u8>> },
    /// Jobs may come.
    Ready { lane: LaneId, session: Session, standing: Option<ShownStanding> },
}

struct Wanted {
    endpoint: SocketAddrV4,
    state: State,
    /// Since when it has not been ready.
    not_ready_since: Duration,
    /// Why we hung up on it last, because it is not trusted; `None` once it was.
    untrusted: Option<String>,
}

/// See the module.
pub(super) struct Proxies {
    registered: Vec<SocketAddrV4>,
    most: usize,
    redial: Duration,
    wanted: Vec<Wanted>,
    next_draw: Option<Duration>,
    next_lane: u32,
    random: u64,
    keys: BTreeMap<SocketAddrV4, [u8; 32]>,
    ended: VecDeque<(LaneId, Session)>,
    refused: u64,
    refusals: Refusals,
}

/// A contract's code and first data as they stand in the ledger.
fn first_state(init: &StateInit) -> Option<Vec<u8>> {
    // A code of which only the hash is known can't be written.
    init.to_cell().ok().and_then(|cell| boc::encode(&cell).ok())
}

impl Proxies {
    pub(super) fn new(settings: &Settings, remembered: Vec<PinnedKey>, seed: u64) -> Self {
        let mut registered: Vec<SocketAddrV4> =
            settings.root.registered_proxies.iter().map(|proxy| proxy.worker_endpoint).collect();
        registered.sort_unstable();
        registered.dedup();
        let here = |pin: &PinnedKey| pin.root == settings.root_contract;
        Self {
            most: (settings.configuration.proxy_connections as usize).min(registered.len()),
            registered,
            redial: settings.redial,
            wanted: Vec::new(),
            next_draw: None,
            next_lane: 0,
            random: seed,
            keys: remembered.into_iter().filter(here).map(|pin| (pin.endpoint, pin.key)).collect(),
            ended: VecDeque::new(),
            refused: 0,
            refusals: Refusals::new(settings.root_contract),
        }
    }

    /// Reports of the worker about proxies that were not believed.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Who was refused since this was asked last, to be written down.
    pub(super) fn take_refusals(&mut self) -> Vec<Refusal> {
        self.refusals.take()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let draw = (self.wanted.len() < self.most).then_some(self.next_draw.unwrap_or_default());
        let targets = self.wanted.iter().filter_map(|one| match one.state {
            State::Waiting { until } => Some(until),
            State::Dialling { .. } | State::Greeting { .. } => Some(one.not_ready_since.saturating_add(NOT_READY)),
            State::Ready { .. } => None,
        });
        targets.chain(draw).min()
    }

    /// The proxy that jobs of this lane come from.
    pub(super) fn session_of(&self, lane: LaneId) -> Option<&Session> {
        self.wanted.iter().find_map(|one| match &one.state {
            State::Ready { lane: open, session, .. } if *open == lane => Some(session),
            _ => None,
        })
    }

    /// The same, or the one they came from until a moment ago.
    pub(super) fn last_session_of(&self, lane: LaneId) -> Option<&Session> {
        self.session_of(lane)
            .or_else(|| self.ended.iter().find(|(ended, _)| *ended == lane).map(|(_, session)| session))
    }

    pub(super) fn shown(&self) -> Vec<ShownProxy> {
        self.wanted
            .iter()
            .map(|one| ShownProxy {
                endpoint: one.endpoint,
                ready: matches!(one.state, State::Ready { .. }),
                worker_contract: match &one.state {
                    State::Ready { session, .. } => Some(session.worker_contract),
                    _ => None,
                },
                standing: match &one.state {
                    State::Ready { standing, .. } => standing.clone(),
                    _ => None,
                },
                untrusted: one.untrusted.clone(),
            })
            .collect()
    }

    /// Draws, dials, drops what is due.
    pub(super) fn go_on(&mut self, out: &mut Out<'_>) {
        let now = out.now.mono;
        self.drop_hopeless(out);
        if self.wanted.len() < self.most && self.next_draw.is_none_or(|due| now >= due) {
            self.next_draw = Some(now.saturating_add(DRAW));
            let drawn = self.draw();
            if let Some(endpoint) = drawn.filter(|drawn| self.wanted.iter().all(|one| one.endpoint != *drawn)) {
                self.wanted.push(Wanted {
                    endpoint,
                    state: State::Waiting { until: now },
                    not_ready_since: now,
                    untrusted: None,
                });
            }
        }
        for one in &mut self.wanted {
            if matches!(one.state, State::Waiting { until } if now >= until) {
                let lane = LaneId(self.next_lane);
                self.next_lane = self.next_lane.wrapping_add(1);
                one.state = State::Dialling { lane };
                out.push(Effect::Dial { lane, endpoint: one.endpoint });
            }
        }
    }

    fn drop_hopeless(&mut self, out: &mut Out<'_>) {
        let now = out.now.mono;
        self.wanted.retain(|one| {
            let hopeless = now.saturating_sub(one.not_ready_since) >= NOT_READY;
            match one.state {
                State::Ready { .. } => return true,
                _ if !hopeless => return true,
                State::Waiting { .. } => {}
                State::Dialling { lane } => out.push(Effect::CloseLane { lane }),
                State::Greeting { lane, .. } => {
                    out.push(Effect::CloseLane { lane });
                    out.send(ToWorker::LaneClosed { lane });
                }
            }
            out.log(LogLevel::Warn, format!("the proxy {} was not ready for too long: given up", one.endpoint));
            false
        });
    }

    fn draw(&mut self) -> Option<SocketAddrV4> {
        // SplitMix64: any even spread will do, nobody gains by foretelling it.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let index = mixed.checked_rem(self.registered.len() as u64)?;
        self.registered.get(index as usize).copied()
    }

    pub(super) fn connected(&mut self, lane: LaneId, out: &mut Out<'_>) {
        for one in &mut self.wanted {
            if matches!(one.state, State::Dialling { lane: dialled } if dialled == lane) {
                one.state = State::Greeting { lane, payment: None };
                let known_key = self.keys.get(&one.endpoint).copied();
                out.send(ToWorker::OpenLane { lane, known_key, unix_ms: out.now.unix_ms });
                return;
            }
        }
        out.push(Effect::CloseLane { lane });
    }

    pub(super) fn connect_failed(&mut self, lane: LaneId, why: &str, out: &mut Out<'_>) {
        if let Some(endpoint) = self.wait(lane, out) {
            out.log(LogLevel::Warn, format!("the proxy {endpoint} can't be reached: {why}; trying again"));
        }
    }

    pub(super) fn closed_by_proxy(&mut self, lane: LaneId, out: &mut Out<'_>) {
        if let Some(endpoint) = self.wait(lane, out) {
            out.send(ToWorker::LaneClosed { lane });
            out.log(LogLevel::Warn, format!("the proxy {endpoint} hung up; trying again"));
        }
    }

    pub(super) fn ended_by_worker(&mut self, lane: LaneId, end: &LaneEnd, out: &mut Out<'_>) {
        if let Some(endpoint) = self.wait(lane, out) {
            out.push(Effect::CloseLane { lane });
            let why = match end {
                LaneEnd::ProofOfWorkTooHard { asked } => format!("it asks for a proof of work of {asked} bits"),
                LaneEnd::Untrusted(text) => format!("it is not trusted: {text}"),
                LaneEnd::Protocol(text) => format!("it breaks the protocol: {text}"),
                LaneEnd::Silent => "it is silent".to_owned(),
            };
            let not_trusted = matches!(end, LaneEnd::Untrusted(_));
            let cut: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
            out.log(LogLevel::Warn, format!("hung up on the proxy {endpoint}: {cut}; trying again"));
            if not_trusted {
                self.refusals.note(endpoint, RefusedBy::ThisPc, &cut, out);
            }
            if not_trusted && let Some(one) = self.wanted.iter_mut().find(|one| one.endpoint == endpoint) {
                one.untrusted = Some(cut);
            }
        }
    }

    /// The worker is gone: every connection is useless. They are dialled again as soon as another worker serves, which has nothing
    /// to say about lanes of the old one.
    pub(super) fn lose_all(&mut self, out: &mut Out<'_>) {
        let now = out.now.mono;
        for one in &mut self.wanted {
            match std::mem::replace(&mut one.state, State::Waiting { until: now }) {
                State::Dialling { lane } | State::Greeting { lane, .. } | State::Ready { lane, .. } => {
                    out.push(Effect::CloseLane { lane });
                }
                State::Waiting { until } => one.state = State::Waiting { until },
            }
            one.not_ready_since = now;
        }
        self.ended.clear();
    }

    /// A worker serves from now on: the time without one is no fault of the proxies.
    pub(super) fn worker_serves(&mut self, now: Duration) {
        for one in &mut self.wanted {
            one.not_ready_since = now;
        }
    }

    /// The place for a payment that comes during the handshake, before it is known who signed it. `None`: there is no handshake.
    pub(super) fn presented(&mut self, lane: LaneId) -> Option<&mut Option<Vec<u8>>> {
        self.wanted.iter_mut().find_map(|one| match &mut one.state {
            State::Greeting { lane: open, payment } if *open == lane => Some(payment),
            _ => None,
        })
    }

    /// A handshake is over, the worker says. Nothing it says about keys and contracts is believed without being recomputed. What
    /// comes back is to be written down, and the payment that the proxy presented meanwhile.
    pub(super) fn ready(
        &mut self,
        lane: LaneId,
        report: &ProxyReport,
        settings: &Settings,
        out: &mut Out<'_>,
    ) -> Option<(PinnedProxy, Option<Vec<u8>>)> {
        let index = self
            .wanted
            .iter()
            .position(|one| matches!(one.state, State::Greeting { lane: open, .. } if open == lane))?;
        let endpoint = self.wanted.get(index)?.endpoint;
        if let Err(why) = self.check(endpoint, report, settings) {
            self.refused = self.refused.saturating_add(1);
            self.wait(lane, out);
            out.push(Effect::CloseLane { lane });
            out.send(ToWorker::LaneClosed { lane });
            self.refusals.note(endpoint, RefusedBy::ThisPc, &why, out);
            out.log(LogLevel::Error, format!("not working for the proxy {endpoint}: {why}"));
            return None;
        }
        let session = Session {
            endpoint,
            key: report.public_key,
            proxy_contract: report.proxy_contract,
            worker_contract: report.worker_contract,
            protocol_version: report.protocol_version,
        };
        let one = self.wanted.get_mut(index)?;
        one.untrusted = None;
        let greeted = std::mem::replace(&mut one.state, State::Ready { lane, session, standing: None });
        let payment = if let State::Greeting { payment, .. } = greeted { payment } else { None };
        out.log(LogLevel::Info, format!("connected to the proxy {endpoint}"));
        self.keys.insert(endpoint, report.public_key);
        let pin = PinnedProxy {
            endpoint,
            root: settings.root_contract,
            params_version: settings.root.params_version,
            key: report.public_key,
            proxy_contract: report.proxy_contract,
            worker_contract: report.worker_contract,
            fee_per_token: settings.root.worker_fee_per_token,
            state_init: first_state(&settings.root.worker_init(
                &settings.owner,
                &report.proxy_contract,
                &report.public_key,
            )),
            seen_unix_ms: out.now.unix_ms,
        };
        Some((pin, payment))
    }

    fn check(&self, endpoint: SocketAddrV4, report: &ProxyReport, settings: &Settings) -> Result<(), String> {
        let key = &report.public_key;
        match self.keys.get(&endpoint) {
            Some(known) if known != key => {
                return Err("its key is not the one it had before, so what it signs would not be paid".to_owned());
            }
            _ => {}
        }
        let other = self.keys.iter().find(|(place, known)| {
            **place != endpoint && *known == key && self.registered.binary_search(place).is_ok()
        });
        if let Some((place, _)) = other {
            return Err(format!("it shows the key of the proxy {place}"));
        }
        let proxy = settings.root.proxy_contract(&report.owner, key, &settings.root_contract);
        if proxy != report.proxy_contract {
            return Err("its contract does not follow from its key and owner".to_owned());
        }
        if settings.root.worker_contract(&settings.owner, &proxy, key) != report.worker_contract {
            return Err("our contract there does not follow from its key and our owner's address".to_owned());
        }
        Ok(())
    }

    /// A proxy says how we stand with it. The owner is told when that changes.
    pub(super) fn stands(&mut self, lane: LaneId, said: ShownStanding, out: &mut Out<'_>) {
        let one = self.wanted.iter_mut().find_map(|one| match &mut one.state {
            State::Ready { lane: open, standing, .. } if *open == lane => Some((one.endpoint, standing)),
            _ => None,
        });
        let Some((endpoint, standing)) = one else { return };
        if standing.as_ref() == Some(&said) {
            return;
        }
        if said.accepted {
            out.log(LogLevel::Info, format!("the proxy {endpoint} accepts this computer"));
        } else {
            let line = format!("the proxy {endpoint} gives this computer no jobs: {}. {}", said.reason, said.wants());
            out.log(LogLevel::Warn, line);
            self.refusals.note(endpoint, RefusedBy::Proxy, &said.reason, out);
        }
        *standing = Some(said);
    }

    /// The lane is over, whoever ended it; its proxy is dialled again after a pause. `None`: it was none of ours.
    fn wait(&mut self, lane: LaneId, out: &Out<'_>) -> Option<SocketAddrV4> {
        let now = out.now.mono;
        let redial = self.redial;
        let one = self.wanted.iter_mut().find(|one| match one.state {
            State::Waiting { .. } => false,
            State::Dialling { lane: open } | State::Greeting { lane: open, .. } | State::Ready { lane: open, .. } => {
                open == lane
            }
        })?;
        let endpoint = one.endpoint;
        if let State::Ready { session, .. } =
            std::mem::replace(&mut one.state, State::Waiting { until: now.saturating_add(redial) })
        {
            one.not_ready_since = now;
            self.remember(lane, session);
        }
        Some(endpoint)
    }

    fn remember(&mut self, lane: LaneId, session: Session) {
        if self.ended.len() >= ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back((lane, session));
    }
}
