//! Each misbehaviour that the practice proxy can be asked for does what its name says, as a worker sees it.

use std::time::Duration;

use network::misbehaviour::Misbehaviour;
use network::wire::Wire;
use protocol::{Error, HandshakeFault, PaymentFault};
use ratls::Evidence;

use crate::stage::{Stage, Step, Worker, chat, client_tls, post, soon, until};

async fn stage(how: Misbehaviour) -> Stage {
    Stage::start_with(
        |proxy| {
            proxy.misbehaviour = Some(how);
            proxy.retry = false;
        },
        |_| {},
    )
    .await
}

/// How the conversation of a worker ends that dials and, if it is given a job, answers it.
async fn end_of_a_worker(stage: &Stage) -> Result<(), Error> {
    let mut worker = Worker::dial(stage.proxy.workers(), &stage.network, 1).await;
    let http = stage.http();
    let asking = tokio::spawn(async move {
        loop {
            post(http, "/v1/chat/completions", &chat(false)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let end = soon("the conversation's end", &mut worker.end).await.unwrap();
    asking.abort();
    end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_proxy_says_nothing_after_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = crate::stage::proxy_settings(folder.path().join("proxy.sqlite"));
    settings.misbehaviour = Some(Misbehaviour::Silent);
    let proxy = network::proxy::start(settings).await.unwrap();
    let mut wire = Wire::dial(proxy.workers(), &client_tls(Evidence::None), 20).await.unwrap();
    let connect = [12_u32.to_le_bytes(), 0_u32.to_le_bytes(), 0xa57c_4261_u32.to_le_bytes()].concat();
    wire.send(&[connect, 7_u64.to_le_bytes().to_vec()].concat()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), wire.receive()).await.is_err());
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_and_a_wrong_key_end_the_handshake() {
    let wrong = stage(Misbehaviour::WrongAddress).await;
    let end = end_of_a_worker(&wrong).await;
    assert_eq!(end, Err(Error::Handshake(HandshakeFault::Contract)));
    wrong.stop().await;
    let wrong = stage(Misbehaviour::WrongKey).await;
    let end = end_of_a_worker(&wrong).await;
    assert_eq!(end, Err(Error::Payment(PaymentFault::Invalid)));
    wrong.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spoiled_frames_are_what_they_are_called() {
    let garbage = stage(Misbehaviour::GarbageFrames).await;
    let end = end_of_a_worker(&garbage).await;
    assert!(matches!(end, Err(Error::FrameLength { .. } | Error::FrameOrder { .. })), "{end:?}");
    garbage.stop().await;
    let oversized = stage(Misbehaviour::OversizedFrame).await;
    let end = end_of_a_worker(&oversized).await;
    assert_eq!(end, Err(Error::FrameLength { length: (1 << 24) + 1 }));
    oversized.stop().await;
    // Half a frame and then the end of the connection.
    let cut = stage(Misbehaviour::CutFrames).await;
    assert_eq!(end_of_a_worker(&cut).await, Ok(()));
    cut.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_drops_the_connection_does_so_in_mid_answer() {
    let stage = stage(Misbehaviour::DropMidAnswer).await;
    let mut worker = stage.worker().await;
    let question = chat(true);
    let (answer, ()) = tokio::join!(stage.ask(&question), async {
        let job = worker.job().await;
        worker.tell(Step::Head(job.id, 200, "text/event-stream"));
        for _ in 0..20 {
            worker.tell(Step::Part(job.id, b"data: x\n\n".to_vec()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(soon("the end", &mut worker.end).await.unwrap(), Ok(()));
    });
    assert!(!answer.is_whole);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_and_decreasing_payments_are_what_they_are_called() {
    for how in [Misbehaviour::ReplayedPayment, Misbehaviour::DecreasingPayment] {
        let stage = stage(how).await;
        let mut worker = stage.worker().await;
        let one_job = async |worker: &mut Worker| {
            let question = chat(false);
            tokio::join!(stage.ask(&question), async {
                let job = worker.job().await;
                worker.answer(&job);
            });
        };
        for jobs in 1..=2 {
            one_job(&mut worker).await;
            until("a commit", || async {
                let page = stage.proxy.stats().await.unwrap();
                (page["workers"][0]["committed_tokens"] == 8 * jobs).then_some(())
            })
            .await;
        }
        one_job(&mut worker).await;
        if how == Misbehaviour::DecreasingPayment {
            let end = soon("the worker to hang up", &mut worker.end).await.unwrap();
            assert_eq!(end, Err(Error::Payment(PaymentFault::WentDown)));
        } else {
            let last = until("the third job's payment", || async {
                let payments = worker.payments.lock().unwrap();
                payments.last().filter(|report| report.max_tokens == 24).cloned()
            })
            .await;
            // Sixteen are written down and committed, but the old payment for eight comes again.
            assert_eq!((last.tokens, last.db_tokens), (8, 16));
        }
        stage.stop().await;
    }
}
