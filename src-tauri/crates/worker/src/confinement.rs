//! The box in the words of the pipe.

use std::io::Write;

use link::frame;
use link::message::{CallList, Confinement, Failure};
use link::{BUILD, FromWorker};
use sandbox::{Calls, ConfineError, Serving, Walls};

/// Closes the box for good; says what stands then, or why it does not.
pub type Seal = Box<dyn FnOnce(Serving) -> Result<Confinement, Failure> + Send>;

/// For a process that stands in such walls.
pub fn seal(walls: Walls) -> Seal {
    Box::new(move |serving| {
        let mut walls = walls;
        sandbox::seal(&mut walls, serving).map_err(|error| Failure::Box(error.to_string()))?;
        Ok(confinement(walls))
    })
}

/// For one that stands in none, and says so: a test's.
pub fn unconfined() -> Seal {
    Box::new(|_| Ok(Confinement::default()))
}

/// Tells the app that the box can't be closed. Nothing is read, not even the app's greeting.
pub fn refuse(writer: &mut dyn Write, error: &ConfineError) {
    let last = [FromWorker::Hello { build: BUILD.to_owned() }, FromWorker::Failed(Failure::Box(error.to_string()))];
    for message in &last {
        if let Ok(bytes) = frame::encode_control(message) {
            // Where nobody hears it, standard error has it.
            let _ = writer.write_all(&bytes);
        }
    }
    let _ = writer.flush();
}

fn confinement(walls: Walls) -> Confinement {
    Confinement {
        landlock: walls.landlock,
        own_root: walls.own_root,
        namespaces: walls.namespaces.into_iter().map(str::to_owned).collect(),
        without_namespaces: walls.without_namespaces,
        memory: walls.memory,
        calls: match walls.calls {
            Calls::Any => CallList::Any,
            Calls::Opening => CallList::Opening,
            Calls::Card => CallList::Card,
            Calls::Processor => CallList::Processor,
        },
    }
}
