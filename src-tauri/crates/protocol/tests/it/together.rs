//! Worker, proxy and client against each other: hundreds of jobs in virtual time, bytes delivered in random pieces, connections lost at
//! random, and at the end the books must balance.

use std::collections::BTreeMap;
use std::time::Duration;

use accounting::TokenUsage;
use protocol::http::ResponseHead;
use protocol::proxy::{Outcome, Side};
use protocol::worker::KnownProxy;

use crate::stage::{Dice, Stage, proxy_config, request};

const END: &[u8] = b"[END]";

/// A job as its worker's engine has it.
struct Generation {
    conn: u64,
    parts_left: usize,
    completion: u64,
    has_head: bool,
}

struct Play {
    stage: Stage,
    dice: Dice,
    known: BTreeMap<u64, Option<KnownProxy>>,
    generations: BTreeMap<[u8; 32], Generation>,
    /// Every request by its client's connection.
    asked: Vec<(u64, [u8; 32])>,
    losses: usize,
}

impl Play {
    fn new(seed: u64, retry: bool) -> Self {
        let mut stage = Stage::new(seed, proxy_config(retry));
        for _ in 0..3 {
            stage.add_worker(None);
        }
        for _ in 0..2 {
            stage.add_client();
        }
        stage.pump();
        Self {
            stage,
            dice: Dice(seed.wrapping_mul(77) | 1),
            known: BTreeMap::new(),
            generations: BTreeMap::new(),
            asked: Vec::new(),
            losses: 0,
        }
    }

    fn step(&mut self, may_lose: bool, may_ask: bool) {
        self.stage.now += Duration::from_millis(self.dice.below(60) as u64);
        self.stage.tick();
        let conns: Vec<u64> = self.stage.workers.keys().chain(self.stage.clients.keys()).copied().collect();
        for conn in conns {
            let most = 1 + self.dice.below(3000);
            self.stage.deliver_to_core(conn, most);
            let most = 1 + self.dice.below(3000);
            self.stage.deliver_from_core(conn, most);
        }
        self.take_jobs();
        self.generate();
        if may_ask && self.dice.one_in(3) {
            self.ask();
        }
        if may_lose && self.dice.one_in(60) {
            self.lose();
        }
        self.come_back();
    }

    fn ask(&mut self) {
        let ready: Vec<u64> =
            self.stage.clients.iter().filter(|(_, it)| it.session.is_ready()).map(|(conn, _)| *conn).collect();
        if ready.is_empty() {
            return;
        }
        let conn = ready[self.dice.below(ready.len())];
        let id = self.stage.run(conn, request(3 + self.dice.below(60) as u64));
        self.asked.push((conn, id));
    }

    fn take_jobs(&mut self) {
        for (conn, seat) in &mut self.stage.workers {
            for job in seat.started.drain(..) {
                let parts_left = self.dice.below(6);
                let generation = Generation { conn: *conn, parts_left, completion: 0, has_head: false };
                self.generations.insert(job.id, generation);
            }
        }
    }

    fn generate(&mut self) {
        let ids: Vec<[u8; 32]> = self.generations.keys().copied().collect();
        for id in ids {
            let generation = self.generations.get_mut(&id).unwrap();
            let conn = generation.conn;
            if !self.stage.workers.contains_key(&conn) {
                self.generations.remove(&id);
                continue;
            }
            if !self.dice.one_in(4) {
                continue;
            }
            if !generation.has_head {
                generation.has_head = true;
                // Some fail before they begin, in one of the ways they can.
                if self.dice.one_in(12) {
                    self.generations.remove(&id);
                    self.stage.with_worker(conn, |session, now, out| session.answer_error(id, 602, "no", now, out));
                    continue;
                }
                let status = if self.dice.one_in(12) { 503 } else { 200 };
                let head = ResponseHead::new(status, "As it is", Vec::new());
                self.stage.with_worker(conn, |session, now, out| session.answer_head(id, head, now, out));
            } else if generation.parts_left > 0 {
                generation.parts_left -= 1;
                generation.completion += 1;
                self.stage.with_worker(conn, |session, now, out| session.answer_part(id, b"word ", now, out));
            } else {
                let usage = TokenUsage { prompt: 30, cached: 0, completion: generation.completion, reasoning: 0 };
                self.generations.remove(&id);
                let used =
                    self.stage.with_worker(conn, |session, now, out| session.answer_last(id, END, usage, now, out));
                assert!(used.is_none_or(|it| it.total == it.prompt + it.completion));
            }
        }
    }

    fn lose(&mut self) {
        let workers: Vec<u64> = self.stage.workers.keys().copied().collect();
        let clients: Vec<u64> =
            self.stage.clients.iter().filter(|(_, it)| it.session.is_ready()).map(|(conn, _)| *conn).collect();
        let conns = if self.dice.one_in(3) { clients } else { workers };
        if conns.is_empty() {
            return;
        }
        let conn = conns[self.dice.below(conns.len())];
        if let Some(seat) = self.stage.workers.get(&conn) {
            self.known.insert(conn, seat.session.known());
        }
        self.losses += 1;
        self.stage.lose(conn);
    }

    /// Who lost its connection dials again, with what it remembers.
    fn come_back(&mut self) {
        let broken: Vec<u64> =
            self.stage.workers.iter().filter(|(_, it)| it.error.is_some()).map(|(conn, _)| *conn).collect();
        assert!(broken.is_empty(), "{:?}", broken.iter().map(|it| &self.stage.workers[it].error).collect::<Vec<_>>());
        while self.stage.workers.len() < 3 {
            let known = self.known.pop_first().and_then(|(_, known)| known);
            self.stage.add_worker(known);
        }
        while self
            .stage
            .clients
            .values()
            .filter(|it| it.error.is_none() && it.session.next_deadline().is_some())
            .count()
            < 2
        {
            self.stage.add_client();
        }
    }

    fn finish(mut self) -> Tally {
        // What is under way ends by itself: no loss, no question more.
        for _ in 0..4000 {
            if self.stage.core.active_jobs() == 0 && self.all_over() {
                break;
            }
            self.step(false, false);
        }
        assert!(self.all_over(), "every request ends");
        assert_eq!(self.stage.core.active_jobs(), 0);
        assert_eq!(self.stage.closed, [], "nobody broke the protocol");
        for _ in 0..200 {
            self.stage.pass(Duration::from_secs(1));
            if self.stage.account(Side::Worker).committed == self.stage.account(Side::Worker).known {
                break;
            }
        }
        self.stage.pass(Duration::from_secs(25));
        self.balance()
    }

    fn all_over(&self) -> bool {
        self.asked.iter().all(|(conn, id)| self.stage.got(*conn, *id).is_over())
    }

    fn balance(&self) -> Tally {
        let (worker, client) = (self.stage.account(Side::Worker), self.stage.account(Side::Client));
        let charged: i64 = self.stage.finished.iter().map(|job| job.tokens).sum();
        assert_eq!(worker.known, charged, "workers are credited what was charged");
        assert_eq!(client.known, charged, "clients are charged what was credited");
        assert_eq!(client.reserved, 0, "every reservation is let go");
        assert_eq!((worker.stored, worker.committed), (charged, charged));
        assert_eq!((client.stored, client.committed), (charged, charged));
        for seat in self.stage.workers.values() {
            let last = seat.payments.last().unwrap();
            assert_eq!(i64::try_from(last.tokens).unwrap(), charged, "what is committed is signed");
        }
        let answered = self.stage.finished.iter().filter(|it| it.outcome == Outcome::Answered).count();
        assert!(self.stage.finished.iter().all(|it| it.outcome == Outcome::Answered || it.tokens == 0));
        for (conn, id) in &self.asked {
            let got = self.stage.got(*conn, *id);
            if got.done.is_some() {
                assert!(got.status.is_some() && !got.body.is_empty(), "a complete answer has a head and a body");
            }
        }
        let done = self.asked.iter().filter(|(conn, id)| self.stage.got(*conn, *id).done.is_some()).count();
        Tally { asked: self.asked.len(), done, answered, losses: self.losses }
    }
}

struct Tally {
    asked: usize,
    done: usize,
    answered: usize,
    losses: usize,
}

fn play(seed: u64, retry: bool) -> Tally {
    let mut play = Play::new(seed, retry);
    while play.asked.len() < 120 {
        play.step(true, true);
    }
    play.finish()
}

#[test]
fn the_books_balance_after_hundreds_of_jobs_with_lost_connections() {
    let tallies: Vec<Tally> = (1..=3).map(|seed| play(seed, false)).collect();
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    assert!(sum(|it| it.asked) >= 360);
    assert!(sum(|it| it.losses) > 5, "some connections were lost");
    assert!(sum(|it| it.done) > 150, "most jobs were answered: {}", sum(|it| it.done));
    assert!(sum(|it| it.answered) >= sum(|it| it.done), "a client that left is charged all the same");
    assert!(sum(|it| it.done) < sum(|it| it.asked), "and some failed");
}

#[test]
fn the_books_balance_when_jobs_are_given_to_workers_again() {
    for seed in 10..=12 {
        let tally = play(seed, true);
        assert!(tally.done * 10 > tally.asked * 6, "{} of {}", tally.done, tally.asked);
    }
}
