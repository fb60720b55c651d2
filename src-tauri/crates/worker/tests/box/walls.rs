use link::FromWorker;
use link::message::{CallList, Confinement};

use crate::taken::{FILTERS, Ground, Moment, Outcome, Taken};

/// Calls that wait for something or end the process when they are allowed: they say nothing about the box.
pub(crate) fn waits_or_ends(number: i64) -> bool {
    let such = [
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_futex,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_clone,
        libc::SYS_restart_syscall,
        libc::SYS_munmap,
        libc::SYS_mmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
    ];
    such.contains(&number)
}

fn confinement(worker: &Taken) -> Confinement {
    let said = worker.said.iter().find_map(|said| match said {
        FromWorker::Confined(confinement) => Some((**confinement).clone()),
        _ => None,
    });
    said.expect("it says what stands around it")
}

#[test]
fn the_kernel_says_of_every_thread_of_the_worker_that_it_is_in_the_box() {
    let ground = Ground::new();
    for (moment, steps) in [(Moment::Opening, 1), (Moment::Enrolling, 2), (Moment::Cpu, 2)] {
        let worker = Taken::free(&ground, moment);
        let threads = worker.threads();
        assert!(threads.len() >= 3, "{threads:?}");
        for thread in threads {
            let says = |name: &str| worker.status(Some(thread), name);
            assert_eq!(says("NoNewPrivs"), "1");
            assert_eq!(says("Seccomp"), "2");
            assert_eq!(says("Seccomp_filters"), (FILTERS * steps).to_string());
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(says(set), "0000000000000000", "{set}");
            }
        }
    }
}

#[test]
fn a_worker_that_enrols_opens_nothing_and_has_no_more_than_one_that_serves() {
    let ground = Ground::new();
    let mut worker = Taken::at(&ground, Moment::Enrolling);
    assert_eq!(confinement(&worker).calls, CallList::Processor);
    let path = worker.put(0, b"/usr/lib\0");
    let folder = (libc::O_RDONLY | libc::O_DIRECTORY) as u64;
    let opened = worker.call(libc::SYS_openat, &[libc::AT_FDCWD as i64 as u64, path, folder, 0]);
    assert_eq!(opened, Outcome::Returned(-i64::from(libc::EPERM)));
    let everything = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let code = worker.call(libc::SYS_mmap, &[0, 4096, everything, 0x22, u64::MAX, 0]);
    assert_eq!(code, Outcome::Returned(-i64::from(libc::EPERM)));
    worker.end();
}

#[test]
fn the_worker_says_which_walls_stand_and_they_do() {
    let ground = Ground::new();
    let worker = Taken::free(&ground, Moment::Cpu);
    let said = confinement(&worker);
    assert_eq!(said.calls, CallList::Processor);
    assert!(said.landlock.is_none_or(|version| version <= 6), "newer rules are not asked for: {said:?}");
    assert!(said.landlock.is_some() || said.own_root, "{said:?}");
    assert!(said.memory.is_some_and(|bytes| bytes > 1 << 20), "{said:?}");
    assert_eq!(said.namespaces.is_empty(), !worker.has_namespaces(), "{said:?}");
    assert_eq!(said.without_namespaces.is_none(), said.own_root, "{said:?}");
}
