use std::time::Duration;

use protocol::{Error, Now};
use protocol::{proxy, worker};
use tl::Boxed;
use tl::tcp::Packet;

use crate::replay::framed;
use crate::stage::{Dice, Stage, packets, proxy_config, worker_config};
use protocol::proxy::Side;

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), unix: 1_795_000_000.0 }
}

fn sent(out: &mut Vec<worker::Action>) -> Vec<Packet> {
    let bytes = out.drain(..).flat_map(|it| if let worker::Action::Send(bytes) = it { bytes } else { Vec::new() });
    packets(&bytes.collect::<Vec<u8>>())
}

fn dialled(out: &mut Vec<worker::Action>) -> worker::Session {
    let mut session = worker::Session::new(worker_config(), Box::new(Dice(3)), at(0), out);
    let hello = framed(0, &Packet::Connected { id: 1 }.to_bytes());
    session.receive(&hello, at(0), out).unwrap();
    sent(out);
    session
}

#[test]
fn the_dialler_pings_after_ten_seconds_and_gives_up_after_twenty() {
    let mut out = Vec::new();
    let mut session = dialled(&mut out);
    assert_eq!(session.next_deadline(), Some(Duration::from_secs(10)));
    session.tick(at(9), &mut out).unwrap();
    assert!(sent(&mut out).is_empty());
    session.tick(at(10), &mut out).unwrap();
    assert!(matches!(sent(&mut out)[..], [Packet::Ping { .. }]));
    session.tick(at(19), &mut out).unwrap();
    assert!(sent(&mut out).is_empty(), "one ping only");
    assert_eq!(session.tick(at(20), &mut out), Err(Error::Silent { seconds: 20 }));
    assert_eq!(session.next_deadline(), None);
    assert_eq!(session.receive(&[], at(21), &mut out), Err(Error::Silent { seconds: 20 }), "it stays over");
}

#[test]
fn any_whole_frame_is_a_sign_of_life() {
    let mut out = Vec::new();
    let mut session = dialled(&mut out);
    session.tick(at(12), &mut out).unwrap();
    session.receive(&framed(1, &Packet::Pong { id: 0 }.to_bytes()), at(13), &mut out).unwrap();
    session.tick(at(22), &mut out).unwrap();
    assert_eq!(sent(&mut out).len(), 1, "the first ping only");
    session.tick(at(23), &mut out).unwrap();
    assert_eq!(sent(&mut out).len(), 1, "the next one");
}

#[test]
fn the_acceptor_never_pings_and_gives_up_after_sixty_seconds() {
    let mut stage = Stage::new(1, proxy_config(false));
    let conn = stage.add_raw(Side::Worker);
    stage.raw_send(conn, &Packet::Connect { id: 5 });
    assert!(matches!(stage.raw_read(conn)[..], [Packet::Connected { id: 5 }]));
    stage.pass(Duration::from_secs(59));
    assert!(stage.raw_read(conn).is_empty() && stage.closed.is_empty());
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.closed, [(conn, Error::Silent { seconds: 60 })]);
}

#[test]
fn pings_are_answered_duplicates_ignored_and_unknown_queries_lost() {
    let mut out = Vec::new();
    let mut session = dialled(&mut out);
    let frames = [
        Packet::Connected { id: 9 },
        Packet::Connect { id: 9 },
        Packet::Ping { id: 42 },
        Packet::Query { id: 7, data: vec![0xef, 0xbe, 0xad, 0xde] },
        Packet::QueryAnswer { id: 12345, data: vec![0; 4] },
        Packet::QueryError { id: 12345, code: 1, message: String::new() },
        Packet::Packet { data: vec![0xef, 0xbe, 0xad, 0xde] },
    ];
    for (number, packet) in (1..).zip(&frames) {
        session.receive(&framed(number, &packet.to_bytes()), at(1), &mut out).unwrap();
    }
    let answers = sent(&mut out);
    assert!(matches!(&answers[0], Packet::Pong { id: 42 }));
    assert!(
        matches!(&answers[1], Packet::QueryError { id: 7, code: 0, message } if message == "Lost promise"),
        "word for word as recorded"
    );
    assert_eq!(answers.len(), 2);
}

#[test]
fn nothing_comes_before_the_connection_is_opened() {
    let mut out = Vec::new();
    let mut session = worker::Session::new(worker_config(), Box::new(Dice(3)), at(0), &mut out);
    let early = framed(0, &Packet::Ping { id: 1 }.to_bytes());
    assert_eq!(session.receive(&early, at(0), &mut out), Err(Error::NotOpen));

    let mut stage = Stage::new(1, proxy_config(false));
    let conn = stage.add_raw(Side::Worker);
    stage.raw_send(conn, &Packet::Query { id: 1, data: vec![0; 4] });
    assert_eq!(stage.closed, [(conn, Error::NotOpen)]);
}

#[test]
fn what_is_no_transport_object_closes_the_connection() {
    let mut out: Vec<proxy::Action> = Vec::new();
    let mut core = proxy::Core::new(proxy_config(false), proxy::Accounts::default(), Box::new(Dice(3)));
    core.open(1, Side::Client, [0; 32], at(0));
    core.receive(1, &framed(0, &[0xef, 0xbe, 0xad, 0xde]), at(0), &mut out);
    let closed = out.iter().find_map(|it| if let proxy::Action::Close { why, .. } = it { Some(why) } else { None });
    assert_eq!(closed, Some(&Error::Malformed { what: "a transport packet" }));
}

#[test]
fn a_query_that_stays_unanswered_ends_the_handshake() {
    let mut out = Vec::new();
    let mut session = dialled(&mut out);
    for second in 1..30 {
        let pong = Packet::Pong { id: 0 }.to_bytes();
        session.receive(&framed(second, &pong), at(u64::from(second)), &mut out).unwrap();
        session.tick(at(u64::from(second)), &mut out).unwrap();
    }
    let error = session.tick(at(30), &mut out).unwrap_err();
    assert_eq!(error, Error::NoAnswer { call: "worker.connectToProxy" });
}
