//! Decides what a client's wallet sends: its contract at a proxy, money, stake, its secret, and in the end the wish to have the rest back.

use ton::cocoon::{Body, ContractState};
use ton::{Address, Nanoton, StateInit};

use super::{ClientStanding, FOR_THE_WAY, Order, ProxyStanding, STAYS_AT_MOST, cost, sum};

/// What a new contract begins with; it keeps a part as its reserve and gives it back with the refund.
const DEPLOYMENT: Nanoton = Nanoton(200_000_000);

/// What the owner of a gateway has allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Put in again when less than this is left.
    pub low: Nanoton,
    /// How much to put in at a time.
    pub top_up: Nanoton,
    /// The contract's stake: what may be used between two charges.
    pub stake: Nanoton,
    /// Most that may ever be spent, fees included.
    pub most: Nanoton,
    /// SHA-256 of the secret by which the proxy knows us.
    pub secret_hash: [u8; 32],
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Our wallet, the owner of the contract.
    pub wallet: Address,
    /// Our contract.
    pub contract: Address,
    /// What it begins as.
    pub init: StateInit,
    /// Our contract as it stands.
    pub client: ClientStanding,
    /// The proxy's contract as it stands.
    pub proxy: ProxyStanding,
    /// Least stake of a proxy, by the network's terms.
    pub least_proxy_stake: Nanoton,
    /// What an adjusted token costs us.
    pub price: Nanoton,
    /// Adjusted tokens that we have used, as far as the proxy has said.
    pub used: u64,
    /// What was spent so far.
    pub spent: Nanoton,
    /// What the proxy wants to read on the chain before it believes that we are who we say.
    pub nonce: Option<u64>,
    /// Is the money to come back?
    pub refund: bool,
    /// The chain's time, Unix seconds.
    pub now: u32,
}

/// What is left to be used, as far as is known.
pub fn left(view: &View) -> Nanoton {
    let Some(data) = &view.client.data else { return Nanoton(0) };
    let uncharged = cost(view.used.saturating_sub(data.tokens_used), view.price);
    data.balance.checked_sub(uncharged).unwrap_or(Nanoton(0))
}

/// Whether a wanted refund is over: everything is back, or nothing was ever there.
pub fn is_refunded(view: &View) -> bool {
    view.client.data.as_ref().is_none_or(|data| data.state == ContractState::Closed)
}

/// What to send to all contracts: none of them is planned with money that another one is to have. Views are of one look, and all say
/// what was spent before it.
pub fn plan_all(rules: &Rules, views: &[View], mut query_id: impl FnMut() -> u64) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    for view in views {
        let spent = orders.iter().map(|order| order.spends).fold(view.spent, sum);
        orders.extend(plan(rules, &View { spent, ..view.clone() }, query_id()));
    }
    orders
}

/// What to send to one, the most needed first.
fn plan(rules: &Rules, view: &View, query_id: u64) -> Vec<Order> {
    let tell = |body: Body, what| Order {
        to: view.contract,
        value: FOR_THE_WAY,
        body,
        init: None,
        spends: STAYS_AT_MOST,
        what,
    };
    let excess = view.wallet;
    if view.refund {
        return match &view.client.data {
            Some(data) if data.state == ContractState::Normal => {
                vec![tell(Body::OwnerClientRequestRefund { query_id, excess }, "ask for the refund")]
            }
            // The proxy had its time.
            Some(data) if data.state == ContractState::Closing && view.now > data.unlock_ts => {
                vec![tell(Body::OwnerClientRequestRefund { query_id, excess }, "take the refund")]
            }
            _ => Vec::new(),
        };
    }
    // No money for a proxy that is not there, is closing, or has nothing to lose.
    let Some(proxy) = &view.proxy.data else { return Vec::new() };
    if proxy.state != ContractState::Normal || proxy.stake < view.least_proxy_stake {
        return Vec::new();
    }
    let mut allowance = rules.most.checked_sub(view.spent).unwrap_or(Nanoton(0));
    let mut orders = Vec::new();
    let mut add = |order: Order, orders: &mut Vec<Order>| {
        if let Some(rest) = allowance.checked_sub(order.spends) {
            allowance = rest;
            orders.push(order);
        }
    };
    let (stake, secret_hash) = match &view.client.data {
        Some(data) if data.state != ContractState::Normal => return Vec::new(),
        Some(data) => (data.stake, data.secret_hash),
        None => {
            let deployment = Order {
                to: view.contract,
                value: DEPLOYMENT,
                body: Body::Empty,
                init: Some(view.init.clone()),
                spends: DEPLOYMENT,
                what: "deploy the client's contract",
            };
            add(deployment, &mut orders);
            if orders.is_empty() {
                return orders;
            }
            (Nanoton(0), [0; 32])
        }
    };
    let new_secret = secret_hash != rules.secret_hash;
    if left(view) < rules.low {
        let amount = rules.top_up;
        let body = if new_secret {
            let secret_hash = rules.secret_hash;
            Body::OwnerClientChangeSecretHashAndTopUp { query_id, amount, secret_hash, excess }
        } else {
            Body::ClientTopUp { query_id, amount, excess }
        };
        let order = tell(body, "top up");
        let order = Order { value: sum(amount, FOR_THE_WAY), spends: sum(amount, STAYS_AT_MOST), ..order };
        add(order, &mut orders);
    } else if new_secret {
        let secret_hash = rules.secret_hash;
        let body = Body::OwnerClientChangeSecretHash { query_id, secret_hash, excess };
        add(tell(body, "change the secret"), &mut orders);
    }
    if stake < rules.stake {
        let body = Body::OwnerClientIncreaseStake { query_id, stake: rules.stake, excess };
        add(tell(body, "raise the stake"), &mut orders);
    }
    if let Some(nonce) = view.nonce {
        add(tell(Body::OwnerClientRegister { query_id, nonce, excess }, "register"), &mut orders);
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::treasury::Standing;
    use ton::cocoon::{ClientData, ProxyData};
    use ton::{Cell, RootConfig};

    const COIN: u64 = 1_000_000_000;
    const RULES: Rules = Rules {
        low: Nanoton(5 * COIN),
        top_up: Nanoton(10 * COIN),
        stake: Nanoton(3 * COIN),
        most: Nanoton(25 * COIN),
        secret_hash: [9; 32],
    };

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    fn view() -> View {
        let owner = "0:0000000000000000000000000000000000000000000000000000000000000001";
        let root = RootConfig::from_json(&format!(r#"{{"root_owner_address":"{owner}"}}"#)).unwrap();
        let mut proxy = ProxyData::initial(address(1), [2; 32], address(3), &root.params());
        proxy.stake = Nanoton(COIN);
        View {
            wallet: address(4),
            contract: address(5),
            init: StateInit { code: Cell::empty(), data: Cell::empty() },
            client: Standing::absent(),
            proxy: Standing { account: Nanoton(2 * COIN), data: Some(proxy) },
            least_proxy_stake: Nanoton(COIN),
            price: Nanoton(2),
            used: 0,
            spent: Nanoton(0),
            nonce: None,
            refund: false,
            now: 1000,
        }
    }

    fn with_contract(change: impl FnOnce(&mut ClientData)) -> View {
        let mut view = view();
        let params = view.proxy.data.as_ref().unwrap().params.clone();
        let mut data = ClientData::initial(address(4), address(6), [2; 32], &params);
        data.stake = RULES.stake;
        data.secret_hash = RULES.secret_hash;
        data.balance = Nanoton(10 * COIN);
        change(&mut data);
        view.client = Standing { account: Nanoton(COIN), data: Some(data) };
        view
    }

    fn words(view: &View) -> Vec<&'static str> {
        plan(&RULES, view, 7).iter().map(|order| order.what).collect()
    }

    #[test]
    fn a_new_client_deploys_puts_money_in_stakes_and_registers_at_once() {
        let view = View { nonce: Some(5), ..view() };
        assert_eq!(words(&view), ["deploy the client's contract", "top up", "raise the stake", "register"]);
        assert!(words(&with_contract(|_| {})).is_empty(), "then there is nothing to do");
    }

    #[test]
    fn money_is_put_in_again_when_little_is_left_counting_what_is_not_charged_yet() {
        assert_eq!(words(&with_contract(|data| data.balance = Nanoton(5 * COIN - 1))), ["top up"]);
        let mut used = with_contract(|data| data.tokens_used = 100);
        used.used = 100 + 3 * COIN;
        assert_eq!(words(&used), ["top up"], "10 coins less 6");
    }

    #[test]
    fn never_more_is_spent_than_the_owner_allowed() {
        let mut spent = with_contract(|data| data.balance = Nanoton(0));
        spent.spent = Nanoton(25 * COIN - (10 * COIN + STAYS_AT_MOST.0));
        assert_eq!(words(&spent), ["top up"]);
        spent.spent.0 += 1;
        assert!(words(&spent).is_empty());
        let broke = View { spent: RULES.most, ..view() };
        assert!(words(&broke).is_empty());
    }

    #[test]
    fn several_proxies_share_what_the_owner_allowed() {
        let another = View { contract: address(7), ..view() };
        let views = [view(), another.clone(), View { contract: address(8), ..view() }];
        for (most, spent) in [(15 * COIN, 0), (25 * COIN, 10 * COIN + 1), (25 * COIN, 24 * COIN)] {
            let rules = Rules { most: Nanoton(most), ..RULES };
            let views = views.clone().map(|view| View { spent: Nanoton(spent), ..view });
            let orders = plan_all(&rules, &views, || 7);
            let planned: u64 = orders.iter().map(|order| order.spends.0).sum();
            assert!(planned <= most - spent, "{planned} of {}", most - spent);
            assert_eq!(orders.iter().filter(|order| order.what == "top up").count(), usize::from(spent < 20 * COIN));
        }
        let enough = Rules { most: Nanoton(40 * COIN), ..RULES };
        assert_eq!(plan_all(&enough, &views, || 7).iter().filter(|order| order.what == "top up").count(), 3);
    }

    #[test]
    fn no_money_goes_to_a_proxy_that_is_not_there_closes_or_has_no_stake() {
        let absent = View { proxy: Standing::absent(), ..view() };
        let mut closing = view();
        closing.proxy.data.as_mut().unwrap().state = ContractState::Closing;
        let mut careless = view();
        careless.proxy.data.as_mut().unwrap().stake = Nanoton(COIN - 1);
        for view in [absent, closing, careless] {
            assert!(words(&view).is_empty(), "{view:?}");
        }
    }

    #[test]
    fn a_refund_is_asked_for_waited_for_and_taken_when_the_proxy_is_silent() {
        let wanted = |change: fn(&mut ClientData)| View { refund: true, ..with_contract(change) };
        assert_eq!(words(&wanted(|_| {})), ["ask for the refund"]);
        let waiting = wanted(|data| {
            data.state = ContractState::Closing;
            data.unlock_ts = 1000;
        });
        assert!(words(&waiting).is_empty() && !is_refunded(&waiting));
        assert_eq!(words(&View { now: 1001, ..waiting }), ["take the refund"]);
        let closed = wanted(|data| data.state = ContractState::Closed);
        assert!(words(&closed).is_empty() && is_refunded(&closed));
        assert!(is_refunded(&View { refund: true, ..view() }), "nothing was ever there");
    }
}
