//! What a worker may take of the machine, kept by the system: where systemd runs the owner's session, a scope that systemd makes for it; where
//! not, a control group that we make, if we may. Never needed: the worker keeps limits of its own, and what stands is read from the kernel.

use sandbox::{Child, Group, Share};

/// Threads of a worker: drivers start some for each processor.
const THREADS: u64 = 1024;
/// Its part of the processor's time where the owner's programs want it too; everybody has 100.
const WEIGHT: u64 = 20;

/// The limits of a worker that is started now.
fn share() -> Share {
    Share { memory: sandbox::available_memory(), threads: THREADS, weight: WEIGHT }
}

/// Sets them before the worker is told anything. Blocks for a moment. What it gives is to be kept until the worker is gone.
#[cfg(target_os = "linux")]
pub(super) fn set(child: &Child) -> Option<Group> {
    let share = share();
    match asked(child.pid(), share) {
        Ok(name) => {
            tracing::info!(scope = name, "systemd keeps the worker's limits");
            None
        }
        Err(systemd) => match child.limit(&share) {
            Ok(group) => {
                tracing::info!("the worker has a control group of its own");
                Some(group)
            }
            Err(error) => {
                tracing::info!(%systemd, %error, "the worker has no control group of its own, and keeps its limits itself");
                None
            }
        },
    }
}

/// On a thread of its own, because a bus that hangs is not to hang the worker.
#[cfg(target_os = "linux")]
fn asked(pid: u32, share: Share) -> Result<String, String> {
    let (said, answer) = std::sync::mpsc::channel();
    let asking = std::thread::Builder::new().name("worker-scope".to_owned()).spawn(move || {
        // Nobody may listen any more.
        let _ = said.send(systemd::scope(None, pid, &share));
    });
    asking.map_err(|error| error.to_string())?;
    answer.recv_timeout(systemd::PATIENCE).unwrap_or_else(|_| Err("systemd does not answer".to_owned()))
}

/// The job that it is started in has them already.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(child: &Child) -> Option<Group> {
    child.limit(&share()).ok()
}

/// The owner's systemd, asked by D-Bus for a scope around a process. It moves the process there and takes the scope away when it is empty.
#[cfg(target_os = "linux")]
mod systemd {
    use std::time::{Duration, Instant};

    use sandbox::Share;
    use zbus::blocking::connection::Builder;
    use zbus::names::BusName;
    use zbus::zvariant::{OwnedObjectPath, Value};

    const NAME: &str = "org.freedesktop.systemd1";
    const PLACE: &str = "/org/freedesktop/systemd1";
    const MANAGER: &str = "org.freedesktop.systemd1.Manager";
    /// How long the worker may wait for it.
    pub(super) const PATIENCE: Duration = Duration::from_secs(1);

    /// A property of a unit.
    type Property<'a> = (&'a str, Value<'a>);

    /// What systemd is told.
    fn properties(pid: u32, share: &Share) -> Vec<Property<'static>> {
        let mut properties = vec![
            ("Description", Value::from("Chrysalis worker")),
            ("PIDs", Value::from(vec![pid])),
            ("TasksMax", Value::from(share.threads)),
            ("CPUWeight", Value::from(share.weight)),
            // Also where it ended badly, or its name would be taken.
            ("CollectMode", Value::from("inactive-or-failed")),
        ];
        if let Some(memory) = share.memory {
            properties.push(("MemoryMax", Value::from(memory)));
            properties.push(("MemorySwapMax", Value::from(0_u64)));
        }
        properties
    }

    /// Gives the scope's name once the process is in it. `bus`: another one than the owner's session's.
    pub(super) fn scope(bus: Option<&str>, pid: u32, share: &Share) -> Result<String, String> {
        let failed = |error: zbus::Error| error.to_string();
        let builder = match bus {
            Some(address) => Builder::address(address),
            None => Builder::session(),
        };
        let bus = builder.and_then(|builder| builder.method_timeout(PATIENCE).build()).map_err(failed)?;
        let owner = BusName::try_from(NAME).map_err(|error| error.to_string())?;
        let names = zbus::blocking::fdo::DBusProxy::new(&bus).map_err(failed)?;
        // A bus without it might try to start it.
        if !names.name_has_owner(owner).map_err(|error| error.to_string())? {
            return Err("systemd is not on the session's bus".to_owned());
        }
        let name = format!("app-chrysalis-worker-{pid}.scope");
        let others: Vec<(&str, Vec<Property<'_>>)> = Vec::new();
        let order = (name.as_str(), "fail", properties(pid, share), others);
        let reply = bus.call_method(Some(NAME), PLACE, Some(MANAGER), "StartTransientUnit", &order).map_err(failed)?;
        reply.body().deserialize::<OwnedObjectPath>().map_err(failed)?;
        // That was the promise; this is the fact.
        let since = Instant::now();
        while !is_in(pid, &name) {
            if since.elapsed() > PATIENCE {
                return Err(format!("systemd did not put it into {name}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(name)
    }

    fn is_in(pid: u32, scope: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(scope))
    }

    #[cfg(test)]
    mod tests {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Child, Command, Stdio};
        use std::sync::{Arc, Mutex};

        use zbus::zvariant::OwnedValue;

        use super::*;

        /// A bus of its own, ended with the test.
        struct Bus(Child, String);

        impl Bus {
            fn start() -> Option<Self> {
                let mut daemon = Command::new("dbus-daemon")
                    .args(["--session", "--nofork", "--print-address"])
                    .stdout(Stdio::piped())
                    .spawn()
                    .ok()?;
                let mut address = String::new();
                BufReader::new(daemon.stdout.take()?).read_line(&mut address).ok()?;
                Some(Self(daemon, address.trim().to_owned()))
            }
        }

        impl Drop for Bus {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }

        type Told = Arc<Mutex<Vec<(String, String, Vec<String>)>>>;

        /// As systemd's: it says yes. Nothing here could move a process.
        struct Manager(Told);

        #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
        impl Manager {
            fn start_transient_unit(
                &self,
                name: String,
                mode: String,
                properties: Vec<(String, OwnedValue)>,
                others: Vec<(String, Vec<(String, OwnedValue)>)>,
            ) -> OwnedObjectPath {
                let line = |(name, value): (String, OwnedValue)| format!("{name}={:?}", *value);
                let units = others.into_iter().map(|(name, _)| name);
                let lines = properties.into_iter().map(line).chain(units).collect();
                self.0.lock().unwrap().push((name, mode, lines));
                OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap()
            }
        }

        #[test]
        fn systemd_is_asked_for_a_scope_and_its_yes_is_not_taken_for_the_fact() {
            let Some(bus) = Bus::start() else { return println!("skipped: no dbus-daemon") };
            let share = Share { memory: Some(5 << 30), threads: 1024, weight: 20 };
            let pid = std::process::id();
            let nobody = scope(Some(&bus.1), pid, &share);
            assert_eq!(nobody, Err("systemd is not on the session's bus".to_owned()));
            let told = Told::default();
            let served = Builder::address(bus.1.as_str())
                .and_then(|builder| builder.name(NAME))
                .and_then(|builder| builder.serve_at(PLACE, Manager(Arc::clone(&told))))
                .and_then(Builder::build)
                .unwrap();
            let said = scope(Some(&bus.1), pid, &share);
            assert_eq!(said, Err(format!("systemd did not put it into app-chrysalis-worker-{pid}.scope")));
            let told = told.lock().unwrap().clone();
            let [(name, mode, properties)] = &told[..] else { panic!("{told:?}") };
            assert_eq!((name.as_str(), mode.as_str()), (&*format!("app-chrysalis-worker-{pid}.scope"), "fail"));
            let all = properties.join("\n");
            for wanted in [
                &*format!("PIDs=Array(Array {{ elements: [U32({pid})]"),
                "TasksMax=U64(1024)",
                "CPUWeight=U64(20)",
                "MemoryMax=U64(5368709120)",
                "MemorySwapMax=U64(0)",
            ] {
                assert!(all.contains(wanted), "{wanted} is not among\n{all}");
            }
            drop(served);
        }

        #[test]
        fn a_session_without_a_bus_is_no_obstacle() {
            let share = Share { memory: None, threads: 1, weight: 1 };
            assert!(scope(Some("unix:path=/no/such/bus"), 1, &share).is_err());
        }
    }
}
