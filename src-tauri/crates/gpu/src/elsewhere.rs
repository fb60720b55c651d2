//! Systems whose cards we can't ask: there, only NVIDIA's library is asked.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::card::GpuId;
use crate::files::Roots;
use crate::look::Look;

/// What this system tells of its cards: nothing.
#[derive(Debug)]
pub(crate) struct System;

impl System {
    pub(crate) fn new(_: Roots, _: Duration) -> Self {
        Self
    }

    pub(crate) fn round(&mut self, _: Instant, _: &BTreeSet<u32>, _: impl Fn(&GpuId) -> bool) -> Vec<Look> {
        Vec::new()
    }

    pub(crate) fn process_name(&self, _: u32) -> Option<String> {
        None
    }
}
