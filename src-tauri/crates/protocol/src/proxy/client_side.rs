//! Clients: handshake, what they ask.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tl::Boxed;
use ton::{Address, AddressText};

use super::jobs::Wanted;
use super::worker_side::common_version;
use super::{Action, ClientStanding, Core, Refusal, Role, Side, Sight, code, refusal};
use crate::handshake::{FLAG_TEST_MODE, text};
use crate::{Error, Now};

const TOO_OLD: Refusal = refusal(code::ERROR, "tool old client");
const TEST_MODE: Refusal = refusal(code::ERROR, "test mode mismatch");
const ADDRESS: Refusal = refusal(code::NONE, "Failed to parse account address");
const CONFIG_VERSION: Refusal = refusal(code::ERROR, "active config version is too low");
const VERSION: Refusal = refusal(code::PROTOCOL, "cannot choose common protocol version");
const SECRET: Refusal = refusal(code::NONE, "sha256 mismatch");
const MALFORMED: Refusal = refusal(code::NONE, "cannot parse the query");
const NO_CHAIN: Refusal = refusal(code::NOT_READY, "the chain does not say who this is; try again");
const CLOSING: Refusal = refusal(code::NOT_READY, "client is closing");
const OUT_OF_TURN: Refusal = refusal(code::PROTOCOL, "query out of turn");
const ALREADY_READY: &str = "connection is already ready";

/// The genuine proxy pads its list of coefficients with this.
const PADDING: i32 = i32::MAX;

/// How far a client's handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Connect,
    /// Its contract is looked at; this query waits for the answer.
    Look {
        id: i64,
    },
    Authorise,
    /// What its contract says is waited for; this query waits for the answer.
    Register {
        id: i64,
    },
    Ready,
}

/// A client's connection.
#[derive(Default)]
pub(super) struct ClientPeer {
    stage: Stage,
    facts: Option<ClientFacts>,
    /// What its secret must hash to; `None` if only its contract can say who it is.
    secret_hash: Option<[u8; 32]>,
    /// What its contract must say, and whether it has. Only where a chain is asked.
    nonce: u64,
    is_registered: bool,
}

impl ClientPeer {
    pub(super) fn facts(&self) -> Option<ClientFacts> {
        self.facts
    }
}

/// Who a client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientFacts {
    pub(super) owner: Address,
    pub(super) version: i32,
}

enum Query {
    Connect(tl::client::ConnectToProxy),
    Short(Vec<u8>),
    Long,
    Status,
    Types,
    TypesV2,
}

impl Query {
    /// `None`: not a query of a client, or one that nobody answers.
    fn read(data: &[u8]) -> Option<Result<Self, Refusal>> {
        use tl::client as c;
        let query = match tl::peek_id(data)? {
            c::ConnectToProxy::ID => c::ConnectToProxy::from_bytes(data).map(Self::Connect),
            c::AuthorizeWithProxyShort::ID => {
                c::AuthorizeWithProxyShort::from_bytes(data).map(|query| Self::Short(query.data))
            }
            c::AuthorizeWithProxyLong::ID => c::AuthorizeWithProxyLong::from_bytes(data).map(|_| Self::Long),
            c::UpdatePaymentStatus::ID => c::UpdatePaymentStatus::from_bytes(data).map(|_| Self::Status),
            c::GetWorkerTypes::ID => c::GetWorkerTypes::from_bytes(data).map(|_| Self::Types),
            c::GetWorkerTypesV2::ID => c::GetWorkerTypesV2::from_bytes(data).map(|_| Self::TypesV2),
            _ => return None,
        };
        Some(query.map_err(|_| MALFORMED))
    }
}

impl Core {
    pub(super) fn client_query(&mut self, conn: u64, id: i64, data: &[u8], out: &mut Vec<Action>) -> Result<(), Error> {
        let Some(query) = Query::read(data) else {
            self.tell_demands(conn, id, data, out);
            return Ok(());
        };
        let result = match (self.client_stage(conn), query) {
            (_, Err(refusal)) => Err(refusal),
            (Stage::Connect, Ok(Query::Connect(query))) => self.client_connects(conn, id, &query, out),
            (Stage::Authorise, Ok(Query::Short(secret))) => {
                let hash: [u8; 32] = Sha256::digest(&secret).into();
                let wanted = self.client_mut(conn).and_then(|client| client.secret_hash);
                if wanted == Some(hash) { self.client_authorised(conn, id, out) } else { Err(SECRET) }
            }
            (Stage::Authorise, Ok(Query::Long)) => {
                // Without a chain there is nothing to wait for.
                let waits = self.standings.is_some();
                match self.client_mut(conn) {
                    Some(client) if waits && !client.is_registered => {
                        client.stage = Stage::Register { id };
                        Ok(())
                    }
                    _ => self.client_authorised(conn, id, out),
                }
            }
            (Stage::Ready, Ok(Query::Status)) => self.client_status(conn, id, out),
            (Stage::Ready, Ok(Query::Types)) => {
                let answer = self.worker_types();
                self.answer(conn, id, answer.to_bytes(), out);
                Ok(())
            }
            (Stage::Ready, Ok(Query::TypesV2)) => {
                let answer = self.worker_types_v2();
                self.answer(conn, id, answer.to_bytes(), out);
                Ok(())
            }
            (Stage::Ready, Ok(_)) => {
                self.refuse(conn, id, code::NONE, ALREADY_READY, out);
                Ok(())
            }
            (_, Ok(_)) => Err(OUT_OF_TURN),
        };
        result.map_err(|refusal| {
            self.refuse(conn, id, refusal.code, refusal.reason, out);
            refusal.into()
        })
    }

    fn client_connects(
        &mut self,
        conn: u64,
        id: i64,
        query: &tl::client::ConnectToProxy,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let params = &query.params;
        if params.flags & FLAG_TEST_MODE == 0 {
            return Err(TOO_OLD);
        }
        if params.is_test.unwrap_or(false) != self.config.is_test {
            return Err(TEST_MODE);
        }
        let owner = AddressText::parse(&params.client_owner_address).map_err(|_| ADDRESS)?.address;
        if self.asks_newer_config(query.min_config_version) {
            return Err(CONFIG_VERSION);
        }
        let version =
            common_version(params.flags, params.min_proto_version, params.max_proto_version).ok_or(VERSION)?;
        let contract = self.contract_of(Side::Client, &owner);
        self.books.ensure(Side::Client, &owner, contract);
        let asks = self.standings.is_some();
        if let Some(client) = self.client_mut(conn) {
            client.facts = Some(ClientFacts { owner, version });
            client.stage = Stage::Look { id };
        }
        if asks {
            out.push(Action::LookAt { client: owner });
        } else {
            self.introduce_to(conn, id, Some(self.config.funds.secret_hash), 0, out);
        }
        Ok(())
    }

    /// Says who we are and how the client may show who it is.
    fn introduce_to(&mut self, conn: u64, id: i64, secret_hash: Option<[u8; 32]>, nonce: u64, out: &mut Vec<Action>) {
        let Some(ClientFacts { owner, version }) = self.client_facts(conn) else { return };
        let number = nonce.cast_signed();
        let contract = self.contract_of(Side::Client, &owner);
        let answer = tl::client::ConnectedToProxy {
            params: self.introduction(version),
            client_sc_address: text(&contract, self.config.is_testnet),
            auth: match secret_hash {
                Some(secret_hash) => tl::client::ProxyConnectionAuth::Short { secret_hash, nonce: number },
                None => tl::client::ProxyConnectionAuth::Long { nonce: number },
            },
            signed_payment: self.books.payment(Side::Client, &owner),
        };
        self.answer(conn, id, answer.to_bytes(), out);
        if let Some(client) = self.client_mut(conn) {
            (client.stage, client.secret_hash, client.nonce) = (Stage::Authorise, secret_hash, nonce);
        }
    }

    /// A client's contract was looked at: because of an [`Action::LookAt`], or because it is looked at now and then.
    pub fn client_seen(&mut self, owner: &Address, sight: Sight, now: Now, out: &mut Vec<Action>) {
        let Some(standings) = self.standings.as_mut() else { return };
        match sight {
            Sight::Contract(standing) => drop(standings.insert(*owner, standing)),
            Sight::Absent => drop(standings.remove(owner)),
            Sight::Unknown => {}
        }
        let standing = standings.get(owner).copied();
        for conn in self.connections_of(owner) {
            let Stage::Look { id } = self.client_stage(conn) else { continue };
            let refusal = match standing {
                None if sight == Sight::Unknown => NO_CHAIN,
                Some(ClientStanding { is_open: false, .. }) => CLOSING,
                _ => {
                    let nonce = self.random.long().cast_unsigned();
                    self.introduce_to(conn, id, standing.map(|standing| standing.secret_hash), nonce, out);
                    continue;
                }
            };
            self.refuse(conn, id, refusal.code, refusal.reason, out);
            self.close(conn, refusal.into(), now, out);
        }
        self.schedule_books(now);
    }

    /// A client's contract has said this number, so whoever was given it owns the contract.
    pub fn client_registered(&mut self, owner: &Address, nonce: u64, out: &mut Vec<Action>) {
        for conn in self.connections_of(owner) {
            let Some(client) = self.client_mut(conn).filter(|client| client.nonce == nonce) else { continue };
            match client.stage {
                Stage::Authorise => client.is_registered = true,
                Stage::Register { id } => {
                    // Only a connection without facts is refused, and this one has some.
                    let _ = self.client_authorised(conn, id, out);
                }
                Stage::Connect | Stage::Look { .. } | Stage::Ready => {}
            }
        }
    }

    fn connections_of(&self, owner: &Address) -> Vec<u64> {
        let ours = self.peers.iter().filter(|(_, peer)| peer.owner() == Some((Side::Client, *owner)));
        ours.map(|(conn, _)| *conn).collect()
    }

    fn client_authorised(&mut self, conn: u64, id: i64, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let owner = self.client_facts(conn).ok_or(OUT_OF_TURN)?.owner;
        let account = self.books.account(Side::Client, &owner).unwrap_or_default();
        let answer = tl::client::AuthorizationWithProxy::Success {
            signed_payment: self.sign(Side::Client, &owner),
            tokens_committed_to_db: account.stored,
            max_tokens: account.known,
        };
        self.answer(conn, id, answer.to_bytes(), out);
        if let Some(client) = self.client_mut(conn) {
            client.stage = Stage::Ready;
        }
        Ok(())
    }

    fn client_status(&mut self, conn: u64, id: i64, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let owner = self.client_facts(conn).ok_or(OUT_OF_TURN)?.owner;
        let account = self.books.account(Side::Client, &owner).unwrap_or_default();
        let answer = tl::client::PaymentStatus {
            signed_payment: self.sign(Side::Client, &owner),
            db_tokens: account.stored,
            max_tokens: account.known,
        };
        self.answer(conn, id, answer.to_bytes(), out);
        Ok(())
    }

    pub(super) fn client_packet(
        &mut self,
        conn: u64,
        data: &[u8],
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if self.client_stage(conn) != Stage::Ready {
            return Ok(());
        }
        let wanted = match tl::peek_id(data) {
            Some(tl::client::RunQueryEx::ID) => Wanted::from(
                tl::client::RunQueryEx::from_bytes(data).map_err(|_| Error::Malformed { what: "client.runQueryEx" })?,
            ),
            Some(tl::client::RunQuery::ID) => Wanted::from(
                tl::client::RunQuery::from_bytes(data).map_err(|_| Error::Malformed { what: "client.runQuery" })?,
            ),
            _ => return Ok(()),
        };
        if let Some(client) = self.client_facts(conn) {
            self.run(conn, client, wanted, now, out);
        }
        Ok(())
    }

    /// Unsigned, as the genuine proxy compares.
    pub(super) fn asks_newer_config(&self, version: i32) -> bool {
        version.cast_unsigned() > self.config.root.version
    }

    /// Enabled workers by model, cheapest first. Models whose workers are all gone are listed without any.
    fn enabled_workers(&self) -> BTreeMap<String, Vec<tl::client::WorkerInstanceV2>> {
        let mut models: BTreeMap<String, Vec<_>> =
            self.work.models().map(|model| (model.to_owned(), Vec::new())).collect();
        for peer in self.peers.values() {
            if let Role::Worker(worker) = &peer.role
                && let Some(facts) = worker.facts()
                && worker.is_enabled()
            {
                let instance = tl::client::WorkerInstanceV2 {
                    flags: 0,
                    coefficient: facts.coefficient,
                    active_requests: to_int(worker.running()),
                    max_active_requests: to_int(worker.limit()),
                };
                models.entry(facts.model.clone()).or_default().push(instance);
            }
        }
        for workers in models.values_mut() {
            workers.sort_by_key(|worker| worker.coefficient);
        }
        models
    }

    fn worker_types_v2(&self) -> tl::client::WorkerTypesV2 {
        let types =
            self.enabled_workers().into_iter().map(|(name, workers)| tl::client::WorkerTypeV2 { name, workers });
        tl::client::WorkerTypesV2 { types: types.collect() }
    }

    fn worker_types(&self) -> tl::client::WorkerTypes {
        let types = self.enabled_workers().into_iter().map(|(name, workers)| {
            let active = workers.len();
            let mut coefficients: Vec<i32> = workers.iter().map(|it| it.coefficient).collect();
            coefficients.push(PADDING);
            tl::client::WorkerType {
                name,
                active_workers: i32::try_from(active).unwrap_or(i32::MAX),
                coefficient_min: coefficients.first().copied().unwrap_or(PADDING),
                coefficient_bucket50: coefficients.get(active / 2).copied().unwrap_or(PADDING),
                coefficient_max: PADDING,
            }
        });
        tl::client::WorkerTypes { types: types.collect() }
    }

    pub(super) fn client_facts(&self, conn: u64) -> Option<ClientFacts> {
        match &self.peers.get(&conn)?.role {
            Role::Client(client) => client.facts,
            Role::Worker(_) => None,
        }
    }

    fn client_mut(&mut self, conn: u64) -> Option<&mut ClientPeer> {
        match &mut self.peers.get_mut(&conn)?.role {
            Role::Client(client) => Some(client),
            Role::Worker(_) => None,
        }
    }

    fn client_stage(&self, conn: u64) -> Stage {
        match self.peers.get(&conn).map(|peer| &peer.role) {
            Some(Role::Client(client)) => client.stage,
            _ => Stage::Connect,
        }
    }
}

fn to_int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
