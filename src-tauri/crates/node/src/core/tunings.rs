//! What is known of graphics cards: handed to each worker, added to by it, shown and written down.

use link::message::{LogLevel, Trial, Tuning};

use super::Out;

/// Most choices a worker is given.
pub const MOST: usize = 8;
/// Longest reason that is shown.
const MOST_REASON: usize = 400;
/// Why a card is tried out whose worker was given nothing on purpose. The worker itself cannot tell that from a first start.
const ASKED_FOR: &str = "the owner asked for it";

/// What an earlier start found out, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTuning {
    /// The driver's name of the card.
    pub card: String,
    /// The driver and its version.
    pub driver: String,
    /// SHA-256 of the model's file.
    pub model: [u8; 32],
    /// As the worker wants it back.
    pub choice: Vec<u8>,
    /// When it was found out, Unix time in milliseconds.
    pub found_unix_ms: i64,
}

/// How the kernels are cut for the card that the worker uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTuning {
    /// What the worker said.
    pub tuning: Tuning,
    /// When it was found out, Unix time in milliseconds; `None`: nobody wrote that down.
    pub found_unix_ms: Option<i64>,
    /// Why it was found out by this worker; `None`: an earlier one did.
    pub reason: Option<String>,
}

impl ShownTuning {
    /// Tokens of an answer that one request gets in a second, as measured; `None`: not measured.
    pub fn generated_per_second(&self) -> Option<f64> {
        let micros = self.tuning.step_micros;
        (micros > 0).then(|| 1e6 / micros as f64)
    }

    /// Tokens of prompts that are read in a second, as measured; `None`: not measured.
    pub fn read_per_second(&self) -> Option<f64> {
        let (tokens, micros) = (self.tuning.chunk_tokens, self.tuning.chunk_micros);
        (micros > 0 && tokens > 0).then(|| f64::from(tokens) * 1e6 / micros as f64)
    }
}

/// A card that is being tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trying {
    /// What is done.
    pub trial: Trial,
    /// With which way, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

/// See the module.
pub(super) struct Tunings {
    /// The newest first.
    known: Vec<KnownTuning>,
    /// The owner wants the card tried out anew.
    anew: bool,
    trying: Option<Trying>,
    shown: Option<Box<ShownTuning>>,
}

impl Tunings {
    pub(super) fn new(mut known: Vec<KnownTuning>, anew: bool) -> Self {
        known.truncate(MOST);
        Self { known, anew, trying: None, shown: None }
    }

    /// What a worker that starts now is given.
    pub(super) fn given(&self) -> Vec<Vec<u8>> {
        if self.anew { Vec::new() } else { self.known.iter().map(|known| known.choice.clone()).collect() }
    }

    pub(super) fn trying(&self) -> Option<Trying> {
        self.trying
    }

    pub(super) fn shown(&self) -> Option<&ShownTuning> {
        self.shown.as_deref()
    }

    /// A worker began, serves or is gone: it tries nothing out.
    pub(super) fn settled(&mut self) {
        self.trying = None;
    }

    /// A worker begins: what it uses will be heard.
    pub(super) fn begins(&mut self) {
        self.trying = None;
        self.shown = None;
    }

    /// A card is being tried out.
    pub(super) fn tries(&mut self, trying: Trying, out: &mut Out<'_>) {
        if self.shown.is_some() {
            return;
        }
        if self.trying.is_none() {
            out.log(LogLevel::Info, "the worker tries out the graphics card");
        }
        self.trying = Some(trying);
    }

    /// What a worker uses, which it says once. What is new comes back, to be written down.
    pub(super) fn tuned(
        &mut self,
        tuning: Tuning,
        reason: Option<String>,
        model: [u8; 32],
        out: &mut Out<'_>,
    ) -> Option<KnownTuning> {
        if self.shown.is_some() {
            return None;
        }
        self.trying = None;
        if !tuning.is_bounded() {
            out.log(LogLevel::Warn, "the worker says something of the graphics card that can't be kept");
            return None;
        }
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(MOST_REASON).collect::<String>();
        let reason = reason.map(|reason| if self.anew { ASKED_FOR.to_owned() } else { plain(&reason) });
        let tuning =
            Tuning { card: plain(&tuning.card), driver: plain(&tuning.driver), way: plain(&tuning.way), ..tuning };
        let Some(why) = &reason else {
            let known = self.known.iter().find(|known| known.choice == tuning.choice);
            let found_unix_ms = known.map(|known| known.found_unix_ms);
            out.log(LogLevel::Info, format!("{} computes as it was found best before: {}", tuning.card, tuning.way));
            self.shown = Some(Box::new(ShownTuning { tuning, found_unix_ms, reason }));
            return None;
        };
        let found = KnownTuning {
            card: tuning.card.clone(),
            driver: tuning.driver.clone(),
            model,
            choice: tuning.choice.clone(),
            found_unix_ms: out.now.unix_ms,
        };
        let Tuning { card, way, tried, failed, of, .. } = &tuning;
        let left = of.saturating_sub(tried.saturating_add(*failed));
        let left = if left > 0 { format!(", {left} of {of} were not reached in time") } else { String::new() };
        out.log(
            LogLevel::Info,
            format!("{card} was tried out: {way} is the best of {tried}, {failed} failed{left}; because {why}"),
        );
        self.shown = Some(Box::new(ShownTuning { found_unix_ms: Some(out.now.unix_ms), tuning, reason }));
        // Another worker of this run need not do it again.
        self.anew = false;
        self.known.retain(|known| (&known.card, &known.driver) != (&found.card, &found.driver));
        self.known.insert(0, found.clone());
        self.known.truncate(MOST);
        Some(found)
    }
}
