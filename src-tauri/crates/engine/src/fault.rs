//! What can go wrong with a graphics card, by name.

/// A device that cannot go on. Each has another cure, so each has a name; the model and the request are never at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceFault {
    /// The card is gone: unplugged, its driver restarted or updated, or reset by the system.
    #[error("the graphics card was lost: {reason}")]
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// The card's memory does not suffice.
    #[error("the graphics card has not enough memory for {what}{}{}", asked(*.wanted), most(*.limit))]
    OutOfMemory {
        /// What for.
        what: &'static str,
        /// Bytes that were asked for, if known.
        wanted: Option<u64>,
        /// Bytes that there are, if known.
        limit: Option<u64>,
    },
    /// The driver does not accept a kernel.
    #[error("the graphics driver does not accept the kernel {kernel}: {reason}")]
    Pipeline {
        /// Which.
        kernel: String,
        /// Why, in the words of the compiler.
        reason: String,
    },
    /// The card did not finish its work in time.
    #[error("the graphics card did not answer for {seconds} seconds")]
    Hung {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The card computes, but not what the processor does. Nothing it says can be used.
    #[error("the graphics card computes wrong results: {what}")]
    Wrong {
        /// What was compared.
        what: String,
    },
    /// Anything else that the driver complained about: a mistake of ours or of the driver's.
    #[error("the graphics driver refused an order: {reason}")]
    Refused {
        /// The complaint.
        reason: String,
    },
}

fn asked(wanted: Option<u64>) -> String {
    wanted.map_or_else(String::new, |wanted| format!(": {wanted} bytes were wanted"))
}

fn most(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| format!(", there are {limit}"))
}
