use std::time::Duration;

use accounting::signed_payment::PaymentKind;
use protocol::client::{Action, Config, FinalInfo, NotSent, Session};
use protocol::http::ResponseHead;
use protocol::{Error, HandshakeFault, Now};
use tl::Boxed;
use tl::client::{AuthorizationWithProxy, ProxyConnectionAuth, QueryAnswer, QueryAnswerEx, QueryAnswerPart};
use tl::tcp::Packet;

use crate::recorded_network as network;
use crate::replay::framed;
use crate::stage::{Dice, Got, Stage, client_config, packets, proxy_config, request};

const ID_OF: Now = Now { mono: Duration::from_secs(50), unix: 1e9 };

/// A client's session and a proxy that says whatever the test wants.
struct Puppet {
    session: Session,
    received: u32,
    sent: Vec<Packet>,
    got: Got,
    registered: Option<i64>,
}

impl Puppet {
    fn new(config: Config) -> Self {
        let mut out = Vec::new();
        let session = Session::new(config, Box::new(Dice(7)), ID_OF, &mut out);
        let mut puppet = Self { session, received: 0, sent: Vec::new(), got: Got::default(), registered: None };
        puppet.take(out);
        puppet
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            match action {
                Action::Send(bytes) => self.sent.extend(packets(&bytes)),
                Action::Register { nonce } => self.registered = Some(nonce),
                Action::Head { head, .. } => self.got.status = Some(head.status),
                Action::Part { bytes, .. } => self.got.body.extend(bytes),
                Action::Done { info, .. } => self.got.done = Some(info),
                Action::Failed { code, message, .. } => self.got.failed = Some((code, message)),
                Action::Ready(_) | Action::WorkerTypes(_) | Action::Demands(_) | Action::Payment(_) => {}
            }
        }
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Error> {
        let bytes = framed(self.received, &packet.to_bytes());
        self.received += 1;
        let mut out = Vec::new();
        let result = self.session.receive(&bytes, ID_OF, &mut out);
        self.take(out);
        result
    }

    /// Answers the next query of the handshake.
    fn answer(&mut self, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        if let Packet::Connect { id } = self.sent[0] {
            self.sent.clear();
            self.say(&Packet::Connected { id })?;
        }
        let Packet::Query { id, data: query } = self.sent.remove(0) else {
            panic!("a query");
        };
        self.say(&Packet::QueryAnswer { id, data })?;
        Ok(query)
    }

    fn ready() -> (Self, [u8; 32]) {
        let mut puppet = Self::new(client_config());
        puppet.answer(connected(short())).unwrap();
        puppet.answer(authorised()).unwrap();
        let mut out = Vec::new();
        let id = puppet.session.run(request(100), ID_OF, &mut out).unwrap();
        puppet.take(out);
        (puppet, id)
    }

    fn message(&mut self, data: Vec<u8>) -> Result<(), Error> {
        self.say(&Packet::Packet { data })
    }
}

fn short() -> ProxyConnectionAuth {
    ProxyConnectionAuth::Short { secret_hash: network::empty_hash(), nonce: 0 }
}

fn connected(auth: ProxyConnectionAuth) -> Vec<u8> {
    tl::client::ConnectedToProxy {
        params: network::proxy_params(),
        client_sc_address: network::CLIENT_CONTRACT.to_owned(),
        auth,
        signed_payment: tl::proxy::SignedPayment::Empty,
    }
    .to_bytes()
}

fn authorised() -> Vec<u8> {
    AuthorizationWithProxy::Success {
        signed_payment: network::payment(PaymentKind::Client, 0, 1),
        tokens_committed_to_db: 0,
        max_tokens: 0,
    }
    .to_bytes()
}

fn http(status: i32, body: &[u8]) -> Vec<u8> {
    ResponseHead::new(status, "?", Vec::new()).encode(body)
}

fn counted(total: i64) -> tl::TokensUsed {
    tl::TokensUsed { total_tokens_used: total, ..Default::default() }
}

fn total(info: Option<FinalInfo>) -> i64 {
    info.unwrap().tokens.unwrap().total
}

#[test]
fn all_seven_forms_of_answers_are_understood() {
    let request_tokens_used = counted(9);
    let info = || Some(tl::client::QueryFinalInfo { tokens_used: counted(9), ..Default::default() });
    let words = || "words".to_owned();

    // Answer and part of versions 1 and 2.
    let (mut puppet, request_id) = Puppet::ready();
    let answer = QueryAnswerEx::Answer { request_id, answer: http(200, b"a"), flags: 0, final_info: None };
    puppet.message(answer.to_bytes()).unwrap();
    let part = QueryAnswerEx::Part { request_id, answer: b"b".to_vec(), flags: 1, final_info: info() };
    puppet.message(part.to_bytes()).unwrap();
    assert_eq!((puppet.got.status, &puppet.got.body[..], total(puppet.got.done)), (Some(200), &b"ab"[..], 9));

    // Their error.
    let (mut puppet, request_id) = Puppet::ready();
    let error = QueryAnswerEx::Error { request_id, error_code: 602, error: words(), flags: 1, final_info: info() };
    puppet.message(error.to_bytes()).unwrap();
    assert_eq!(puppet.got.failed, Some((602, words())));

    // Answer and part of version 0.
    let (mut puppet, request_id) = Puppet::ready();
    let answer = http(200, b"a");
    let answer = QueryAnswer::Answer { answer, is_completed: false, request_id, request_tokens_used: counted(1) };
    puppet.message(answer.to_bytes()).unwrap();
    let answer = b"b".to_vec();
    let part = QueryAnswerPart::Part { answer, is_completed: true, request_id, request_tokens_used: counted(9) };
    puppet.message(part.to_bytes()).unwrap();
    assert_eq!((puppet.got.status, &puppet.got.body[..], total(puppet.got.done)), (Some(200), &b"ab"[..], 9));

    // Their errors, before and after the head.
    let (mut puppet, request_id) = Puppet::ready();
    let error = QueryAnswer::Error { error_code: 651, error: words(), request_id, request_tokens_used };
    puppet.message(error.to_bytes()).unwrap();
    assert_eq!(puppet.got.failed, Some((651, words())));
    let (mut puppet, request_id) = Puppet::ready();
    let answer = QueryAnswerEx::Answer { request_id, answer: http(200, b""), flags: 0, final_info: None };
    puppet.message(answer.to_bytes()).unwrap();
    let error = QueryAnswerPart::Error { error_code: 652, error: words(), request_id, request_tokens_used: counted(0) };
    puppet.message(error.to_bytes()).unwrap();
    assert_eq!(puppet.got.failed, Some((652, words())));
}

#[test]
fn no_user_waits_longer_than_asked() {
    let (mut puppet, _) = Puppet::ready();
    for second in 1..=100 {
        // The proxy lives, but says nothing to the point.
        let bytes = framed(puppet.received, &Packet::Pong { id: 0 }.to_bytes());
        puppet.received += 1;
        let now = Now { mono: ID_OF.mono + Duration::from_secs(second), unix: 1e9 };
        let mut out = Vec::new();
        puppet.session.receive(&bytes, now, &mut out).unwrap();
        puppet.session.tick(now, &mut out).unwrap();
        puppet.take(out);
        assert_eq!(puppet.got.failed.is_some(), second == 100);
    }
    assert_eq!(puppet.got.failed.unwrap().0, 652);
}

#[test]
fn a_lost_or_broken_conversation_fails_what_is_under_way() {
    let (mut puppet, _) = Puppet::ready();
    let mut out = Vec::new();
    puppet.session.closed(&mut out);
    puppet.take(out);
    assert_eq!(puppet.got.failed.unwrap().0, 651);
    assert_eq!(puppet.session.run(request(1), ID_OF, &mut Vec::new()), Err(NotSent::NotReady));

    let (mut puppet, id) = Puppet::ready();
    let answer = QueryAnswerEx::Answer { request_id: id, answer: http(200, b""), flags: 0, final_info: None };
    let mut cut = answer.to_bytes();
    cut.truncate(44);
    assert_eq!(puppet.message(cut), Err(Error::Malformed { what: "client.queryAnswerEx" }));
    assert_eq!(puppet.got.failed.unwrap().0, 651);
}

#[test]
fn answers_that_would_crash_a_genuine_client_fail_one_request() {
    let strange = ResponseHead { version: "HTTP/2".to_owned(), ..ResponseHead::new(200, "OK", Vec::new()) };
    for answer in [http(99, b""), http(1000, b""), strange.encode(b""), b"nonsense".to_vec()] {
        let (mut puppet, request_id) = Puppet::ready();
        let answer = QueryAnswerEx::Answer { request_id, answer, flags: 0, final_info: None };
        puppet.message(answer.to_bytes()).unwrap();
        assert_eq!(puppet.got.failed.unwrap().0, 621);
    }
    let (mut puppet, request_id) = Puppet::ready();
    let part = QueryAnswerEx::Part { request_id, answer: b"x".to_vec(), flags: 0, final_info: None };
    puppet.message(part.to_bytes()).unwrap();
    assert_eq!(puppet.got.failed.unwrap().0, 621, "a part before the answer");
}

#[test]
fn a_proxy_that_does_not_know_the_secret_is_registered_with() {
    for auth in
        [ProxyConnectionAuth::Long { nonce: 77 }, ProxyConnectionAuth::Short { secret_hash: [0; 32], nonce: 77 }]
    {
        let mut puppet = Puppet::new(client_config());
        puppet.answer(connected(auth)).unwrap();
        assert_eq!(puppet.registered, Some(77));
        assert_eq!(puppet.answer(authorised()).unwrap(), tl::client::AuthorizeWithProxyLong.to_bytes());
        assert!(puppet.session.is_ready());
    }
    let mut puppet = Puppet::new(client_config());
    puppet.answer(connected(short())).unwrap();
    let failed = AuthorizationWithProxy::Failed { error_code: 602, error: String::new() };
    let fault = puppet.answer(failed.to_bytes());
    assert_eq!(fault, Err(Error::Handshake(HandshakeFault::NotAuthorised)));
}

#[test]
fn a_request_that_fits_into_no_frame_is_not_sent() {
    let (mut puppet, _) = Puppet::ready();
    let mut large = request(100);
    large.request.body = vec![b' '; protocol::MAX_FRAME];
    let mut out = Vec::new();
    assert_eq!(puppet.session.run(large, ID_OF, &mut out), Err(NotSent::TooLarge));
    assert!(out.is_empty());
    assert!(puppet.session.run(request(100), ID_OF, &mut out).is_ok(), "the conversation goes on");
}

#[test]
fn models_are_listed() {
    let mut stage = Stage::new(1, proxy_config(false));
    stage.add_worker(None);
    let client = stage.add_client();
    stage.pump();
    let (mut out, now) = (Vec::new(), stage.now());
    stage.clients.get_mut(&client).unwrap().session.ask_worker_types(now, &mut out).unwrap();
    stage.client_does(client, out);
    stage.pump();
    let types = stage.clients[&client].types.clone().unwrap();
    assert_eq!((types[0].name.as_str(), types[0].workers[0].coefficient), (network::MODEL_BASE, 1000));
    assert_eq!((types[0].workers[0].active_requests, types[0].workers[0].max_active_requests), (0, 4));
}
