use link::FromWorker;
use link::message::Failure;
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;

use crate::taken::{Ground, Taken};

const NO_LANDLOCK: (i64, Errno) = (libc::SYS_landlock_create_ruleset, Errno::ENOSYS);
const NO_NAMESPACES: (i64, Errno) = (libc::SYS_unshare, Errno::EPERM);
const NO_FILTERS: (i64, Errno) = (libc::SYS_seccomp, Errno::EINVAL);

/// It ends with 1, having told the app this.
fn refuses_because(refusals: &[(i64, Errno)], words: &[&str]) {
    let ground = Ground::new();
    let worker = Taken::on_a_kernel_that_refuses(&ground, refusals);
    let worker = worker.until_its_end();
    assert!(matches!(worker.gone, Some(WaitStatus::Exited(_, 1))), "{:?}", worker.gone);
    let [FromWorker::Hello { .. }, FromWorker::Failed(Failure::Box(why))] = worker.said.as_slice() else {
        panic!("it said {:?}", worker.said);
    };
    for word in words {
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn without_landlock_and_namespaces_the_worker_does_not_start_and_says_why() {
    refuses_because(&[NO_LANDLOCK, NO_NAMESPACES], &["Landlock is not part of this kernel", "namespaces are refused"]);
    let off = (NO_LANDLOCK.0, Errno::EOPNOTSUPP);
    refuses_because(&[off, NO_NAMESPACES], &["switched off at the start of this kernel"]);
}

#[test]
fn without_filters_of_system_calls_the_worker_does_not_start_and_says_why() {
    refuses_because(&[NO_FILTERS], &["seccomp", "Invalid argument"]);
}

#[test]
fn one_of_landlock_and_namespaces_is_enough() {
    let ground = Ground::new();
    for refusals in [[NO_NAMESPACES], [NO_LANDLOCK]] {
        let worker = Taken::on_a_kernel_that_refuses(&ground, &refusals);
        if refusals == [NO_LANDLOCK] && !worker.has_namespaces() {
            println!("skipped: namespaces are refused here");
            continue;
        }
        assert!(matches!(worker.said.as_slice(), [FromWorker::Hello { .. }]), "{:?}", worker.said);
        let mut worker = worker.stopped();
        let secret = ground.secret.to_string_lossy().into_owned() + "\0";
        let path = worker.put(0, secret.as_bytes());
        let got = worker.call(libc::SYS_openat, &[libc::AT_FDCWD as i64 as u64, path, 0, 0]);
        assert!(got.value().is_none(), "{refusals:?}: {got:?}");
    }
}
