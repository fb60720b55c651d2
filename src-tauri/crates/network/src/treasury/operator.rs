//! Decides what a proxy's wallet sends: its contract, stake, notes of what is written down, charges, refunds, and the closing.

use ton::cocoon::{Body, ContractState, Note, SignedOperation};
use ton::{Address, Nanoton, StateInit};

use super::{ClientStanding, FOR_THE_WAY, Order, ProxyStanding, STAYS_AT_MOST, WorkerStanding, cost, sum};

/// What a new contract begins with.
const DEPLOYMENT: Nanoton = Nanoton(300_000_000);
/// What the contract must have beyond its stake, for its storage.
const BEYOND_STAKE: Nanoton = Nanoton(50_000_000);
/// What a deployed worker's contract keeps as its reserve until its last payout.
const RESERVE: Nanoton = Nanoton(110_000_000);

/// What an operator has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A client is charged when it owes this much. Genuine proxies take one coin.
    pub charge_at: Nanoton,
    /// The proxy's part goes to its owner when it is this much. Genuine proxies take ten coins.
    pub withdraw_at: Nanoton,
}

impl Default for Rules {
    fn default() -> Self {
        Self { charge_at: Nanoton(1_000_000_000), withdraw_at: Nanoton(10_000_000_000) }
    }
}

/// A client's account, in the books and on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its contract.
    pub contract: Address,
    /// The contract as it stands.
    pub standing: ClientStanding,
    /// Adjusted tokens that may be signed for.
    pub committed: u64,
    /// Nothing runs for it, and all that it used is committed.
    pub is_idle: bool,
}

/// A worker's account, in the books and on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its contract.
    pub contract: Address,
    /// What it begins as.
    pub init: StateInit,
    /// The contract as it stands.
    pub standing: WorkerStanding,
    /// Adjusted tokens that may be signed for.
    pub committed: u64,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Our wallet.
    pub wallet: Address,
    /// The proxy's contract.
    pub contract: Address,
    /// What it begins as.
    pub init: StateInit,
    /// The proxy's contract as it stands.
    pub proxy: ProxyStanding,
    /// Clients that were looked at.
    pub clients: Vec<Client>,
    /// Workers that were looked at; only when closing.
    pub workers: Vec<Worker>,
    /// What a client pays for an adjusted token.
    pub price: Nanoton,
    /// Least stake of a proxy, by the network's terms.
    pub stake: Nanoton,
    /// A write of the accounts that the chain shall know of.
    pub save: Option<Note>,
    /// Is the contract to be closed? Then clients and workers are all of them.
    pub closing: bool,
    /// The chain's time, Unix seconds.
    pub now: u32,
}

/// Signs for a contract with the proxy's key.
pub type Sign<'a> = &'a dyn Fn(SignedOperation, Address) -> Body;

/// Whether a wanted closing is over.
pub fn is_closed(view: &View) -> bool {
    view.proxy.data.as_ref().is_none_or(|data| data.state == ContractState::Closed)
}

/// What to send, the most needed first.
pub fn plan(rules: &Rules, view: &View, query_id: u64, sign: Sign<'_>) -> Vec<Order> {
    let order = |to, body, what| Order { to, value: FOR_THE_WAY, body, init: None, spends: STAYS_AT_MOST, what };
    let excess = view.wallet;
    let stake = |amount| {
        let body = Body::ProxyIncreaseStake { query_id, amount, excess };
        let order = order(view.contract, body, "raise the proxy's stake");
        Order { value: sum(amount, FOR_THE_WAY), spends: sum(amount, STAYS_AT_MOST), ..order }
    };
    let money = |value, init, what| Order { to: view.contract, value, body: Body::Empty, init, spends: value, what };
    let Some(data) = &view.proxy.data else {
        if view.closing {
            return Vec::new();
        }
        let mut orders = vec![money(DEPLOYMENT, Some(view.init.clone()), "deploy the proxy's contract")];
        if view.stake > Nanoton(0) {
            orders.push(stake(view.stake));
        }
        return orders;
    };
    if data.state == ContractState::Closed {
        return Vec::new();
    }
    let mut orders = Vec::new();
    if view.closing && data.state == ContractState::Normal {
        let body = sign(SignedOperation::ProxyClose, view.contract);
        orders.push(order(view.contract, body, "close the proxy's contract"));
    }
    if !view.closing && data.state == ContractState::Normal {
        if let Some(lacking) = view.stake.checked_sub(data.stake).filter(|lacking| lacking.0 > 0) {
            orders.push(stake(lacking));
        }
        if view.proxy.account < sum(data.stake, BEYOND_STAKE) {
            orders.push(money(DEPLOYMENT, None, "fill the proxy's reserve"));
        }
    }
    if let Some(note) = view.save {
        let body = Body::DoNotProcess { query_id, note };
        orders.push(Order {
            to: view.contract,
            value: Nanoton(1),
            body,
            init: None,
            spends: STAYS_AT_MOST,
            what: "save the state",
        });
    }
    let mut settled = true;
    for client in &view.clients {
        let Some(account) = &client.standing.data else { continue };
        let unpaid = client.committed.checked_sub(account.tokens_used);
        let (Some(unpaid), true) = (unpaid, account.state != ContractState::Closed) else { continue };
        let back = view.closing || account.state == ContractState::Closing;
        settled &= !view.closing;
        if back && client.is_idle {
            let body = sign(SignedOperation::ClientGrantRefund(client.committed), client.contract);
            orders.push(order(client.contract, body, "grant a refund"));
        } else if unpaid > 0 && cost(unpaid, view.price) >= rules.charge_at {
            let body = sign(SignedOperation::ClientCharge(client.committed), client.contract);
            orders.push(order(client.contract, body, "charge a client"));
        }
    }
    for worker in view.workers.iter().filter(|_| view.closing) {
        let paid = match &worker.standing.data {
            Some(account) if account.state == ContractState::Closed => continue,
            Some(account) => account.tokens,
            None if worker.committed == 0 => continue,
            None => 0,
        };
        if worker.committed < paid {
            continue;
        }
        settled = false;
        let body = sign(SignedOperation::WorkerLastPayout(worker.committed), worker.contract);
        let is_new = worker.standing.data.is_none();
        let init = is_new.then(|| worker.init.clone());
        let spends = if is_new { sum(RESERVE, STAYS_AT_MOST) } else { STAYS_AT_MOST };
        orders.push(Order { init, spends, ..order(worker.contract, body, "pay a worker for the last time") });
    }
    if view.closing && settled && data.state == ContractState::Closing && view.now > data.unlock_ts {
        let body = sign(SignedOperation::ProxyCloseComplete, view.contract);
        orders.push(order(view.contract, body, "complete the closing"));
    }
    if !view.closing && data.balance >= rules.withdraw_at {
        let body = Body::ProxyPayoutRequest { query_id, excess };
        orders.push(order(view.contract, body, "pay the proxy's part to its owner"));
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::treasury::Standing;
    use ton::cocoon::{ClientData, ProxyData, SignedBody, SignedPayload, WorkerData};
    use ton::{Cell, RootConfig};

    const COIN: u64 = 1_000_000_000;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    fn init() -> StateInit {
        StateInit { code: Cell::empty(), data: Cell::empty() }
    }

    fn sign(operation: SignedOperation, target: Address) -> Body {
        let payload = SignedPayload { operation, query_id: 1, target };
        Body::Signed(SignedBody { payload, excess: address(0), signature: [0; 64] })
    }

    fn view() -> View {
        let owner = "0:0000000000000000000000000000000000000000000000000000000000000001";
        let root = RootConfig::from_json(&format!(r#"{{"root_owner_address":"{owner}"}}"#)).unwrap();
        let params = root.params();
        let mut proxy = ProxyData::initial(address(1), [2; 32], address(3), &params);
        proxy.stake = Nanoton(COIN);
        let client = ClientData::initial(address(4), address(5), [2; 32], &params);
        View {
            wallet: address(6),
            contract: address(5),
            init: init(),
            proxy: Standing { account: Nanoton(2 * COIN), data: Some(proxy) },
            clients: vec![Client {
                contract: address(7),
                standing: Standing { account: Nanoton(COIN), data: Some(client) },
                committed: 0,
                is_idle: true,
            }],
            workers: Vec::new(),
            price: Nanoton(2),
            stake: Nanoton(COIN),
            save: None,
            closing: false,
            now: 1000,
        }
    }

    fn words(view: &View) -> Vec<&'static str> {
        plan(&Rules::default(), view, 7, &sign).iter().map(|order| order.what).collect()
    }

    fn client(view: &mut View) -> &mut ClientData {
        view.clients[0].standing.data.as_mut().unwrap()
    }

    #[test]
    fn a_contract_is_deployed_and_staked_and_kept_above_its_stake() {
        let new = View { proxy: Standing::absent(), ..view() };
        assert_eq!(words(&new), ["deploy the proxy's contract", "raise the proxy's stake"]);
        assert!(words(&view()).is_empty());
        let mut poor = view();
        poor.proxy.account = Nanoton(COIN + BEYOND_STAKE.0 - 1);
        assert_eq!(words(&poor), ["fill the proxy's reserve"]);
        let mut lacking = view();
        lacking.stake = Nanoton(3 * COIN);
        let orders = plan(&Rules::default(), &lacking, 7, &sign);
        assert!(
            matches!(&orders[0].body, Body::ProxyIncreaseStake { amount: Nanoton(amount), .. } if *amount == 2 * COIN)
        );
    }

    #[test]
    fn a_client_is_charged_for_the_running_total_when_it_owes_enough() {
        let mut view = view();
        client(&mut view).tokens_used = 100;
        view.clients[0].committed = 100 + COIN / 2 - 1;
        assert!(words(&view).is_empty());
        view.clients[0].committed += 1;
        let orders = plan(&Rules::default(), &view, 7, &sign);
        assert_eq!(orders.len(), 1);
        assert_eq!(
            (orders[0].to, &orders[0].body),
            (address(7), &sign(SignedOperation::ClientCharge(100 + COIN / 2), address(7)))
        );
    }

    #[test]
    fn a_refund_is_granted_when_nothing_runs_any_more() {
        let mut view = view();
        client(&mut view).state = ContractState::Closing;
        view.clients[0].committed = 5;
        view.clients[0].is_idle = false;
        assert!(words(&view).is_empty());
        view.clients[0].is_idle = true;
        assert_eq!(words(&view), ["grant a refund"]);
        client(&mut view).state = ContractState::Closed;
        assert!(words(&view).is_empty());
    }

    #[test]
    fn a_proxy_closes_when_everybody_has_got_what_is_theirs() {
        let mut view = View { closing: true, ..view() };
        let standing = Standing::absent();
        view.workers.push(Worker { contract: address(8), init: init(), standing, committed: 50 });
        assert_eq!(words(&view), ["close the proxy's contract", "grant a refund", "pay a worker for the last time"]);
        let proxy = view.proxy.data.as_mut().unwrap();
        (proxy.state, proxy.unlock_ts) = (ContractState::Closing, 1000);
        client(&mut view).state = ContractState::Closed;
        assert_eq!(words(&view), ["pay a worker for the last time"]);
        let params = view.proxy.data.as_ref().unwrap().params.clone();
        let mut worker = WorkerData::initial(address(9), address(5), [2; 32], &params);
        worker.state = ContractState::Closed;
        view.workers[0].standing.data = Some(worker);
        assert!(words(&view).is_empty(), "the delay is not over");
        view.now = 1001;
        assert_eq!(words(&view), ["complete the closing"]);
        view.proxy.data.as_mut().unwrap().state = ContractState::Closed;
        assert!(words(&view).is_empty() && is_closed(&view));
    }
}
