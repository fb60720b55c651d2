//! Several sequences, one backend.
//!
//! Every step makes one batch of what all running sequences have next: a generated token each, or a chunk of the prompt. So a
//! step is short ([`pace`](crate::pace)), a newcomer waits for no one's answer, and weights are read once for all. What sequences
//! of one conversation have in common is computed once ([`prefix`](crate::prefix)).

use std::sync::Arc;
use std::time::Instant;

use zeroize::{Zeroize, Zeroizing};

use crate::adapter::{self, NoAdapter};
use crate::backend::{Backend, Batch, Found, Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted, Work};
use crate::constraint::{Grammar, Matcher, Vocabulary};
use crate::cpu::Cpu;
use crate::cuda::SelfTestFault;
use crate::fault::DeviceFault;
use crate::model::Model;
use crate::pace::Pace;
use crate::prefix::{Conversation, Prefixes, SharedId};
use crate::sampling::{self, Sampling};
use crate::stop::StopFilter;
use crate::tokenizer::Detokenizer;
use crate::tokenizer::Tokenizer;
use crate::tune::{Outcome, Session};

/// How an engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that compute, if the processor does: at least 1, at most as many as it has.
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
    /// Main memory does not suffice for the processor to run the model.
    #[error(
        "the model and its attention cache want {wanted} bytes of main memory; beside what the desktop is left there are {room}"
    )]
    NoRoom {
        /// Bytes that are wanted.
        wanted: u64,
        /// Bytes that there are.
        room: u64,
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
    /// On the best graphics card that can run the model: one of NVIDIA's by way of CUDA, else any other way; if there is none, on
    /// the processor, which is faster than software that plays a card.
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

/// The best card for CUDA, if it can compute this model, has proved itself, and has room for it by what its driver says.
fn for_cuda(
    model: &Model,
    options: &Options,
    session: Option<&mut Session<'_>>,
) -> Result<crate::cuda::Opened, StartError> {
    crate::cuda::check(model.parameters())?;
    let card = crate::cuda::open(None, model, session)?;
    card.admit(model, options)?;
    Ok(card)
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
    /// Tokens of the prompt that are there: all of them as soon as the first token of the answer is.
    pub prompt: u64,
    /// Those of the prompt that were not computed for this sequence: others of its conversation had them already.
    pub cached: u64,
    /// Tokens generated, the one that ended the answer included.
    pub completion: u64,
    /// Of the generated ones those between `<think>` and `</think>`, without these two, in a vocabulary that has them as tokens.
    pub reasoning: u64,
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

/// What a sequence shares with others of its conversation.
struct Membership {
    conversation: Conversation,
    /// The pages that its prompt begins with, and that are shared.
    path: Vec<SharedId>,
    /// Whether its pages stay when it ends.
    keep: bool,
}

struct Sequence {
    id: SequenceId,
    prompt: Zeroizing<Vec<u32>>,
    /// Tokens of the prompt that are there.
    done: usize,
    /// Those of them that were computed for this sequence.
    computed: usize,
    /// Whether what is generated now is thought.
    thinking: bool,
    reasoning: u64,
    member: Option<Membership>,
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
        TokenCounts {
            prompt: self.done as u64,
            cached: self.done.saturating_sub(self.computed) as u64,
            completion: self.generated.len() as u64,
            reasoning: self.reasoning,
        }
    }

    fn reads(&self) -> bool {
        self.generated.is_empty()
    }

    /// The shared page that its next token is on.
    fn shared(&self, position: usize) -> Option<SharedId> {
        self.member.as_ref().and_then(|member| member.path.get(position / PAGE_TOKENS)).copied()
    }

    /// Tokens whose keys and values are in the cache: the last generated one has not been read.
    fn cached_tokens(&self) -> Zeroizing<Vec<u32>> {
        let read = self.generated.split_last().map_or(&[][..], |(_, read)| read);
        let mut tokens = Zeroizing::new(Vec::with_capacity(self.done + read.len()));
        tokens.extend_from_slice(&self.prompt[..self.done]);
        tokens.extend_from_slice(read);
        tokens
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
    prefixes: Prefixes,
    /// Pages of one quota that may be kept for what follows in its conversations.
    most_kept: usize,
    pace: Pace,
    /// The tokens that begin and end what a model thinks, if it does.
    think: Option<(u32, u32)>,
    next: u64,
    fault: Option<DeviceFault>,
    /// Why a card was passed over that could have been had by way of CUDA.
    passed_over: Option<String>,
    /// No card but software was found, and passed over.
    only_software: bool,
    /// Set by tests.
    fails: Option<(u64, DeviceFault)>,
    /// Set by measurements.
    past_ends: bool,
}

impl Engine {
    /// Prepares the weights for the CPU backend.
    pub fn new(model: Model, options: Options) -> Result<Self, StartError> {
        Self::on(&Device::Cpu, model, options)
    }

    /// Prepares the weights for a device. Kernels of a graphics card are cut as suits its kind.
    pub fn on(device: &Device, model: Model, options: Options) -> Result<Self, StartError> {
        Self::start(device, model, options, None).map(|(engine, _)| engine)
    }

    /// The same, with kernels cut as was found best for the card: at an earlier start, if a stored choice fits, else now, which takes
    /// some seconds. No outcome where the processor computes.
    pub fn tuned(
        device: &Device,
        model: Model,
        options: Options,
        session: &mut Session<'_>,
    ) -> Result<(Self, Option<Outcome>), StartError> {
        Self::start(device, model, options, Some(session))
    }

    fn start(
        device: &Device,
        model: Model,
        options: Options,
        mut session: Option<&mut Session<'_>>,
    ) -> Result<(Self, Option<Outcome>), StartError> {
        if options.context == 0 || options.max_sequences == 0 {
            return Err(StartError::NothingToDo);
        }
        let tokenizer = model.tokenizer();
        let mut options = Options { context: options.context.min(model.context_length()), ..options };
        let (mut passed_over, mut only_software) = (None, false);
        // The number or a part of the name of a card for wgpu; `None` inside: the best one.
        let card = match device {
            Device::Cpu => None,
            Device::Cuda { adapter } => {
                crate::cuda::check(model.parameters())?;
                let card = crate::cuda::open(adapter.as_deref(), &model, session.as_deref_mut())?;
                let (backend, outcome) = card.start(model, &options, session)?;
                return Ok((Self::with_backend(backend, tokenizer, options)?, outcome));
            }
            Device::Wgpu { adapter } => Some(adapter.as_deref()),
            Device::Auto => match for_cuda(&model, &options, session.as_deref_mut()) {
                Ok(card) => {
                    // The model leaves main memory while it goes to the card. So a failure from here on is the end of this start: there is
                    // nothing left that could go anywhere else.
                    let (backend, outcome) = card.start(model, &options, session)?;
                    return Ok((Self::with_backend(backend, tokenizer, options)?, outcome));
                }
                Err(reason) => {
                    passed_over = worth_telling(&reason);
                    let wish = adapter::Wish { adapter: None, software: false };
                    let chosen = adapter::choose(&adapter::adapters(), &wish);
                    only_software = matches!(chosen, Err(NoAdapter::OnlySoftware { .. }));
                    (crate::wgpu::check(model.parameters()).is_ok() && chosen.is_ok()).then_some(None)
                }
            },
        };
        let (backend, outcome) = match (card, session) {
            (None, _) => (cpu(model, &mut options)?, None),
            (Some(adapter), None) => (crate::wgpu::start(model, &options, adapter)?, None),
            (Some(adapter), Some(session)) => {
                let (backend, outcome) = crate::wgpu::start_tuned(model, &options, adapter, session)?;
                (backend, Some(outcome))
            }
        };
        let mut engine = Self::with_backend(backend, tokenizer, options)?;
        engine.passed_over = passed_over;
        engine.only_software = only_software;
        Ok((engine, outcome))
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
            pace: Pace::new(backend.prompt_chunk()),
            prefixes: Prefixes::default(),
            most_kept: (context as usize).div_ceil(PAGE_TOKENS),
            think: tokenizer.token_of("<think>").zip(tokenizer.token_of("</think>")),
            backend,
            tokenizer,
            vocabulary: None,
            context,
            max_sequences,
            sequences: Vec::new(),
            next: 0,
            fault: None,
            passed_over: None,
            only_software: false,
            fails: None,
            past_ends: false,
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

    /// Whether [`Device::Auto`] found no card but software that plays one, and passed it over because the processor is faster by itself.
    pub fn only_software(&self) -> bool {
        self.only_software
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

    /// Reads prompts in chunks of so many tokens, however long that takes: for tests that must do the same on every machine.
    pub fn read_in_chunks_of(&mut self, tokens: usize) {
        self.pace = Pace::fixed(tokens);
    }

    /// Takes the tokens that end answers for tokens like any other: for measurements, whose answers must be of a given length.
    pub fn go_on_past_ends(&mut self) {
        self.past_ends = true;
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

    /// Admits a request or says why not. It shares nothing with any other.
    pub fn add(&mut self, request: Request) -> Result<SequenceId, Refused> {
        self.admit(request, None)
    }

    /// Admits a request of a conversation or says why not. What its prompt has in common with others of the conversation is computed
    /// once. With `keep`, what it leaves behind is kept for those that follow: until [`Engine::forget`], until later conversations of its
    /// quota need the room, or until a request needs the memory. Of a conversation that gives way nothing is left.
    pub fn add_to(&mut self, conversation: Conversation, keep: bool, request: Request) -> Result<SequenceId, Refused> {
        self.admit(request, Some((conversation, keep)))
    }

    /// Frees and wipes what is kept of a conversation. What is in use goes with the sequence that uses it.
    pub fn forget(&mut self, conversation: Conversation) {
        for member in self.sequences.iter_mut().filter_map(|sequence| sequence.member.as_mut()) {
            member.keep &= member.conversation != conversation;
        }
        let free = self.prefixes.forget(conversation);
        self.release(free);
    }

    /// Tokens that are kept and that no running sequence uses; of each quota at most as many as one sequence can have.
    pub fn kept_tokens(&self) -> usize {
        self.prefixes.unused() * PAGE_TOKENS
    }

    fn admit(&mut self, request: Request, place: Option<(Conversation, bool)>) -> Result<SequenceId, Refused> {
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
        let id = SequenceId(self.next);
        let (member, pages) = self.reserve(id, &prompt, (tokens + max_tokens) as usize, place)?;
        self.next += 1;
        let matcher = constraint.map(|grammar| {
            let vocabulary =
                self.vocabulary.get_or_insert_with(|| Arc::new(Vocabulary::new(Arc::clone(&self.tokenizer))));
            Matcher::new(grammar, Arc::clone(vocabulary))
        });
        self.sequences.push(Sequence {
            id,
            thinking: self.begins_to_think(&prompt),
            prompt,
            done: 0,
            computed: 0,
            reasoning: 0,
            member,
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

    /// Pages for so many tokens: those that are there already, and fresh ones. What is kept for conversations gives way, but only if
    /// that is enough.
    fn reserve(
        &mut self,
        id: SequenceId,
        prompt: &[u32],
        tokens: usize,
        place: Option<(Conversation, bool)>,
    ) -> Result<(Option<Membership>, Pages), Refused> {
        let count = tokens.div_ceil(PAGE_TOKENS);
        let mut path = place.map_or_else(Vec::new, |(conversation, _)| self.prefixes.join(conversation, prompt));
        let Some(fresh) = self.find_room(count - path.len()) else {
            let free = self.prefixes.leave(&path, id, false);
            self.release(free);
            return Err(Refused::Full);
        };
        let mut pages = self.prefixes.pages(&path);
        pages.extend_from_slice(&fresh);
        let member = place.map(|(conversation, keep)| {
            self.prefixes.open(conversation, prompt, &mut path, fresh.iter().copied());
            Membership { conversation, path, keep }
        });
        Ok((member, Pages(pages)))
    }

    /// So many fresh pages, for which conversations give way one by one; none of them does if there is no room without them as well.
    fn find_room(&mut self, count: usize) -> Option<Vec<u32>> {
        if let Some(Pages(fresh)) = self.backend.reserve(count * PAGE_TOKENS) {
            return Some(fresh);
        }
        let unused = self.prefixes.unused();
        if unused == 0 {
            return None;
        }
        // What not even all that is kept would make room for has to be there by itself.
        let beside = count.saturating_sub(unused);
        let mut fresh = if beside > 0 { self.backend.reserve(beside * PAGE_TOKENS)?.0 } else { Vec::new() };
        loop {
            if let Some(Pages(rest)) = self.backend.reserve((count - beside) * PAGE_TOKENS) {
                fresh.extend(rest);
                return Some(fresh);
            }
            let free = self.prefixes.evict();
            if free.is_empty() {
                self.release(fresh);
                return None;
            }
            self.release(free);
        }
    }

    /// Whether an answer to this prompt begins with thoughts: some templates end with the token before them.
    fn begins_to_think(&self, prompt: &[u32]) -> bool {
        let is_white = |token: &u32| self.tokenizer.piece(*token).iter().all(u8::is_ascii_whitespace);
        let last = prompt.iter().rev().find(|token| !is_white(token));
        last.is_some_and(|last| self.think.is_some_and(|(begin, _)| begin == *last))
    }

    /// Advances every sequence by at most one generated token or one chunk of its prompt. Returns nothing if none is running.
    ///
    /// If the device fails there is nothing either, all sequences are gone, and [`Engine::fault`] says why.
    pub fn step(&mut self) -> Vec<Output> {
        if self.sequences.is_empty() {
            return Vec::new();
        }
        let mut rows = self.next_rows();
        let read = rows.iter().filter(|row| self.sequences[row.sequence].reads()).count();
        let beside_others = read < rows.len();
        let penalties = self.penalties(&rows);
        let masks = self.masks(&rows);
        let found = {
            let sequences: Vec<&Pages> = self.sequences.iter().map(|sequence| &sequence.pages).collect();
            let masks: Vec<Masked<'_>> = masks.iter().map(|(row, mask)| Masked { row: *row, mask }).collect();
            let began = Instant::now();
            let batch = Batch { rows: &rows, sequences: &sequences, penalties: &penalties, masks: &masks };
            let found = self.backend.forward(&batch);
            self.pace.took(read, beside_others, began.elapsed());
            found
        };
        let found = match (found, &mut self.fails) {
            (_, Some((0, fault))) => Err(fault.clone()),
            (found, Some((steps, _))) => {
                *steps -= 1;
                found
            }
            (found, None) => found,
        };
        let found = Zeroizing::new(found.unwrap_or_else(|fault| {
            self.fault = Some(fault);
            Vec::new()
        }));
        let mut outputs = Vec::with_capacity(self.sequences.len());
        let mut found = found.iter();
        for row in &mut rows {
            // It held the prompt.
            row.token = 0;
            if self.fault.is_some() {
                continue;
            }
            let sequence = &mut self.sequences[row.sequence];
            if sequence.reads() {
                sequence.done = row.position as usize + 1;
                sequence.computed += 1;
                if let Some(shared) = sequence.shared(row.position as usize).filter(|_| is_last_of_page(row)) {
                    self.prefixes.written(shared, sequence.id);
                }
            }
            if row.wanted != Wanted::Nothing
                && let Some(found) = found.next()
            {
                let output = take_token(sequence, &self.tokenizer, self.past_ends, self.think, found);
                outputs.push(output);
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
            self.remove(output.sequence, true);
        }
        outputs
    }

    /// Ends a sequence now and frees its memory: of what it alone computed nothing is kept. The counts are what was computed; zero
    /// for a sequence that has ended already.
    pub fn cancel(&mut self, sequence: SequenceId) -> TokenCounts {
        self.remove(sequence, false).unwrap_or_default()
    }

    fn next_rows(&mut self) -> Vec<Row> {
        let Self { sequences, prefixes, pace, .. } = self;
        let mut reading = 0;
        for sequence in sequences.iter_mut().filter(|sequence| sequence.reads()) {
            while sequence.shared(sequence.done).is_some_and(|shared| prefixes.is_whole(shared)) {
                sequence.done += PAGE_TOKENS;
            }
            let next = sequence.shared(sequence.done);
            reading += usize::from(next.is_none_or(|shared| prefixes.may_write(shared, sequence.id)));
        }
        let beside_others = sequences.iter().any(|sequence| !sequence.reads());
        let share = (pace.chunk(beside_others) / reading.max(1)).max(1);
        let mut rows = Vec::with_capacity(sequences.len() + share * reading);
        // Answers first: a device that reads prompts in another way has each kind together.
        let all = || sequences.iter().enumerate();
        let in_order = all().filter(|(_, one)| !one.reads()).chain(all().filter(|(_, one)| one.reads()));
        for (index, sequence) in in_order {
            if let Some(&token) = sequence.generated.last() {
                let position = (sequence.prompt.len() + sequence.generated.len() - 1) as u32;
                rows.push(Row { token, position, sequence: index, prompt: false, wanted: sequence.wanted() });
                continue;
            }
            let end = sequence.prompt.len().min(sequence.done + share);
            for position in sequence.done..end {
                if let Some(shared) = sequence.shared(position) {
                    // Another is at it: wait until it is whole.
                    if !prefixes.may_write(shared, sequence.id) {
                        break;
                    }
                    prefixes.write(shared, sequence.id);
                }
                let last = position + 1 == sequence.prompt.len();
                let wanted = if last { sequence.wanted() } else { Wanted::Nothing };
                let token = sequence.prompt[position];
                rows.push(Row { token, position: position as u32, sequence: index, prompt: true, wanted });
            }
        }
        rows
    }

    fn penalties(&self, rows: &[Row]) -> Zeroizing<Vec<Penalty>> {
        let wanting = rows.iter().enumerate().filter(|(_, row)| row.wanted != Wanted::Nothing);
        let generated = |row: &Row| self.sequences[row.sequence].generated.len();
        // Room for all: a list that grows would leave copies behind.
        let mut penalties = Zeroizing::new(Vec::with_capacity(wanting.clone().map(|(_, row)| generated(row)).sum()));
        for (row, about) in wanting {
            let sequence = &self.sequences[about.sequence];
            let of_row = sequence.sampling.penalties(&sequence.generated);
            penalties.extend(of_row.iter().map(|&(token, amount)| Penalty { row, token, amount }));
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
        let mut all = self.prefixes.clear();
        for sequence in self.sequences.drain(..) {
            let shared = sequence.member.map_or(0, |member| member.path.len());
            all.extend(&sequence.pages.0[shared..]);
        }
        self.release(all);
    }

    fn release(&mut self, pages: Vec<u32>) {
        if !pages.is_empty() {
            self.backend.release(Pages(pages));
        }
    }

    fn remove(&mut self, id: SequenceId, keep: bool) -> Option<TokenCounts> {
        let index = self.sequences.iter().position(|sequence| sequence.id == id)?;
        let mut sequence = self.sequences.remove(index);
        let free = match sequence.member.take() {
            None => std::mem::take(&mut sequence.pages.0),
            Some(member) => {
                let conversation = member.conversation;
                let mut free = self.leave(&sequence, member, keep);
                free.extend(self.prefixes.trim(conversation, self.most_kept));
                free
            }
        };
        // Even if there is nothing to free: a device also wipes what it needed to compute.
        self.backend.release(Pages(free));
        Some(sequence.usage())
    }

    /// A sequence leaves its conversation. Gives the pages that are free now.
    fn leave(&mut self, sequence: &Sequence, member: Membership, keep: bool) -> Vec<u32> {
        let Membership { conversation, mut path, keep: wanted } = member;
        let keep = keep && wanted;
        let mut free = Vec::new();
        let mut shared = path.len();
        if keep {
            // Another request would read the answer as a part of its prompt.
            let tokens = sequence.cached_tokens();
            let read_alike = if self.backend.reads_otherwise() { sequence.done } else { tokens.len() };
            let tokens = &tokens[..read_alike];
            free = self.prefixes.share_written(conversation, tokens, &mut path, &sequence.pages.0);
            shared = path.len();
        }
        free.extend(&sequence.pages.0[shared..]);
        free.extend(self.prefixes.leave(&path, sequence.id, keep));
        free
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.release_all();
    }
}

/// Tokens that there must be memory for where the processor computes, if a sequence may have so many.
const LEAST_TOKENS: usize = 1024;

/// The processor, with an attention cache that grows to what main memory has room for. Where that is less than one sequence could have,
/// sequences are shorter.
fn cpu(model: Model, options: &mut Options) -> Result<Box<dyn Backend>, StartError> {
    let all = cache_tokens(options);
    model.admit_on_processor(all.min(LEAST_TOKENS))?;
    let tokens = crate::cpu::tokens_in_room(&model).map_or(all, |room| room.min(all));
    options.context = options.context.min(u32::try_from(tokens).unwrap_or(u32::MAX));
    let most = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Box::new(Cpu::new(model, options.threads.clamp(1, most), tokens)))
}

/// Tokens that all sequences together can have at most.
pub(crate) fn cache_tokens(options: &Options) -> usize {
    let pages = (options.context as usize).div_ceil(PAGE_TOKENS).saturating_mul(options.max_sequences);
    pages.saturating_mul(PAGE_TOKENS)
}

/// Whether a row is the last one of its page.
fn is_last_of_page(row: &Row) -> bool {
    (row.position as usize + 1).is_multiple_of(PAGE_TOKENS)
}

fn take_token(
    sequence: &mut Sequence,
    tokenizer: &Tokenizer,
    past_ends: bool,
    think: Option<(u32, u32)>,
    found: &Found,
) -> Output {
    let token = match found {
        Found::Likeliest(token) => *token,
        Found::Candidates(candidates) => sequence.sampling.choose(candidates, sequence.generated.len() as u64),
        // Nobody here asks for them.
        Found::Logits(logits) => sampling::likeliest(logits.iter().copied()),
    };
    sequence.generated.push(token);
    match think {
        Some((begin, _)) if token == begin => sequence.thinking = true,
        Some((_, end)) if token == end => sequence.thinking = false,
        _ => sequence.reasoning += u64::from(sequence.thinking),
    }
    let mut ended = !past_ends && tokenizer.is_end_of_generation(token);
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

#[cfg(test)]
mod tests;
