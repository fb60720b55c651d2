//! Several sequences, one backend.
//!
//! Every step makes one batch of what all running sequences have next: a generated token each, or a chunk of the prompt. So a
//! step is short, a newcomer waits for no one's answer, and weights are read once for all.

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::adapter::{self, NoAdapter};
use crate::backend::{Backend, Batch, Found, Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted, Work};
use crate::constraint::{Grammar, Matcher, Vocabulary};
use crate::cpu::Cpu;
use crate::cuda::SelfTestFault;
use crate::fault::DeviceFault;
use crate::model::Model;
use crate::sampling::{self, Sampling};
use crate::stop::StopFilter;
use crate::tokenizer::Detokenizer;
use crate::tokenizer::Tokenizer;

/// How an engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that compute: 1 or 2 (more are treated as 2).
    pub threads: usize,
    /// Most tokens of one sequence, prompt and answer together; never more than the model's own context length.
    pub context: u32,
    /// Most sequences at a time. Memory for a sequence's tokens is taken when it is admitted and given back when it ends.
    pub max_sequences: usize,
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `context` or `max_sequences` is 0.
    #[error("context and max_sequences must be at least 1")]
    NothingToDo,
    /// There is no graphics card that may be used.
    #[error(transparent)]
    NoAdapter(#[from] NoAdapter),
    /// The card cannot hold or run the model.
    #[error(transparent)]
    Device(#[from] DeviceFault),
    /// The card computes something else than the processor.
    #[error("the graphics card cannot be trusted: {fault}; --backend wgpu or --backend cpu may do")]
    Differs {
        /// What.
        #[source]
        fault: SelfTestFault,
    },
    /// The model has a shape that only the processor can compute.
    #[error("graphics cards cannot run this model: {what}; --backend cpu can")]
    Unsupported {
        /// Which.
        what: String,
    },
}

/// Where a model is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// On the processor.
    Cpu,
    /// On a graphics card.
    Wgpu {
        /// Part of its name, or its number in the list of [`adapter::adapters`]; `None`: the best one.
        adapter: Option<String>,
    },
    /// On a card of NVIDIA's, by way of CUDA, if it proves that it computes what the processor does.
    Cuda {
        /// Part of its name, or its number among NVIDIA's cards; `None`: the first.
        adapter: Option<String>,
    },
    /// On the best graphics card that can run the model: one of NVIDIA's by way of CUDA, else any other way, software included; if there
    /// is none, on the processor.
    Auto,
}

/// One request for an answer. Not printable, on purpose.
#[derive(Clone)]
pub struct Request {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// The form that the answer must have: it ends where its value does, unless `max_tokens` or a stop text cut it.
    pub constraint: Option<Arc<Grammar>>,
}

/// Why a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Prompt and answer together exceed the context.
    #[error("prompt of {prompt} and answer of {max_tokens} tokens exceed the context of {context}")]
    TooLong {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens asked for.
        max_tokens: u64,
        /// Tokens that fit.
        context: u64,
    },
    /// All sequences or all memory are in use; room comes with the next sequence that ends.
    #[error("all sequences or all memory are in use")]
    Full,
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt has a token id outside of the vocabulary.
    #[error("the prompt has a token outside of the vocabulary")]
    UnknownToken,
    /// No token is asked for.
    #[error("max_tokens is 0")]
    NoTokens,
}

/// Why a card was passed over, unless it is that there is none.
pub(crate) fn worth_telling(reason: &StartError) -> Option<String> {
    match reason {
        StartError::NoAdapter(NoAdapter::NoCuda { .. } | NoAdapter::NotBuilt | NoAdapter::None) => None,
        reason => Some(reason.to_string()),
    }
}

/// Names a sequence of one engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(u64);

/// Why a sequence ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its answer, a stop text appeared, or the value that was asked for is complete.
    Stop,
    /// `max_tokens` were generated, or the vocabulary has no token that could go on with the value that was asked for.
    Length,
}

/// Tokens that were computed for a sequence so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the prompt that were computed: all of them as soon as the first token of the answer is there.
    pub prompt: u64,
    /// Tokens generated, the one that ended the answer included.
    pub completion: u64,
}

/// What one step did for one sequence. Not printable, on purpose.
pub struct Output {
    /// Whose.
    pub sequence: SequenceId,
    /// Text that is certain by now: whole characters, no part of a stop text. May be empty.
    pub text: Vec<u8>,
    /// The token that was generated; `None` for a chunk of the prompt.
    pub token: Option<u32>,
    /// Set with the last output of a sequence; its memory is free by then.
    pub finished: Option<Finish>,
    /// Counts up to here.
    pub usage: TokenCounts,
}

struct Sequence {
    id: SequenceId,
    prompt: Zeroizing<Vec<u32>>,
    /// Tokens of the prompt that are computed.
    done: usize,
    generated: Zeroizing<Vec<u32>>,
    sampling: Sampling,
    max_tokens: usize,
    detokenizer: Detokenizer,
    stop: StopFilter,
    matcher: Option<Matcher>,
    pages: Pages,
}

impl Sequence {
    fn wanted(&self) -> Wanted {
        if self.sampling.is_greedy() { Wanted::Likeliest } else { Wanted::Candidates }
    }

    fn usage(&self) -> TokenCounts {
        TokenCounts { prompt: self.done as u64, completion: self.generated.len() as u64 }
    }
}

/// A model that answers several requests at a time.
pub struct Engine {
    backend: Box<dyn Backend>,
    tokenizer: Arc<Tokenizer>,
    /// Made with the first request that has a constraint.
    vocabulary: Option<Arc<Vocabulary>>,
    context: u32,
    max_sequences: usize,
    sequences: Vec<Sequence>,
    next: u64,
    fault: Option<DeviceFault>,
    /// Why a card was passed over that could have been had by way of CUDA.
    passed_over: Option<String>,
    /// Set by tests.
    fails: Option<(u64, DeviceFault)>,
}

impl Engine {
    /// Prepares the weights for the CPU backend.
    pub fn new(model: Model, options: Options) -> Result<Self, StartError> {
        Self::on(&Device::Cpu, model, options)
    }

    /// Prepares the weights for a device.
    pub fn on(device: &Device, model: Model, options: Options) -> Result<Self, StartError> {
        if options.context == 0 || options.max_sequences == 0 {
            return Err(StartError::NothingToDo);
        }
        let tokenizer = model.tokenizer();
        let options = Options { context: options.context.min(model.context_length()), ..options };
        let mut passed_over = None;
        let backend = match device {
            Device::Cpu => cpu(model, &options),
            Device::Cuda { adapter } => {
                crate::cuda::check(model.parameters())?;
                crate::cuda::open(adapter.as_deref())?.start(model, &options)?
            }
            Device::Wgpu { adapter } => crate::wgpu::start(model, &options, adapter.as_deref())?,
            Device::Auto => match crate::cuda::check(model.parameters()).and_then(|()| crate::cuda::open(None)) {
                Ok(card) => card.start(model, &options)?,
                Err(reason) => {
                    passed_over = worth_telling(&reason);
                    let wish = adapter::Wish::default();
                    let usable = crate::wgpu::check(model.parameters()).is_ok();
                    if usable && adapter::choose(&adapter::adapters(), &wish).is_ok() {
                        crate::wgpu::start(model, &options, None)?
                    } else {
                        cpu(model, &options)
                    }
                }
            },
        };
        let mut engine = Self::with_backend(backend, tokenizer, options)?;
        engine.passed_over = passed_over;
        Ok(engine)
    }

    /// An engine over any backend, which holds the model that the tokenizer belongs to.
    pub fn with_backend(
        backend: Box<dyn Backend>,
        tokenizer: Arc<Tokenizer>,
        options: Options,
    ) -> Result<Self, StartError> {
        if options.context == 0 || options.max_sequences == 0 {
            return Err(StartError::NothingToDo);
        }
        let Options { context, max_sequences, .. } = options;
        Ok(Self {
            backend,
            tokenizer,
            vocabulary: None,
            context,
            max_sequences,
            sequences: Vec::new(),
            next: 0,
            fault: None,
            passed_over: None,
            fails: None,
        })
    }

    /// The backend's name, as `cpu`.
    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }

    /// The graphics adapter in use; `None` on the CPU.
    pub fn adapter(&self) -> Option<String> {
        self.backend.adapter()
    }

    /// Why [`Device::Auto`] passed over a card of NVIDIA's that is there; `None` where it did not.
    pub fn passed_over(&self) -> Option<&str> {
        self.passed_over.as_deref()
    }

    /// Why the device cannot go on. Nothing runs then, and nothing is admitted any more.
    pub fn fault(&self) -> Option<&DeviceFault> {
        self.fault.as_ref()
    }

    /// Lets the device fail in this way after so many steps: for tests of whoever must cope with it, on machines whose devices do
    /// not fail when asked to.
    pub fn fail_after(&mut self, steps: u64, fault: DeviceFault) {
        self.fails = Some((steps, fault));
    }

    /// What the last step cost a graphics card; `None` on the CPU.
    pub fn work(&self) -> Option<Work> {
        self.backend.work()
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Most tokens of one sequence, prompt and answer together.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// Sequences that are running.
    pub fn running(&self) -> usize {
        self.sequences.len()
    }

    /// Admits a request or says why not.
    pub fn add(&mut self, request: Request) -> Result<SequenceId, Refused> {
        let Request { prompt, sampling, stop, max_tokens, constraint } = request;
        let prompt = Zeroizing::new(prompt);
        if prompt.is_empty() {
            return Err(Refused::EmptyPrompt);
        }
        if max_tokens == 0 {
            return Err(Refused::NoTokens);
        }
        if prompt.iter().any(|&token| token >= self.tokenizer.vocabulary_size()) {
            return Err(Refused::UnknownToken);
        }
        let (tokens, max_tokens) = (prompt.len() as u64, u64::from(max_tokens));
        if tokens + max_tokens > u64::from(self.context) {
            return Err(Refused::TooLong { prompt: tokens, max_tokens, context: u64::from(self.context) });
        }
        if self.sequences.len() >= self.max_sequences || self.fault.is_some() {
            return Err(Refused::Full);
        }
        let pages = self.backend.reserve((tokens + max_tokens) as usize).ok_or(Refused::Full)?;
        let matcher = constraint.map(|grammar| {
            let vocabulary =
                self.vocabulary.get_or_insert_with(|| Arc::new(Vocabulary::new(Arc::clone(&self.tokenizer))));
            Matcher::new(grammar, Arc::clone(vocabulary))
        });
        let id = SequenceId(self.next);
        self.next += 1;
        self.sequences.push(Sequence {
            id,
            prompt,
            done: 0,
            // Room for all from the start: a list that grows would leave copies of the answer behind.
            generated: Zeroizing::new(Vec::with_capacity(max_tokens as usize)),
            sampling,
            max_tokens: max_tokens as usize,
            detokenizer: Detokenizer::default(),
            stop: StopFilter::new(stop),
            matcher,
            pages,
        });
        Ok(id)
    }

    /// Advances every sequence by at most one generated token or one chunk of its prompt. Returns nothing if none is running.
    ///
    /// If the device fails there is nothing either, all sequences are gone, and [`Engine::fault`] says why.
    pub fn step(&mut self) -> Vec<Output> {
        if self.sequences.is_empty() {
            return Vec::new();
        }
        let mut rows = self.next_rows();
        let penalties = self.penalties(&rows);
        let masks = self.masks(&rows);
        let found = {
            let sequences: Vec<&Pages> = self.sequences.iter().map(|sequence| &sequence.pages).collect();
            let masks: Vec<Masked<'_>> = masks.iter().map(|(row, mask)| Masked { row: *row, mask }).collect();
            self.backend.forward(&Batch { rows: &rows, sequences: &sequences, penalties: &penalties, masks: &masks })
        };
        let found = match (found, &mut self.fails) {
            (_, Some((0, fault))) => Err(fault.clone()),
            (found, Some((steps, _))) => {
                *steps -= 1;
                found
            }
            (found, None) => found,
        };
        let found = match found {
            Ok(found) => found,
            Err(fault) => {
                self.fault = Some(fault);
                Vec::new()
            }
        };
        let mut outputs = Vec::with_capacity(self.sequences.len());
        let mut found = found.into_iter();
        for row in &mut rows {
            // It held the prompt.
            row.token = 0;
            if self.fault.is_some() {
                continue;
            }
            let sequence = &mut self.sequences[row.sequence];
            sequence.done = sequence.done.max((row.position as usize + 1).min(sequence.prompt.len()));
            if row.wanted != Wanted::Nothing
                && let Some(found) = found.next()
            {
                outputs.push(take_token(sequence, &self.tokenizer, &found));
            }
        }
        if self.fault.is_some() {
            self.release_all();
            return Vec::new();
        }
        for sequence in self.sequences.iter().filter(|sequence| sequence.generated.is_empty()) {
            let (id, usage) = (sequence.id, sequence.usage());
            outputs.push(Output { sequence: id, text: Vec::new(), token: None, finished: None, usage });
        }
        for output in outputs.iter().filter(|output| output.finished.is_some()) {
            self.remove(output.sequence);
        }
        outputs
    }

    /// Ends a sequence now and frees its memory. The counts are what was computed; zero for a sequence that has ended already.
    pub fn cancel(&mut self, sequence: SequenceId) -> TokenCounts {
        self.remove(sequence).unwrap_or_default()
    }

    fn next_rows(&self) -> Vec<Row> {
        let reading = self.sequences.iter().filter(|sequence| sequence.done < sequence.prompt.len()).count();
        let chunk = self.backend.prompt_chunk();
        let share = (chunk / reading.max(1)).max(1);
        let mut rows = Vec::with_capacity(self.sequences.len() + chunk);
        for (index, sequence) in self.sequences.iter().enumerate() {
            if let Some(&token) = sequence.generated.last() {
                let position = (sequence.prompt.len() + sequence.generated.len() - 1) as u32;
                rows.push(Row { token, position, sequence: index, wanted: sequence.wanted() });
            } else {
                let end = sequence.prompt.len().min(sequence.done + share);
                for position in sequence.done..end {
                    let last = position + 1 == sequence.prompt.len();
                    let wanted = if last { sequence.wanted() } else { Wanted::Nothing };
                    let token = sequence.prompt[position];
                    rows.push(Row { token, position: position as u32, sequence: index, wanted });
                }
            }
        }
        rows
    }

    fn penalties(&self, rows: &[Row]) -> Vec<Penalty> {
        let mut penalties = Vec::new();
        for (row, about) in rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing) {
            let sequence = &self.sequences[about.sequence];
            let of_row = sequence.sampling.penalties(&sequence.generated);
            penalties.extend(of_row.into_iter().map(|(token, amount)| Penalty { row, token, amount }));
        }
        penalties
    }

    fn masks(&mut self, rows: &[Row]) -> Vec<(usize, Mask)> {
        let mut masks = Vec::new();
        for (row, about) in rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing) {
            if let Some(matcher) = &mut self.sequences[about.sequence].matcher {
                masks.push((row, matcher.mask()));
            }
        }
        masks
    }

    fn release_all(&mut self) {
        for sequence in self.sequences.drain(..) {
            self.backend.release(sequence.pages);
        }
    }

    fn remove(&mut self, id: SequenceId) -> Option<TokenCounts> {
        let index = self.sequences.iter().position(|sequence| sequence.id == id)?;
        let sequence = self.sequences.remove(index);
        let usage = sequence.usage();
        self.backend.release(sequence.pages);
        Some(usage)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.release_all();
    }
}

fn cpu(model: Model, options: &Options) -> Box<dyn Backend> {
    Box::new(Cpu::new(model, options.threads, cache_tokens(options)))
}

/// Tokens that all sequences together can have at most.
pub(crate) fn cache_tokens(options: &Options) -> usize {
    let pages = (options.context as usize).div_ceil(PAGE_TOKENS).saturating_mul(options.max_sequences);
    pages.saturating_mul(PAGE_TOKENS)
}

fn take_token(sequence: &mut Sequence, tokenizer: &Tokenizer, found: &Found) -> Output {
    let token = match found {
        Found::Likeliest(token) => *token,
        Found::Candidates(candidates) => sequence.sampling.choose(candidates, sequence.generated.len() as u64),
        // Nobody here asks for them.
        Found::Logits(logits) => sampling::likeliest(logits.iter().copied()),
    };
    sequence.generated.push(token);
    let mut ended = tokenizer.is_end_of_generation(token);
    let mut full = sequence.generated.len() >= sequence.max_tokens;
    let mut bytes = tokenizer.piece(token);
    if let Some(matcher) = &mut sequence.matcher {
        let fits = if ended { matcher.is_complete() } else { matcher.advance(token) };
        if fits {
            ended |= matcher.is_finished();
        } else {
            // Nothing was admitted: the vocabulary has no word for what must come.
            (ended, full, bytes) = (false, true, &[]);
        }
    }
    let mut piece = sequence.detokenizer.push(bytes);
    if ended || full {
        piece.push_str(&sequence.detokenizer.finish());
    }
    let (mut text, stopped) = sequence.stop.push(&piece);
    piece.zeroize();
    let finished = if ended || stopped {
        Some(Finish::Stop)
    } else if full {
        Some(Finish::Length)
    } else {
        None
    };
    if finished.is_some() && !stopped {
        text.push_str(&sequence.stop.finish());
    }
    Output { sequence: sequence.id, text: text.into_bytes(), token: Some(token), finished, usage: sequence.usage() }
}
