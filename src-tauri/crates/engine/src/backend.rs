//! What computes: the one door between the scheduler and a device.

/// A device that runs the model's forward pass.
pub trait Backend: Send {
    /// Its name, as `cpu`.
    fn name(&self) -> &'static str;

    /// The adapter it runs on, if it is not the CPU.
    fn adapter(&self) -> Option<String>;
}
