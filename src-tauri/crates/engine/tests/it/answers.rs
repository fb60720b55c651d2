use std::collections::BTreeMap;

use engine::{
    Conversation, Device, Engine, Finish, Options, Output, Refused, Request, Sampling, SequenceId, TokenCounts,
};

use crate::tiny::tiny;

fn engine(threads: usize, context: u32, max_sequences: usize) -> Engine {
    Engine::new(tiny(), Options { threads, context, max_sequences }).unwrap()
}

fn request(engine: &Engine, text: &str, max_tokens: u32) -> Request {
    let sampling = Sampling { temperature: 0.8, top_p: 0.9, seed: [7; 32], ..Sampling::default() };
    Request { prompt: engine.tokenizer().encode(text, true), sampling, stop: Vec::new(), max_tokens, constraint: None }
}

#[derive(Default)]
struct Answer {
    tokens: Vec<u32>,
    text: Vec<u8>,
    finished: Option<Finish>,
    usage: TokenCounts,
    chunks: usize,
}

impl Answer {
    fn take(&mut self, output: Output) {
        assert!(self.finished.is_none(), "something came behind the end");
        self.chunks += usize::from(output.token.is_none());
        self.tokens.extend(output.token);
        assert!(std::str::from_utf8(&output.text).is_ok(), "half a character came out");
        self.text.extend(output.text);
        self.finished = output.finished;
        self.usage = output.usage;
    }
}

/// Runs until all sequences are through.
fn run(engine: &mut Engine) -> BTreeMap<SequenceId, Answer> {
    let mut answers: BTreeMap<SequenceId, Answer> = BTreeMap::new();
    while engine.running() > 0 {
        for output in engine.step() {
            answers.entry(output.sequence).or_default().take(output);
        }
    }
    answers
}

fn answer(engine: &mut Engine, request: Request) -> Answer {
    let id = engine.add(request).unwrap();
    run(engine).remove(&id).unwrap()
}

const TEXTS: [&str; 4] = ["the", "what is the most of all", "<|im_start|>user\nhello<|im_end|>\n", "naïve 🦊 12345"];

#[test]
fn a_batch_gives_every_sequence_the_tokens_it_gets_alone() {
    let mut alone = Vec::new();
    for text in TEXTS {
        let mut engine = engine(1, 256, 1);
        let request = request(&engine, text, 24);
        alone.push(answer(&mut engine, request).tokens);
    }
    assert!(alone.windows(2).all(|pair| pair[0] != pair[1]));
    for threads in [1, 2] {
        let mut engine = engine(threads, 256, TEXTS.len());
        let mut ids = Vec::new();
        let mut answers: BTreeMap<SequenceId, Answer> = BTreeMap::new();
        // They come one by one, while others are answering already.
        for text in TEXTS {
            let request = request(&engine, text, 24);
            ids.push(engine.add(request).unwrap());
            for output in engine.step() {
                answers.entry(output.sequence).or_default().take(output);
            }
        }
        while engine.running() > 0 {
            for output in engine.step() {
                answers.entry(output.sequence).or_default().take(output);
            }
        }
        for (id, alone) in ids.iter().zip(&alone) {
            assert_eq!(answers[id].tokens, *alone, "with {threads} threads");
        }
    }
}

#[test]
fn a_prompt_of_many_chunks_is_answered_as_if_it_had_been_read_token_by_token() {
    let text = "some of the words that you have there are not what they would like to write about. ".repeat(6);
    let mut whole = engine(1, 512, 1);
    whole.read_in_chunks_of(16);
    let prompt = whole.tokenizer().encode(&text, false);
    assert!(prompt.len() > 100);
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let ask = |prompt: &[u32], max_tokens| Request {
        prompt: prompt.to_vec(),
        sampling: greedy,
        stop: Vec::new(),
        max_tokens,
        constraint: None,
    };
    let long = answer(&mut whole, ask(&prompt, 16));
    assert!(long.chunks >= 3, "{} chunks", long.chunks);

    // Many sequences at a time share the chunk, so each prompt is cut differently, down to single tokens.
    let mut crowded = engine(2, 512, 32);
    crowded.read_in_chunks_of(16);
    for _ in 0..32 {
        crowded.add(ask(&prompt, 16)).unwrap();
    }
    for (_, answer) in run(&mut crowded) {
        assert!(answer.chunks + 1 >= prompt.len());
        assert_eq!(answer.tokens, long.tokens);
    }
    // And the answer continues a prompt that contains its beginning.
    let longer: Vec<u32> = prompt.iter().chain(&long.tokens[..8]).copied().collect();
    assert_eq!(answer(&mut whole, ask(&longer, 8)).tokens, long.tokens[8..]);
}

/// A cache that reads a page of another's, or one that is not what it should be, says something else.
#[test]
fn what_is_reused_changes_no_token_on_any_device() {
    let has_card = engine::adapter::adapters().iter().any(|adapter| adapter.unusable.is_none());
    assert!(has_card || std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here");
    let card = has_card.then_some(Device::Wgpu { adapter: None });
    for device in [Device::Cpu].into_iter().chain(card) {
        let options = Options { threads: 1, context: 512, max_sequences: 4 };
        let mut engine = Engine::on(&device, tiny(), options).unwrap();
        let mut said = engine.tokenizer().encode(&"some of the words that you have there. ".repeat(5), false);
        let mut cached = 0;
        for turn in 0..3 {
            let ask = |seed| Request {
                prompt: said.clone(),
                sampling: Sampling { seed: [seed; 32], ..Sampling::default() },
                stop: Vec::new(),
                max_tokens: 24,
                constraint: None,
            };
            let alone = answer(&mut engine, ask(turn));
            assert_eq!(alone.usage.cached, 0);
            // Two answers to it and a stranger's in between, in chunks that fit no page.
            engine.read_in_chunks_of(7);
            let one = engine.add_to(Conversation { quota: 0, number: 1 }, true, ask(turn)).unwrap();
            let stranger = engine.add_to(Conversation { quota: 0, number: 2 }, false, ask(turn)).unwrap();
            let two = engine.add_to(Conversation { quota: 0, number: 1 }, true, ask(turn)).unwrap();
            let answers = run(&mut engine);
            for id in [one, stranger, two] {
                assert!(answers[&id].tokens == alone.tokens, "turn {turn} on {device:?}");
            }
            assert_eq!(answers[&stranger].usage.cached, 0);
            assert!(answers[&one].usage.cached >= cached && answers[&two].usage.cached >= 32, "turn {turn}");
            said.extend(&alone.tokens);
            cached = said.len() as u64 / 32 * 32 - 32;
            said.extend(engine.tokenizer().encode("and then the rest", false));
        }
        engine.forget(Conversation { quota: 0, number: 1 });
        assert_eq!(engine.kept_tokens(), 0);
    }
}

#[test]
fn a_seed_replays_its_answer_whatever_else_is_answered_at_the_time() {
    let ask = |engine: &Engine| {
        let mut request = request(engine, "the day that was the most of all days", 24);
        request.sampling = Sampling { temperature: 1.5, presence_penalty: 0.5, seed: [9; 32], ..Sampling::default() };
        request
    };
    let mut alone = engine(1, 256, 1);
    let wanted = ask(&alone);
    let wanted = answer(&mut alone, wanted).tokens;
    for (chunk, threads) in [(3, 1), (16, 2), (64, 2)] {
        let mut crowd = engine(threads, 256, 5);
        crowd.read_in_chunks_of(chunk);
        // Others in the middle of their answers, others that come later, and others that are cancelled.
        let early = request(&crowd, "what", 200);
        let early = crowd.add(early).unwrap();
        (0..4).for_each(|_| drop(crowd.step()));
        let asked = ask(&crowd);
        let id = crowd.add(asked).unwrap();
        let mut found = Answer::default();
        let mut steps = 0;
        while found.finished.is_none() {
            match steps {
                2 => drop(crowd.add(request(&crowd, &"some of the words ".repeat(8), 30)).unwrap()),
                9 => drop(crowd.cancel(early)),
                _ => {}
            }
            steps += 1;
            crowd.step().into_iter().filter(|output| output.sequence == id).for_each(|output| found.take(output));
        }
        assert_eq!(found.tokens, wanted, "chunks of {chunk}");
    }
}

#[test]
fn the_same_seed_replays_an_answer_and_another_seed_does_not() {
    let mut engine = engine(2, 256, 2);
    let ask = |engine: &Engine, seed| {
        let mut request = request(engine, "the day", 32);
        request.sampling.seed = [seed; 32];
        request
    };
    let first = ask(&engine, 1);
    let first = answer(&mut engine, first);
    let again = ask(&engine, 1);
    let again = answer(&mut engine, again);
    let other = ask(&engine, 2);
    let other = answer(&mut engine, other);
    assert_eq!(first.tokens, again.tokens);
    assert_eq!(first.text, again.text);
    assert_ne!(first.tokens, other.tokens);
}

#[test]
fn counts_and_reasons_are_those_of_the_answer() {
    let mut engine = engine(1, 256, 1);
    let asked = request(&engine, "what is the most", 10);
    let prompt = asked.prompt.len() as u64;
    let answered = answer(&mut engine, asked);
    assert_eq!(answered.finished, Some(Finish::Length));
    assert_eq!(answered.tokens.len(), 10);
    assert_eq!(answered.usage, TokenCounts { prompt, completion: 10, ..TokenCounts::default() });
    let decoded = engine.tokenizer().decode(&answered.tokens);
    assert_eq!(answered.text, String::from_utf8_lossy(&decoded).into_owned().into_bytes());
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let mut engine = engine(1, 256, 1);
    let asked = request(&engine, "the most", 40);
    let free = answer(&mut engine, asked);
    let text = String::from_utf8(free.text).unwrap();
    // A text that spans several tokens of the answer, from the middle of it.
    let letters: Vec<(usize, char)> = text.char_indices().collect();
    let (from, to) = (letters[letters.len() / 2].0, letters[letters.len() / 2 + 6].0);
    let stop = &text[from..to];
    let mut asked = request(&engine, "the most", 40);
    asked.stop = vec!["never there".to_owned(), stop.to_owned()];
    let stopped = answer(&mut engine, asked);
    assert_eq!(stopped.finished, Some(Finish::Stop));
    assert_eq!(String::from_utf8(stopped.text).unwrap(), text[..text.find(stop).unwrap()]);
    assert!(stopped.tokens.len() < 40);
    assert_eq!(stopped.usage.completion, stopped.tokens.len() as u64);
}

#[test]
fn penalties_change_what_is_said() {
    let mut engine = engine(1, 256, 1);
    let mut greedy = request(&engine, "no no no no", 40);
    greedy.sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let mut penalised = greedy.clone();
    penalised.sampling.presence_penalty = 100.0;
    let free = answer(&mut engine, greedy).tokens;
    let distinct = |tokens: &[u32]| tokens.iter().collect::<std::collections::BTreeSet<_>>().len();
    let penalised = answer(&mut engine, penalised).tokens;
    assert_eq!(distinct(&penalised), 40, "with so high a penalty no token comes twice");
    assert!(distinct(&free) < 40);
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let mut engine = engine(1, 64, 2);
    let ask = |tokens: usize, max_tokens| Request {
        prompt: vec![5; tokens],
        sampling: Sampling::default(),
        stop: Vec::new(),
        max_tokens,
        constraint: None,
    };
    assert_eq!(engine.add(ask(60, 5)), Err(Refused::TooLong { prompt: 60, max_tokens: 5, context: 64 }));
    assert_eq!(
        engine.add(ask(1, u32::MAX)),
        Err(Refused::TooLong { prompt: 1, max_tokens: u32::MAX.into(), context: 64 })
    );
    assert_eq!(engine.add(ask(0, 5)), Err(Refused::EmptyPrompt));
    assert_eq!(engine.add(ask(5, 0)), Err(Refused::NoTokens));
    assert_eq!(engine.add(Request { prompt: vec![512], ..ask(1, 5) }), Err(Refused::UnknownToken));
    engine.add(ask(60, 4)).unwrap();
    let second = engine.add(ask(60, 4)).unwrap();
    assert_eq!(engine.add(ask(1, 1)), Err(Refused::Full));
    engine.cancel(second);
    assert!(engine.add(ask(60, 4)).is_ok());
}

#[test]
fn a_cancelled_sequence_frees_its_place_at_once_and_tells_honest_counts() {
    let mut engine = engine(1, 256, 1);
    engine.read_in_chunks_of(16);
    let asked = Request { prompt: vec![5; 100], ..request(&engine, "a", 50) };
    let id = engine.add(asked.clone()).unwrap();
    assert_eq!(engine.cancel(id), TokenCounts::default(), "nothing was computed yet");
    let id = engine.add(asked.clone()).unwrap();
    engine.step();
    let reading = engine.cancel(id);
    assert!(reading.prompt > 0 && reading.prompt < 100 && reading.completion == 0, "a part of the prompt");
    let id = engine.add(asked.clone()).unwrap();
    let mut tokens = 0;
    while tokens < 5 {
        tokens += engine.step().iter().filter(|output| output.token.is_some()).count();
    }
    assert_eq!(engine.cancel(id), TokenCounts { prompt: 100, completion: 5, ..TokenCounts::default() });
    assert_eq!(engine.cancel(id), TokenCounts::default(), "it has ended already");
    assert_eq!(engine.running(), 0);
    assert!(engine.step().is_empty());
    // What ran there before does not show in the next answer.
    let fresh = answer(&mut crate::answers::engine(1, 256, 1), asked.clone()).tokens;
    assert_eq!(answer(&mut engine, asked).tokens, fresh);
}

#[test]
fn an_engine_without_room_does_not_start() {
    for (context, max_sequences) in [(0, 1), (16, 0)] {
        assert!(Engine::new(tiny(), Options { threads: 1, context, max_sequences }).is_err());
    }
    let engine = engine(1, 1_000_000, 1);
    assert_eq!(engine.context(), 4096, "never more than the model's own");
    assert_eq!((engine.backend(), engine.adapter()), ("cpu", None));
}

#[test]
fn main_memory_is_asked_for_before_the_processor_starts_and_the_cache_grows_to_what_there_is() {
    let with = |memory| {
        let limits = engine::gguf::Limits { memory, ..engine::gguf::Limits::default() };
        engine::Model::read(&mut engine::synthetic::tiny().as_slice(), limits).unwrap()
    };
    let options = Options { threads: 1, context: 4096, max_sequences: 256 };
    // What weights take alone, and a page more.
    let wanted = |model: engine::Model, tokens| match model.admit_on_processor(tokens) {
        Err(engine::StartError::NoRoom { wanted, .. }) => wanted,
        _ => panic!("there is no room"),
    };
    let little = 2_000_000;
    let (weights, page) = (wanted(with(Some(little)), 1 << 40), wanted(with(Some(little)), (1 << 40) + 32));
    let page = page - weights;
    let weights = weights - (page << 35);
    assert!(weights > 500_000 && page > 1000);
    // A thousand tokens have 32 pages.
    let least = weights + 32 * page;
    let error = Engine::new(with(Some(least - 1)), options).err().expect("refused");
    let text = error.to_string();
    assert!(text.contains(&least.to_string()) && text.contains(&(least - 1).to_string()), "{text}");
    // Sequences are as long as there is room for, and no further one is admitted beside a whole one.
    let mut engine = Engine::new(with(Some(least)), options).unwrap();
    assert_eq!(engine.context(), 1024);
    let mut request = request(&engine, "a", 1);
    request.max_tokens = 1024 - request.prompt.len() as u32;
    engine.add(request.clone()).unwrap();
    request.max_tokens = 1;
    assert_eq!(engine.add(request.clone()).err(), Some(Refused::Full));
    let mut engine = Engine::new(with(Some(least + page)), options).unwrap();
    request.max_tokens = 1024 - request.prompt.len() as u32;
    engine.add(request.clone()).unwrap();
    request.max_tokens = 1;
    engine.add(request.clone()).unwrap();
    assert_eq!(engine.add(request).err(), Some(Refused::Full));
    // Bench asks for all at once, before anything runs.
    assert!(with(Some(least)).admit_on_processor(1024).is_ok() && with(None).admit_on_processor(1 << 40).is_ok());
    assert!(with(Some(least)).admit_on_processor(1025).is_err());
}

#[test]
fn the_models_own_template_makes_the_prompt() {
    let template = tiny().chat_template().unwrap();
    let message = |role: &str, content: &str| engine::Message { role: role.to_owned(), content: content.to_owned() };
    let messages = [message("system", "Be brief."), message("user", "Hello {{ 1 + 1 }}")];
    let text = template.render(&messages, true, &engine::RenderOptions::default()).unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello {{ 1 + 1 }}<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(text, expected);
}
