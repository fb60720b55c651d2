//! From an open connection to an authorised one.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tl::Boxed;

use super::{Action, Call, ProxyFacts, Session, WorkerInstance, WorkerType};
use crate::handshake::{FLAG_TEST_MODE, FLAG_VERSIONS, Statement, introduction, same_contract, text};
use crate::{Error, HandshakeFault, Now, VERSIONS};

const PATIENCE: Duration = Duration::from_secs(30);
/// A registration goes through the chain.
const AUTHORISE_PATIENCE: Duration = Duration::from_mins(5);

impl Session {
    pub(super) fn introduce(&mut self, now: Now, out: &mut Vec<Action>) {
        let question = tl::client::ConnectToProxy {
            params: tl::client::Params {
                flags: FLAG_TEST_MODE | FLAG_VERSIONS,
                client_owner_address: text(&self.config.owner, self.config.is_testnet),
                is_test: Some(self.config.is_test),
                min_proto_version: Some(VERSIONS.0),
                max_proto_version: Some(VERSIONS.1),
            },
            min_config_version: self.config.min_config_version,
        };
        self.ask(Call::Connect, question.to_bytes(), PATIENCE, now, out);
    }

    pub(super) fn answered(&mut self, call: Call, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        match call {
            Call::Connect => self.introduced(data, now, out),
            Call::Authorise => self.authorised(data, now, out),
            Call::Status => {
                if let Ok(status) = tl::client::PaymentStatus::from_bytes(data) {
                    self.merge(
                        Statement {
                            payment: status.signed_payment,
                            stored: status.db_tokens,
                            known: status.max_tokens,
                            request: None,
                        },
                        out,
                    );
                }
                Ok(())
            }
            Call::Types => {
                out.push(Action::WorkerTypes(worker_types(data)));
                Ok(())
            }
            Call::Demands => {
                let said = tl::chrysalis::Policy::from_bytes(data).ok();
                out.push(Action::Demands(said.map(crate::evidence::Demands::from_wire)));
                Ok(())
            }
        }
    }

    fn introduced(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        let answer: tl::client::ConnectedToProxy = decode(data, Call::Connect)?;
        let config = &self.config;
        let intro =
            introduction(&answer.params, config.is_test, config.is_testnet, &config.root, &config.root_contract)?;
        let client_contract = config.root.client_contract(&config.owner, &intro.proxy_contract, &intro.public_key);
        same_contract(&answer.client_sc_address, &client_contract, config.is_testnet)?;
        self.proxy = Some(ProxyFacts {
            public_key: intro.public_key,
            owner: intro.owner,
            proxy_contract: intro.proxy_contract,
            client_contract,
            proto_version: intro.version,
        });
        let secret = config.secret.as_bytes();
        let ours: [u8; 32] = Sha256::digest(secret).into();
        let question = match answer.auth {
            tl::client::ProxyConnectionAuth::Short { secret_hash, .. } if secret_hash == ours => {
                tl::client::AuthorizeWithProxyShort { data: secret.to_vec() }.to_bytes()
            }
            tl::client::ProxyConnectionAuth::Short { nonce, .. } | tl::client::ProxyConnectionAuth::Long { nonce } => {
                out.push(Action::Register { nonce });
                tl::client::AuthorizeWithProxyLong.to_bytes()
            }
        };
        self.ask(Call::Authorise, question, AUTHORISE_PATIENCE, now, out);
        Ok(())
    }

    fn authorised(&mut self, data: &[u8], now: Now, out: &mut Vec<Action>) -> Result<(), Error> {
        match decode(data, Call::Authorise)? {
            tl::client::AuthorizationWithProxy::Success { signed_payment, tokens_committed_to_db, max_tokens } => {
                self.ready = true;
                out.extend(self.proxy.clone().map(Action::Ready));
                self.merge(
                    Statement {
                        payment: signed_payment,
                        stored: tokens_committed_to_db,
                        known: max_tokens,
                        request: None,
                    },
                    out,
                );
                self.schedule_first_poll(now);
                Ok(())
            }
            tl::client::AuthorizationWithProxy::Failed { .. } => Err(HandshakeFault::NotAuthorised.into()),
        }
    }

    /// Takes a statement of what we owe in. A client has nothing to earn, so what is wrong with one is only not believed.
    pub(super) fn merge(&mut self, statement: Statement, out: &mut Vec<Action>) {
        if let Some(payee) = self.payee()
            && let Ok(report) = self.totals.advance(statement, &payee)
        {
            out.push(Action::Payment(report));
        }
    }
}

fn worker_types(data: &[u8]) -> Option<Vec<WorkerType>> {
    let answer = tl::client::WorkerTypesV2::from_bytes(data).ok()?;
    let types = answer.types.into_iter().map(|kind| WorkerType {
        name: kind.name,
        workers: kind
            .workers
            .into_iter()
            .map(|worker| WorkerInstance {
                coefficient: worker.coefficient,
                active_requests: worker.active_requests,
                max_active_requests: worker.max_active_requests,
            })
            .collect(),
    });
    Some(types.collect())
}

fn decode<T: Boxed>(data: &[u8], call: Call) -> Result<T, Error> {
    T::from_bytes(data).map_err(|_| Error::Malformed { what: call.name() })
}
