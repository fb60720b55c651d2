//! What computes: the one door between the scheduler and a device.

/// Tokens of one page of the attention cache.
pub const PAGE_TOKENS: usize = 32;

/// Pages of the attention cache that belong to one sequence: its tokens `n * PAGE_TOKENS ..` are in the n-th. Given out by
/// [`Backend::reserve`] and owned until [`Backend::release`].
pub struct Pages(pub(crate) Vec<u32>);

/// One token to be computed.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its id.
    pub token: u32,
    /// Its place in its sequence, from 0.
    pub position: u32,
    /// Which of the batch's sequences it belongs to.
    pub sequence: usize,
    /// Whether the logits behind it are wanted.
    pub logits: bool,
}

/// Tokens to be computed together.
pub struct Batch<'a> {
    /// The tokens. Those of one sequence are in order and follow what was computed for it before.
    pub rows: &'a [Row],
    /// The pages of each sequence, with room for all positions that occur.
    pub sequences: &'a [&'a Pages],
}

/// A device that runs the model's forward pass and keeps the attention cache.
///
/// The result for a sequence does not depend on what else is in a batch, nor on how its prompt is cut into batches: not by a
/// single bit.
pub trait Backend: Send {
    /// Its name, as `cpu`.
    fn name(&self) -> &'static str;

    /// The adapter it runs on, if it is not the CPU.
    fn adapter(&self) -> Option<String>;

    /// Sets cache pages aside for a sequence of so many tokens; `None` if they are not to be had now.
    fn reserve(&mut self, tokens: usize) -> Option<Pages>;

    /// Takes pages back and wipes what was in them.
    fn release(&mut self, pages: Pages);

    /// Computes a batch and returns the logits of the rows that want them, in order, one vocabulary after another.
    fn forward(&mut self, batch: &Batch<'_>) -> &[f32];
}
