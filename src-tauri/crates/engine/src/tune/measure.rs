//! How fast a card is with the model that lies on it: one token of one sequence, and a chunk of a prompt.

use std::time::Duration;

use crate::backend::{Backend, Batch, Row, Wanted};
use crate::fault::DeviceFault;

use super::choice::Measured;

/// The first chunk is as short as a card that may be slow can take.
const FIRST_CHUNK: usize = 16;
/// Longer ones only while a chunk takes less than this: a card that is kept too long is reset by Windows.
const SHORT: Duration = Duration::from_millis(50);
const ROUNDS: usize = 3;

/// Measures a step of one sequence and a chunk of a prompt of at most so many tokens, each the best of a few. `time` does a step and
/// says how long it took.
pub(crate) fn measure<B: Backend>(
    card: &mut B,
    most: usize,
    time: impl Fn(&mut B, &Batch<'_>) -> Result<Duration, DeviceFault>,
) -> Result<Measured, DeviceFault> {
    let mut size = FIRST_CHUNK.min(most);
    let no_room = || DeviceFault::OutOfMemory { what: "the attention cache", wanted: None, limit: None };
    let pages = card.reserve(most + 1).ok_or_else(no_room)?;
    let row = |position: usize, wanted| Row {
        token: 0,
        position: position as u32,
        sequence: 0,
        prompt: wanted == Wanted::Nothing,
        wanted,
    };
    let time =
        |card: &mut B, rows: &[Row]| time(card, &Batch { rows, sequences: &[&pages], penalties: &[], masks: &[] });
    let mut timed = || {
        let (tokens, chunk) = loop {
            let rows: Vec<Row> = (0..size).map(|position| row(position, Wanted::Nothing)).collect();
            let took = time(card, &rows)?;
            if took < SHORT && size < most {
                size = (size * 2).min(most);
                continue;
            }
            // Whoever takes long was measured long enough.
            let again = if took < SHORT { time(card, &rows)?.min(took) } else { took };
            break (size, again);
        };
        let mut step = Duration::MAX;
        for _ in 0..ROUNDS {
            step = step.min(time(card, &[row(tokens.min(most - 1), Wanted::Likeliest)])?);
        }
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        Ok(Measured { step_micros: micros(step), chunk_tokens: tokens as u32, chunk_micros: micros(chunk) })
    };
    let measured = timed();
    card.release(pages);
    measured
}
