//! What every system's source answers with: the twin modules `linux`, `windows` and `elsewhere` have the same face.

use crate::card::Card;
use crate::sample::Reading;

/// One card in one round.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) card: Card,
    pub(crate) state: Answered,
    /// Whether it would fall asleep if nobody used it.
    pub(crate) may_sleep: bool,
    /// `None`: not asked for, or not awake.
    pub(crate) reading: Option<Reading>,
}

/// How a card took the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", windows)), expect(dead_code, reason = "no card is ever looked at there"))]
pub(crate) enum Answered {
    Awake,
    Asleep,
    NotInTime,
}
