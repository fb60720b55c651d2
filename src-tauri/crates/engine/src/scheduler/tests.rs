//! The scheduler over a device that keeps books.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;
use crate::gguf::Limits;
use crate::synthetic;

/// What a device remembers. A page's places hold what its tokens and all before them amount to, so whoever reads a page of
/// somebody else's, or one that was wiped or never written, comes to another answer or panics.
#[derive(Default)]
struct Books {
    /// Of each page the places, if it is given out.
    pages: Vec<Option<Vec<Option<u64>>>>,
    most_used: usize,
    /// Tokens computed.
    rows: usize,
    /// Rows of each step.
    steps: Vec<usize>,
    /// Whether tokens of prompts leave something else behind than those of answers.
    reads_otherwise: bool,
}

impl Books {
    fn used(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    /// Tokens and steps so far.
    fn done(&self) -> (usize, usize) {
        (self.rows, self.steps.len())
    }
}

/// A device of so many pages.
#[derive(Clone)]
struct Device(Arc<Mutex<Books>>);

impl Device {
    fn new(pages: usize) -> Self {
        Self(Arc::new(Mutex::new(Books { pages: vec![None; pages], ..Books::default() })))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }
}

fn mixed(before: u64, token: u32) -> u64 {
    (before ^ u64::from(token).wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
}

/// What tells a token that was read from one that was said, on a device that reads otherwise.
const READ: u32 = 1000;

/// The token that follows, none that ends an answer.
fn follower(state: u64) -> u32 {
    100 + (state % 300) as u32
}

/// What the device answers to a prompt.
fn expected(prompt: &[u32], count: usize) -> Vec<u32> {
    let mut state = prompt.iter().fold(0, |state, &token| mixed(state, token));
    let mut answer = Vec::new();
    for _ in 0..count {
        answer.push(follower(state));
        state = mixed(state, follower(state));
    }
    answer
}

impl Backend for Device {
    fn name(&self) -> &'static str {
        "books"
    }

    fn adapter(&self) -> Option<String> {
        None
    }

    fn prompt_chunk(&self) -> usize {
        16
    }

    fn reserve(&mut self, tokens: usize) -> Option<Pages> {
        let mut books = self.books();
        let count = tokens.div_ceil(PAGE_TOKENS);
        let free: Vec<usize> = (0..books.pages.len()).filter(|&page| books.pages[page].is_none()).take(count).collect();
        if free.len() < count {
            return None;
        }
        for &page in &free {
            books.pages[page] = Some(vec![None; PAGE_TOKENS]);
        }
        books.most_used = books.most_used.max(books.used());
        Some(Pages(free.into_iter().map(|page| page as u32).collect()))
    }

    fn release(&mut self, pages: Pages) {
        let mut books = self.books();
        for page in pages.0 {
            assert!(books.pages[page as usize].take().is_some(), "page {page} was given back twice");
        }
    }

    fn reads_otherwise(&self) -> bool {
        self.books().reads_otherwise
    }

    fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Found>, DeviceFault> {
        let mut books = self.books();
        assert!(!batch.rows.is_empty(), "a step without work");
        books.rows += batch.rows.len();
        books.steps.push(batch.rows.len());
        let mut found = Vec::new();
        for row in batch.rows {
            let pages = &batch.sequences[row.sequence].0;
            let place = |position: usize| (pages[position / PAGE_TOKENS] as usize, position % PAGE_TOKENS);
            let before = (row.position as usize).checked_sub(1).map_or(0, |position| {
                let (page, at) = place(position);
                books.pages[page].as_ref().expect("a page in use")[at].expect("what comes before was computed")
            });
            let (page, at) = place(row.position as usize);
            let state = mixed(before, row.token + u32::from(row.prompt && books.reads_otherwise) * READ);
            let kept = &mut books.pages[page].as_mut().expect("a page in use")[at];
            assert!(kept.is_none_or(|kept| kept == state), "a page that others use was written to");
            *kept = Some(state);
            if row.wanted != Wanted::Nothing {
                found.push(Found::Likeliest(follower(state)));
            }
        }
        Ok(found)
    }
}

fn engine(device: &Device, max_sequences: usize) -> Engine {
    let tokenizer = Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap().tokenizer();
    let options = Options { threads: 1, context: 512, max_sequences };
    let mut engine = Engine::with_backend(Box::new(device.clone()), tokenizer, options).unwrap();
    engine.read_in_chunks_of(16);
    engine
}

fn request(prompt: &[u32], max_tokens: u32) -> Request {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    Request { prompt: prompt.to_vec(), sampling, stop: Vec::new(), max_tokens, constraint: None }
}

/// A prompt of so many tokens.
fn prompt(seed: u32, tokens: u32) -> Vec<u32> {
    (0..tokens).map(|n| 3 + (seed * 31 + n * 7) % 400).collect()
}

/// Runs until all are through; tokens and counts of each.
fn run(engine: &mut Engine) -> BTreeMap<SequenceId, (Vec<u32>, TokenCounts)> {
    let mut answers: BTreeMap<SequenceId, (Vec<u32>, TokenCounts)> = BTreeMap::new();
    while engine.running() > 0 {
        for output in engine.step() {
            let answer = answers.entry(output.sequence).or_default();
            answer.0.extend(output.token);
            answer.1 = output.usage;
        }
    }
    answers
}

/// The conversations of one quota.
fn conversation(number: u64) -> Conversation {
    Conversation { quota: 0, number }
}

const ONE: Conversation = Conversation { quota: 0, number: 1 };
const OTHER: Conversation = Conversation { quota: 0, number: 2 };

#[test]
fn a_request_joins_at_the_next_step_and_no_answer_waits_for_a_prompt() {
    let device = Device::new(64);
    let mut engine = engine(&device, 3);
    let first = engine.add(request(&prompt(1, 10), 100)).unwrap();
    let second = engine.add(request(&prompt(2, 6), 100)).unwrap();
    let tokens = |outputs: &[Output]| -> BTreeMap<SequenceId, usize> {
        outputs.iter().map(|output| (output.sequence, usize::from(output.token.is_some()))).collect()
    };
    while tokens(&engine.step()) != BTreeMap::from([(first, 1), (second, 1)]) {}
    let before = device.books().steps.len();
    let long = engine.add(request(&prompt(3, 300), 5)).unwrap();
    // The step right behind reads of the newcomer's prompt, and every step until it is read has a token for each of the others.
    let mut outputs = engine.step();
    assert_eq!(device.books().steps[before..], [18]);
    while tokens(&outputs)[&long] == 0 {
        assert_eq!((tokens(&outputs)[&first], tokens(&outputs)[&second]), (1, 1));
        outputs = engine.step();
    }
    let steps = device.books().steps[before..].to_vec();
    assert_eq!(steps.len(), 300_usize.div_ceil(16));
    assert!(steps.iter().all(|rows| *rows <= 18), "{steps:?}");
}

#[test]
fn answers_to_one_prompt_compute_it_once() {
    let device = Device::new(64);
    let mut engine = engine(&device, 4);
    let asked = prompt(1, 100);
    let ids: Vec<SequenceId> = (0..4).map(|_| engine.add_to(ONE, false, request(&asked, 8)).unwrap()).collect();
    // Three whole pages once, and for each the page with the last token and its answer.
    assert_eq!(device.books().used(), 3 + 4);
    let answers = run(&mut engine);
    for id in &ids {
        assert_eq!(answers[id].0, expected(&asked, 8));
    }
    let cached: Vec<u64> = ids.iter().map(|id| answers[id].1.cached).collect();
    assert_eq!(cached, [0, 96, 96, 96]);
    // Four tokens of the prompt, and seven of the answer that are read to go on.
    assert_eq!(device.books().rows, 96 + 4 * (4 + 7));
    assert_eq!((device.books().used(), engine.kept_tokens()), (0, 0), "nothing was to be kept");
}

#[test]
fn whoever_takes_over_from_one_that_is_cancelled_finishes_what_it_began() {
    for steps in [0, 1, 3, 5, 8, 20] {
        let device = Device::new(64);
        let mut engine = engine(&device, 4);
        // The second shares all of the first one's pages, the third one some, and the last one follows the third.
        let asked = prompt(1, 140);
        let branch = [&asked[..70], &prompt(9, 60)].concat();
        let first = engine.add_to(ONE, false, request(&asked, 30)).unwrap();
        let rest =
            [&asked, &branch, &branch].map(|asked| (engine.add_to(ONE, false, request(asked, 8)).unwrap(), asked));
        (0..steps).for_each(|_| drop(engine.step()));
        engine.cancel(first);
        let third = rest[1].0;
        let mut answers = BTreeMap::new();
        if steps > 3 {
            engine.cancel(third);
        }
        answers.append(&mut run(&mut engine));
        for (id, asked) in rest.iter().filter(|(id, _)| steps <= 3 || *id != third) {
            let tokens = &answers[id].0;
            assert!(expected(asked, 8).ends_with(tokens) && !tokens.is_empty(), "after {steps} steps");
        }
        assert_eq!(device.books().used(), 0);
    }
}

#[test]
fn what_one_client_said_is_never_found_by_another() {
    let device = Device::new(64);
    let mut engine = engine(&device, 2);
    let asked = prompt(1, 200);
    let ask = |engine: &mut Engine, conversation| {
        let before = device.books().done();
        let id = engine.add_to(conversation, true, request(&asked, 4)).unwrap();
        let (tokens, usage) = run(engine).remove(&id).unwrap();
        assert_eq!(tokens, expected(&asked, 4));
        let now = device.books().done();
        (usage.cached, now.0 - before.0, now.1 - before.1)
    };
    let first = ask(&mut engine, ONE);
    assert_eq!(first, (0, 203, 13 + 3));
    assert!(engine.kept_tokens() > 0);
    // The same words by somebody else: as much work, in as many steps.
    assert_eq!(ask(&mut engine, OTHER), first);
    // By the same one: what is left is the page with the last token.
    assert_eq!(ask(&mut engine, ONE), (192, 11, 1 + 3));
    // And without a conversation nothing is found and nothing is left.
    let kept = engine.kept_tokens();
    let id = engine.add(request(&asked, 4)).unwrap();
    assert_eq!(run(&mut engine).remove(&id).unwrap().1.cached, 0);
    assert_eq!(engine.kept_tokens(), kept);
    engine.forget(ONE);
    assert_eq!(ask(&mut engine, ONE), first);
}

#[test]
fn at_the_same_time_clients_share_nothing_either() {
    let device = Device::new(64);
    let mut engine = engine(&device, 4);
    let asked = prompt(1, 200);
    for conversation in [ONE, OTHER] {
        engine.add_to(conversation, true, request(&asked, 4)).unwrap();
    }
    engine.add(request(&asked, 4)).unwrap();
    assert!(run(&mut engine).values().all(|(_, usage)| usage.cached == 0));
    assert_eq!(device.books().rows, 3 * 203);
}

#[test]
fn a_conversation_goes_on_where_it_was_answer_included() {
    let device = Device::new(64);
    let mut engine = engine(&device, 2);
    let mut said = prompt(1, 90);
    let mut known = 0;
    for turn in 0..4 {
        let id = engine.add_to(ONE, true, request(&said, 40)).unwrap();
        let (tokens, usage) = run(&mut engine).remove(&id).unwrap();
        assert_eq!(tokens, expected(&said, 40), "the same as without anything kept");
        assert_eq!(usage.cached as usize, known, "turn {turn}");
        said.extend(&tokens);
        // All but the last token were read, and only whole pages stay.
        known = (said.len() - 1) / PAGE_TOKENS * PAGE_TOKENS;
        assert_eq!(engine.kept_tokens(), known);
        said.extend(prompt(turn + 5, 25));
    }
    engine.forget(ONE);
    assert_eq!((engine.kept_tokens(), device.books().used()), (0, 0));
}

/// A card that reads prompts in another way than it computes answers: what was said is read anew when it comes back as a part of a
/// prompt, so that nobody's answer depends on what was kept; what was read is kept as ever. And a step has each kind together.
#[test]
fn where_prompts_are_read_otherwise_what_was_said_is_read_anew_and_answers_stay_the_same() {
    let device = Device::new(64);
    device.books().reads_otherwise = true;
    let mut engine = engine(&device, 3);
    let marked = |said: &[u32]| said.iter().map(|token| token + READ).collect::<Vec<u32>>();
    let mut said = prompt(1, 90);
    let mut known = 0;
    for turn in 0..4 {
        let id = engine.add_to(ONE, true, request(&said, 40)).unwrap();
        let stranger = engine.add(request(&said, 40)).unwrap();
        let answers = run(&mut engine);
        let (tokens, usage) = &answers[&id];
        assert_eq!(*tokens, expected(&marked(&said), 40), "turn {turn}");
        assert_eq!(*tokens, answers[&stranger].0, "turn {turn}");
        assert_eq!(usage.cached as usize, known, "turn {turn}");
        // A prompt's last token is never on a page that others use, unless it ends one and was read.
        known = said.len() / PAGE_TOKENS * PAGE_TOKENS;
        assert_eq!(engine.kept_tokens(), known);
        said.extend(tokens);
        said.extend(prompt(turn + 5, 25));
    }
    // One that answers and two that come later: its token comes first, whatever the order in which they came.
    let first = engine.add(request(&prompt(1, 40), 30)).unwrap();
    let second = engine.add(request(&prompt(2, 3), 30)).unwrap();
    while engine.step().iter().all(|output| output.sequence != second || output.token.is_none()) {}
    let rows = engine.next_rows();
    assert!(rows.len() > 2 && rows.is_sorted_by_key(|row| row.prompt) && !rows[0].prompt);
    engine.cancel(first);
    engine.cancel(second);
    engine.forget(ONE);
    assert_eq!((engine.kept_tokens(), device.books().used()), (0, 0));
}

#[test]
fn what_is_kept_is_bounded_gives_way_to_requests_and_the_oldest_goes_first() {
    let device = Device::new(32);
    let mut engine = engine(&device, 2);
    for number in 0..8 {
        engine.add_to(conversation(number), true, request(&prompt(1, 100), 4)).unwrap();
        run(&mut engine);
        assert!(engine.kept_tokens() <= 512, "no more than one sequence can have");
    }
    assert_eq!(engine.kept_tokens(), 5 * 96, "whole conversations");
    let cached = |engine: &mut Engine, number| {
        let id = engine.add_to(conversation(number), true, request(&prompt(1, 100), 4)).unwrap();
        run(engine)[&id].1.cached
    };
    assert_eq!(cached(&mut engine, 7), 96);
    assert_eq!(cached(&mut engine, 0), 0, "gone, and now there again");
    // Requests that need everything get everything.
    let both = [engine.add(request(&prompt(2, 500), 12)).unwrap(), engine.add(request(&prompt(3, 500), 12)).unwrap()];
    assert_eq!((engine.kept_tokens(), device.books().used()), (0, 32));
    let answers = run(&mut engine);
    assert!(both.iter().all(|id| answers[id].0.len() == 12));
    assert_eq!(device.books().used(), 0);
    assert_eq!(device.books().most_used, 32);
}

#[test]
fn what_is_kept_of_one_quota_is_not_pushed_out_by_another_and_goes_whole() {
    let device = Device::new(64);
    let mut engine = engine(&device, 2);
    let ask = |engine: &mut Engine, conversation, seed, tokens| {
        let id = engine.add_to(conversation, true, request(&prompt(seed, tokens), 4)).unwrap();
        run(engine)[&id].1.cached
    };
    let mine = Conversation { quota: 1, number: 100 };
    ask(&mut engine, mine, 1, 300);
    // However much somebody else has kept.
    for number in 0..8 {
        ask(&mut engine, conversation(number), 2, 400);
    }
    assert_eq!(engine.kept_tokens(), 288 + 384);
    assert_eq!(ask(&mut engine, mine, 1, 300), 288);
    // Within a quota one that needs a single page more takes the whole of the oldest.
    let (old, middle) = (Conversation { quota: 2, number: 200 }, Conversation { quota: 2, number: 201 });
    ask(&mut engine, old, 1, 260);
    ask(&mut engine, middle, 1, 200);
    ask(&mut engine, Conversation { quota: 2, number: 202 }, 1, 100);
    assert_eq!(engine.kept_tokens(), 288 + 384 + 192 + 96);
    assert_eq!(ask(&mut engine, middle, 1, 200), 192);
    // Branches of one conversation push out only each other.
    for seed in 3..9 {
        ask(&mut engine, mine, seed, 300);
    }
    assert_eq!(engine.kept_tokens(), 512 + 384 + 192 + 96);
}

#[test]
fn nothing_that_is_kept_gives_way_to_a_request_that_has_no_room_anyhow() {
    let device = Device::new(16);
    let mut engine = engine(&device, 3);
    engine.add_to(ONE, true, request(&prompt(1, 100), 4)).unwrap();
    engine.add_to(OTHER, true, request(&prompt(1, 100), 4)).unwrap();
    run(&mut engine);
    assert_eq!(engine.kept_tokens(), 192);
    let running = engine.add(request(&prompt(2, 200), 24)).unwrap();
    // 16 pages, of which 7 are in use and 6 are kept: no room for 10 even so, as often as it is asked for.
    for _ in 0..3 {
        assert!(matches!(engine.add(request(&prompt(3, 300), 20)), Err(Refused::Full)));
        assert_eq!((engine.kept_tokens(), device.books().used()), (192, 13));
    }
    // One conversation gives way if that is enough, and the one that was used longest ago.
    let fits = engine.add(request(&prompt(3, 160), 20)).unwrap();
    assert_eq!(engine.kept_tokens(), 96);
    let answers = run(&mut engine);
    assert_eq!((answers[&running].0.len(), answers[&fits].0.len()), (24, 20));
    let again = engine.add_to(OTHER, true, request(&prompt(1, 100), 4)).unwrap();
    assert_eq!(run(&mut engine)[&again].1.cached, 96);
}

#[test]
fn cancelling_frees_what_was_computed_at_once_and_leaves_what_was_there_before() {
    let device = Device::new(64);
    let mut engine = engine(&device, 2);
    engine.add_to(ONE, true, request(&prompt(1, 100), 4)).unwrap();
    run(&mut engine);
    let kept = device.books().used();
    assert_eq!(kept, 3);
    let longer = [prompt(1, 100), prompt(2, 100)].concat();
    for steps in [0, 1, 4, 12, 20] {
        let id = engine.add_to(ONE, true, request(&longer, 50)).unwrap();
        let alone = engine.add(request(&longer, 50)).unwrap();
        (0..steps).for_each(|_| drop(engine.step()));
        engine.cancel(alone);
        engine.cancel(id);
        assert_eq!(device.books().used(), kept, "after {steps} steps");
    }
    // Forgotten while it runs: it goes with the one that uses it.
    let id = engine.add_to(ONE, true, request(&longer, 5)).unwrap();
    engine.step();
    engine.forget(ONE);
    assert_eq!(run(&mut engine)[&id].0, expected(&longer, 5));
    assert_eq!(device.books().used(), 0);
}

#[test]
fn a_device_that_fails_gets_every_page_back_once() {
    let device = Device::new(64);
    let mut engine = engine(&device, 4);
    engine.add_to(ONE, true, request(&prompt(1, 100), 4)).unwrap();
    run(&mut engine);
    for conversation in [ONE, ONE, OTHER] {
        engine.add_to(conversation, true, request(&prompt(1, 120), 40)).unwrap();
    }
    engine.fail_after(2, DeviceFault::Hung { seconds: 1 });
    while engine.running() > 0 {
        engine.step();
    }
    assert!(engine.fault().is_some());
    assert_eq!(device.books().used(), 0);
}

#[test]
fn thoughts_are_counted_without_their_marks() {
    let device = Device::new(64);
    let mut engine = engine(&device, 1);
    // The tiny vocabulary has no such tokens: two that the device says take their place.
    let mut asked = prompt(1, 10);
    let answer = expected(&asked, 12);
    assert_eq!(answer[..8].iter().collect::<BTreeSet<_>>().len(), 8, "another prompt is needed");
    let reasoning = |engine: &mut Engine, think, asked: &[u32]| {
        engine.think = think;
        let id = engine.add(request(asked, 8)).unwrap();
        run(engine)[&id].1
    };
    assert_eq!(reasoning(&mut engine, None, &asked).reasoning, 0);
    let counts = reasoning(&mut engine, Some((answer[1], answer[5])), &asked);
    assert_eq!((counts.reasoning, counts.completion), (3, 8));
    assert_eq!(reasoning(&mut engine, Some((answer[6], answer[1])), &asked).reasoning, 1, "cut in thought");
    // A template that begins the thought itself, with white behind it.
    let space = (3..400).find(|&token| engine.tokenizer().piece(token) == b" ").unwrap();
    let begin = *asked.last().unwrap();
    asked.push(space);
    let answer = expected(&asked, 12);
    assert_eq!(reasoning(&mut engine, Some((begin, answer[3])), &asked).reasoning, 3);
    asked.insert(3, begin);
    asked.push(7);
    let answer = expected(&asked, 12);
    assert_eq!(reasoning(&mut engine, Some((begin, answer[3])), &asked).reasoning, 0, "said by somebody, long ago");
}

/// What a crowd does.
#[derive(Debug, Clone)]
enum Act {
    Ask { conversation: Option<(u64, bool)>, seed: u32, tokens: u32, answer: u32 },
    Continue { which: usize },
    Cancel { which: usize },
    Step { count: usize },
    Forget { conversation: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ask = (proptest::option::of((0..3_u64, any::<bool>())), 0..3_u32, 1..200_u32, 1..60_u32)
        .prop_map(|(conversation, seed, tokens, answer)| Act::Ask { conversation, seed, tokens, answer });
    let act = prop_oneof![
        4 => ask,
        2 => (0..8_usize).prop_map(|which| Act::Continue { which }),
        1 => (0..8_usize).prop_map(|which| Act::Cancel { which }),
        6 => (1..12_usize).prop_map(|count| Act::Step { count }),
        1 => (0..3_u64).prop_map(|conversation| Act::Forget { conversation }),
    ];
    proptest::collection::vec(act, 1..80)
}

struct Asked {
    conversation: Option<(Conversation, bool)>,
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    wanted: u32,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes: the device is never asked for more pages than there are, none has two owners or is used after it was given
    /// back (the device would panic), answers are those that each prompt gets alone, and at the end everything is free.
    #[test]
    fn memory_never_overflows_and_every_answer_is_right_whatever_comes(acts in acts(), pages in 8..40_usize, chunk in 1..40_usize) {
        let device = Device::new(pages);
        let mut engine = engine(&device, 4);
        engine.read_in_chunks_of(chunk);
        let mut running: BTreeMap<SequenceId, Asked> = BTreeMap::new();
        let mut answered: Vec<Asked> = Vec::new();
        let take = |engine: &mut Engine, running: &mut BTreeMap<SequenceId, Asked>, answered: &mut Vec<Asked>| {
            let before = running.len();
            let outputs = engine.step();
            assert_eq!(outputs.len(), before, "every sequence has news in every step");
            for output in outputs {
                let asked = running.get_mut(&output.sequence).unwrap();
                asked.tokens.extend(output.token);
                assert!(output.usage.cached <= output.usage.prompt && output.usage.prompt <= asked.prompt.len() as u64);
                assert!(asked.conversation.is_some() || output.usage.cached == 0);
                if output.finished.is_some() {
                    let asked = running.remove(&output.sequence).unwrap();
                    assert_eq!(asked.tokens, expected(&asked.prompt, asked.wanted as usize));
                    answered.push(asked);
                }
            }
        };
        for act in acts {
            let new = match act {
                Act::Ask { conversation, seed, tokens, answer } => {
                    let conversation = conversation.map(|(id, keep)| (Conversation { quota: id / 2, number: id }, keep));
                    Some(Asked { conversation, prompt: prompt(seed, tokens), tokens: Vec::new(), wanted: answer })
                }
                Act::Continue { which } => answered.get(which).map(|earlier| Asked {
                    conversation: earlier.conversation,
                    prompt: [earlier.prompt.as_slice(), &earlier.tokens, &[7, 8]].concat(),
                    tokens: Vec::new(),
                    wanted: 10,
                }),
                Act::Cancel { which } => {
                    if let Some(id) = running.keys().nth(which).copied() {
                        engine.cancel(id);
                        running.remove(&id);
                    }
                    None
                }
                Act::Step { count } => {
                    for _ in 0..count {
                        if engine.running() > 0 {
                            take(&mut engine, &mut running, &mut answered);
                        }
                    }
                    None
                }
                Act::Forget { conversation } => {
                    engine.forget(Conversation { quota: conversation / 2, number: conversation });
                    None
                }
            };
            if let Some(asked) = new {
                let wanted = request(&asked.prompt, asked.wanted);
                let admitted = match asked.conversation {
                    None => engine.add(wanted),
                    Some((conversation, keep)) => engine.add_to(conversation, keep, wanted),
                };
                match admitted {
                    Ok(id) => drop(running.insert(id, asked)),
                    Err(Refused::Full) => prop_assert!(!running.is_empty() || asked.prompt.len() + asked.wanted as usize > pages * PAGE_TOKENS),
                    Err(refused) => prop_assert!(matches!(refused, Refused::TooLong { .. }), "{refused}"),
                }
            }
            prop_assert_eq!(engine.running(), running.len());
            prop_assert!(device.books().used() <= pages && engine.kept_tokens() <= 2 * 512);
        }
        while engine.running() > 0 {
            take(&mut engine, &mut running, &mut answered);
        }
        (0..3).for_each(|number| engine.forget(Conversation { quota: number / 2, number }));
        prop_assert_eq!(device.books().used(), 0);
    }
}
