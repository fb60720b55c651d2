//! The four steps from an open connection to a ready one.

use std::time::Duration;

use tl::Boxed;

use super::{Action, Call, FIRST_POLL, ProxyFacts, Session, Stage};
use crate::handshake::{FLAG_TEST_MODE, FLAG_VERSIONS, Statement, introduction, same_contract};
use crate::{Error, HandshakeFault, Now, VERSIONS};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Session {
    /// Step 1: who we are.
    pub(super) fn introduce(&mut self, now: Now, out: &mut Vec<Action>) {
        // What is said here counts as announced.
        self.announced_coefficient = self.config.coefficient;
        let question = tl::worker::ConnectToProxy {
            params: tl::worker::Params {
                flags: FLAG_TEST_MODE | FLAG_VERSIONS,
                worker_owner_address: self.config.owner_text.clone(),
                model: self.config.model.to_string(),
                coefficient: self.config.coefficient,
                is_test: Some(self.config.is_test),
                proxy_cnt: Some(to_int(self.config.proxy_connections)),
                max_active_requests: Some(to_int(self.config.max_active_requests)),
                min_proto_version: Some(VERSIONS.0),
                max_proto_version: Some(VERSIONS.1),
            },
        };
        self.ask(Call::Connect, question.to_bytes(), PATIENCE, now, out);
    }

    pub(super) fn answered(&mut self, call: Call, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        match call {
            Call::Connect => self.introduced(data, now, out),
            Call::Compare => self.compared(data, now, out),
            Call::CompareMore => self.compared_more(data, now, out),
            Call::Finish => self.finished(data, now, out),
            Call::Status => {
                // A status that does not parse is as good as none.
                if let Ok(status) = tl::worker::PaymentStatus::from_bytes(data) {
                    let totals = (status.db_tokens, status.max_tokens);
                    self.merge_payment(status.signed_payment, Some(totals), out);
                }
                Ok(())
            }
            Call::Evidence { nonce } => {
                out.push(match crate::evidence::answer(data) {
                    Some(bytes) => Action::EvidenceCame { nonce, bytes },
                    None => Action::NoEvidence { nonce },
                });
                Ok(())
            }
        }
    }

    /// Step 2: the proxy says who it is; we compare what it owes us.
    fn introduced(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let answer: tl::worker::ConnectedToProxy = decode(data, Call::Connect)?;
        let config = &self.config;
        let intro =
            introduction(&answer.params, config.is_test, config.is_testnet, &config.root, &config.root_contract)?;
        let ours = tl_owner(&config.owner_text)?;
        let worker_contract = config.root.worker_contract(&ours, &intro.proxy_contract, &intro.public_key);
        same_contract(&answer.worker_sc_address, &worker_contract, config.is_testnet)?;
        if let Some(known) = &config.known {
            let same_address = known.proxy_contract.is_none_or(|address| address == intro.proxy_contract);
            if known.public_key != intro.public_key || !same_address {
                return Err(HandshakeFault::Changed.into());
            }
        }
        self.proxy = Some(ProxyFacts {
            public_key: intro.public_key,
            owner: intro.owner,
            proxy_contract: intro.proxy_contract,
            worker_contract,
            proto_version: intro.version,
        });
        // Claiming more than the proxy has on record aborts a genuine one, and a `max_tokens` above its own leads into its extended
        // comparison, which has no way out. After a restart a proxy has what it stored, so that is what we claim as its most.
        self.totals.known = self.totals.stored;
        let question = tl::worker::CompareBalanceWithProxy {
            tokens_committed_to_blockchain: i64::try_from(self.totals.signed).unwrap_or(i64::MAX),
            tokens_committed_to_db: self.totals.stored,
            max_tokens: self.totals.known,
        };
        self.ask(Call::Compare, question.to_bytes(), PATIENCE, now, out);
        Ok(())
    }

    /// Step 3: its totals must not be below ours.
    fn compared(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let answer: tl::worker::CompareBalanceWithProxyResult = decode(data, Call::Compare)?;
        let payee = self.payee().ok_or(HandshakeFault::Comparison)?;
        let known = if answer.error_code == 0 {
            answer.max_tokens
        } else {
            // It says that we claimed too much; what it has is what there is.
            answer.max_tokens.max(self.totals.known)
        };
        let statement =
            Statement { payment: answer.signed_payment, stored: answer.tokens_committed_to_db, known, request: None };
        let report = self.totals.advance(statement, &payee)?;
        // Whoever hears of a payment must know first whose it is.
        self.first_report = Some(report);
        if answer.error_code == 0 {
            self.finish(now, out);
        } else {
            let question = tl::worker::ExtendedCompareBalanceWithProxy {
                tokens_committed_to_db: self.totals.stored,
                other: Vec::new(),
            };
            self.ask(Call::CompareMore, question.to_bytes(), PATIENCE, now, out);
        }
        Ok(())
    }

    fn compared_more(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let answer: tl::worker::ExtendedCompareBalanceWithProxyResult = decode(data, Call::CompareMore)?;
        if answer.error_code != 0 {
            return Err(HandshakeFault::Comparison.into());
        }
        self.finish(now, out);
        Ok(())
    }

    /// Step 4. From here on queries may come.
    fn finish(&mut self, now: Now, out: &mut Vec<Action>) {
        self.announced_disabled = self.config.disabled;
        let question = tl::worker::ProxyHandshakeComplete { is_disabled: self.config.disabled };
        self.ask(Call::Finish, question.to_bytes(), PATIENCE, now, out);
        self.stage = Stage::Finishing;
    }

    fn finished(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let _: tl::worker::ProxyHandshakeCompleted = decode(data, Call::Finish)?;
        self.stage = Stage::Ready;
        if let Some(proxy) = &self.proxy {
            out.push(Action::Ready(proxy.clone()));
        }
        if let Some(report) = self.first_report.take() {
            self.report(report, out);
        }
        let pause = self.random.pause(FIRST_POLL.0, FIRST_POLL.1);
        self.next_poll = Some(now.mono.saturating_add(pause));
        // What changed since step 1 would be lost otherwise.
        self.announce(out);
        Ok(())
    }
}

fn tl_owner(text: &str) -> Result<ton::Address, HandshakeFault> {
    ton::AddressText::parse(text).map(|read| read.address).map_err(|_| HandshakeFault::Address)
}

fn to_int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn decode<T: Boxed>(data: &[u8], call: Call) -> Result<T, Error> {
    T::from_bytes(data).map_err(|_| Error::Malformed { what: call.name() })
}
