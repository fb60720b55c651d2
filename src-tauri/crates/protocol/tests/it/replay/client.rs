//! Our session as the client of a recording. What its users asked for is taken from what the recorded client made of it.

use std::sync::Arc;
use std::time::Duration;

use accounting::signed_payment::PaymentKind;
use protocol::Now;
use protocol::client::{Action, ClientRequest, Config, Session};
use protocol::http::Request;
use tl::Boxed;

use super::Script;
use super::dialler::Machine;
use crate::recorded_network as network;

/// The recorded client passed this share of its user's time on.
const SHARE: f64 = 0.95;

pub(crate) struct Client {
    session: Option<Session>,
    script: Script,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self { session: None, script: Script::default() }
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }
}

fn sent(actions: Vec<Action>) -> Vec<Vec<u8>> {
    let sends = actions.into_iter();
    sends.filter_map(|it| if let Action::Send(bytes) = it { Some(bytes) } else { None }).collect()
}

impl Machine for Client {
    fn start(&mut self, script: Script, now: Now) -> Vec<Vec<u8>> {
        let config = Config {
            owner: network::address(network::CLIENT_WALLET),
            is_test: true,
            is_testnet: false,
            min_config_version: 3,
            secret: String::new(),
            root: Arc::new(network::root()),
            root_contract: network::address(network::ROOT),
        };
        let mut out = Vec::new();
        self.script = script.clone();
        self.session = Some(Session::new(config, Box::new(script), now, &mut out));
        sent(out)
    }

    fn receive(&mut self, bytes: &[u8], now: Now) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session().receive(bytes, now, &mut out).unwrap();
        sent(out)
    }

    fn tick(&mut self, now: Now) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.session().tick(now, &mut out).unwrap();
        sent(out)
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.session.as_ref().unwrap().next_deadline()
    }

    fn made_up_answer(&self, query: &[u8]) -> Vec<u8> {
        match tl::peek_id(query).unwrap() {
            tl::client::ConnectToProxy::ID => tl::client::ConnectedToProxy {
                params: network::proxy_params(),
                client_sc_address: network::CLIENT_CONTRACT.to_owned(),
                auth: tl::client::ProxyConnectionAuth::Short { secret_hash: network::empty_hash(), nonce: 0 },
                signed_payment: tl::proxy::SignedPayment::Empty,
            }
            .to_bytes(),
            tl::client::AuthorizeWithProxyShort::ID => tl::client::AuthorizationWithProxy::Success {
                signed_payment: network::payment(PaymentKind::Client, 0, 1),
                tokens_committed_to_db: 0,
                max_tokens: 0,
            }
            .to_bytes(),
            other => panic!("no answer to {other:#x}"),
        }
    }

    fn unix_on_receipt(&self, _object: &[u8]) -> Option<f64> {
        None
    }

    fn act(&mut self, object: &[u8], at: Duration) -> Option<Vec<Vec<u8>>> {
        let mut out = Vec::new();
        if tl::client::GetWorkerTypesV2::from_bytes(object).is_ok() {
            self.session().ask_worker_types(Now { mono: at, unix: 0.0 }, &mut out).unwrap();
            return Some(sent(out));
        }
        let query = tl::client::RunQueryEx::from_bytes(object).ok()?;
        let request = ClientRequest {
            model: query.model_name,
            request: Request::decode(&query.query).unwrap(),
            max_coefficient: query.max_coefficient,
            max_tokens: query.max_tokens,
            timeout: Duration::from_millis((query.timeout / SHARE * 1000.0).round() as u64),
            enable_debug: query.enable_debug.unwrap(),
        };
        self.script.lines().ids.push_back(query.request_id);
        let id = self.session().run(request, Now { mono: at, unix: 0.0 }, &mut out).unwrap();
        assert_eq!(id, query.request_id);
        Some(sent(out))
    }

    fn wanted(&self, payload: &[u8]) -> Vec<u8> {
        payload.to_vec()
    }
}
