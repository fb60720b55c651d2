//! Kernels and whole models on a card made of the processor, against the CPU backend; and what is committed beside the kernels.

mod emulator;
#[path = "../../wgpu/tests/kernels.rs"]
mod kernels;
mod record;
mod rig;
mod trial;
mod whole;

use super::*;

use self::emulator::Emulated;

/// The card to try. Where no C++ compiler makes one a test says so and is through, unless the machine must have it.
fn card() -> Option<Arc<Emulated>> {
    let made = Emulated::new();
    if let Err(why) = &made {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "{why}");
        println!("skipped: {why}");
    }
    made.ok().map(Arc::new)
}
