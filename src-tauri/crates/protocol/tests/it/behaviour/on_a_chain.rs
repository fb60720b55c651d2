use protocol::Error;
use protocol::proxy::{ClientStanding, Side, Sight};
use sha2::{Digest, Sha256};
use tl::Boxed;
use tl::client::{AuthorizationWithProxy, ConnectedToProxy, ProxyConnectionAuth};
use tl::tcp::Packet;
use ton::{Address, Nanoton};

use crate::recorded_network as network;
use crate::stage::{Stage, proxy_config, request};

fn owner() -> Address {
    network::address(network::CLIENT_WALLET)
}

fn standing(balance: u64) -> ClientStanding {
    ClientStanding {
        balance: Nanoton(balance),
        stake: Nanoton(1_000_000_000),
        charged: 0,
        is_open: true,
        secret_hash: Sha256::digest(b"secret").into(),
    }
}

/// A client that has asked to be connected, by hand.
fn asking() -> (Stage, u64) {
    let mut stage = Stage::on_a_chain(1, proxy_config(false));
    let conn = stage.add_raw(Side::Client);
    stage.raw_send(conn, &Packet::Connect { id: 1 });
    stage.raw_send(conn, &Packet::Query { id: 5, data: network::client_connects().to_bytes() });
    assert_eq!(stage.looked_at, [owner()], "its contract is looked at");
    assert!(answer(&mut stage, conn, 5).is_none(), "and nothing said before");
    (stage, conn)
}

fn answer(stage: &mut Stage, conn: u64, wanted: i64) -> Option<Result<Vec<u8>, (i32, String)>> {
    stage.raw_read(conn).into_iter().find_map(|packet| match packet {
        Packet::QueryAnswer { id, data } if id == wanted => Some(Ok(data)),
        Packet::QueryError { id, code, message } if id == wanted => Some(Err((code, message))),
        _ => None,
    })
}

fn auth(stage: &mut Stage, conn: u64) -> ProxyConnectionAuth {
    let data = answer(stage, conn, 5).unwrap().unwrap();
    ConnectedToProxy::from_bytes(&data).unwrap().auth
}

#[test]
fn a_client_with_a_contract_is_asked_for_its_secret() {
    let (mut stage, conn) = asking();
    stage.see(Sight::Contract(standing(1)));
    let ProxyConnectionAuth::Short { secret_hash, .. } = auth(&mut stage, conn) else { panic!("not short") };
    assert_eq!(secret_hash, standing(1).secret_hash);
    let right = tl::client::AuthorizeWithProxyShort { data: b"secret".to_vec() };
    let data = stage.raw_ask(conn, right.to_bytes()).unwrap();
    assert!(matches!(AuthorizationWithProxy::from_bytes(&data), Ok(AuthorizationWithProxy::Success { .. })));

    let (mut stage, conn) = asking();
    stage.see(Sight::Contract(standing(1)));
    auth(&mut stage, conn);
    let wrong = tl::client::AuthorizeWithProxyShort { data: Vec::new() };
    assert_eq!(stage.raw_ask(conn, wrong.to_bytes()), Err((0, "sha256 mismatch".to_owned())));
}

#[test]
fn a_client_without_one_is_let_in_when_its_contract_says_the_number_it_was_given() {
    for early in [false, true] {
        let (mut stage, conn) = asking();
        stage.see(Sight::Absent);
        let ProxyConnectionAuth::Long { nonce } = auth(&mut stage, conn) else { panic!("not long") };
        if early {
            stage.register(nonce.cast_unsigned());
        }
        stage.raw_send(conn, &Packet::Query { id: 6, data: tl::client::AuthorizeWithProxyLong.to_bytes() });
        if !early {
            stage.register(nonce.cast_unsigned() ^ 1);
            assert!(answer(&mut stage, conn, 6).is_none(), "another number is nobody's");
            stage.register(nonce.cast_unsigned());
        }
        let data = answer(&mut stage, conn, 6).unwrap().unwrap();
        assert!(matches!(AuthorizationWithProxy::from_bytes(&data), Ok(AuthorizationWithProxy::Success { .. })));
    }
}

#[test]
fn nobody_is_let_in_who_is_closing_or_of_whom_the_chain_says_nothing() {
    for (sight, words) in [
        (Sight::Contract(ClientStanding { is_open: false, ..standing(1) }), "client is closing"),
        (Sight::Unknown, "the chain does not say who this is; try again"),
    ] {
        let (mut stage, conn) = asking();
        stage.see(sight);
        assert_eq!(answer(&mut stage, conn, 5), Some(Err((651, words.to_owned()))));
        assert!(matches!(stage.closed.as_slice(), [(_, Error::TurnedAway { code: 651, .. })]));
    }
}

#[test]
fn a_client_asks_for_no_more_than_its_contract_holds_and_what_was_charged_counts_as_paid() {
    let mut stage = Stage::on_a_chain(1, proxy_config(false));
    stage.add_raw_worker();
    let client = stage.add_client();
    stage.pump();
    let empty = ClientStanding { secret_hash: network::empty_hash(), ..standing(0) };
    stage.see(Sight::Contract(empty));
    let refused = |stage: &mut Stage, standing| {
        stage.see(Sight::Contract(standing));
        let id = stage.run(client, request(100));
        stage.pump();
        stage.got(client, id).failed.map(|(_, words)| words)
    };
    assert!(refused(&mut stage, empty).unwrap().contains("balance is too low"));
    // The request wants some 6,000 tokens held back, at 2 nanotons each.
    let poor = ClientStanding { balance: Nanoton(2_000), ..empty };
    assert!(refused(&mut stage, poor).unwrap().contains("balance is too low"));
    let unstaked = ClientStanding { balance: Nanoton(1_000_000), stake: Nanoton(0), ..empty };
    assert!(refused(&mut stage, unstaked).unwrap().contains("balance is too low"));
    let closing = ClientStanding { balance: Nanoton(1_000_000), is_open: false, ..empty };
    assert_eq!(refused(&mut stage, closing).unwrap(), "client is closing");
    let paid = ClientStanding { charged: 10_000, ..empty };
    assert_eq!(refused(&mut stage, paid), None, "books and contract are compared by their totals");
}

#[test]
fn a_networks_newer_lists_are_taken_and_other_terms_are_not() {
    let connects = |version| tl::client::ConnectToProxy { min_config_version: version, ..network::client_connects() };
    let mut stage = Stage::new(1, proxy_config(false));
    let ours = network::root();
    let newer = ton::RootConfig { version: ours.version + 1, ..ours.clone() };
    let wanted = newer.version.cast_signed();
    let ask = |stage: &mut Stage| {
        let conn = stage.add_raw(Side::Client);
        stage.raw_send(conn, &Packet::Connect { id: 1 });
        stage.raw_ask(conn, connects(wanted).to_bytes())
    };
    assert_eq!(ask(&mut stage), Err((602, "active config version is too low".to_owned())));
    let dearer = ton::RootConfig { price_per_token: Nanoton(ours.price_per_token.0 + 1), ..newer.clone() };
    assert!(!stage.core.renew_root(dearer.into()));
    assert!(ask(&mut stage).is_err());
    assert!(stage.core.renew_root(newer.into()));
    assert!(ask(&mut stage).is_ok());
    assert!(!stage.core.renew_root(ours.into()), "never back");
}
