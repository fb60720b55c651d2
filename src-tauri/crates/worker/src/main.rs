//! `chrysalis-worker`: without arguments the boxed worker of `chrysalis`, with a subcommand a tool for developers.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use engine::{Device, DeviceFault, StartError};
use link::message::Failure;
use worker::confinement;
use worker::developer::{self, Bench, Generate};
use worker::serve::{self, Stopped, World};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const DEVICE_FAILED: u8 = 3;

/// Runs a language model for chrysalis.
///
/// Without a subcommand this is the boxed half of `chrysalis`: it expects a pipe and a model as inherited descriptors and is of
/// no use by itself. The subcommands run the engine on a GGUF file directly, without network, proxies or money.
#[derive(Parser)]
#[command(
    name = "chrysalis-worker",
    version,
    after_help = "Exit codes: 0 done; 1 failed, the reason is on standard error; 2 wrong usage; \
    3 the graphics card failed or there is none.\n\n\
    Example:\n  chrysalis-worker generate --model SmolLM2-135M-Instruct-Q4_1.gguf --prompt \"The capital of France is\" --tokens 8"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure how fast this machine reads prompts and generates, one request alone or several at once. On a graphics card the kernels are
    /// cut as suits its kind: what the app found out and stored is not used, nothing is tried out, and the card is not tested.
    Bench {
        /// The model, a GGUF file.
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// Where the model runs.
        #[arg(long, value_enum, default_value_t = Backend::Cpu)]
        backend: Backend,
        /// Which graphics card: part of its name or its number, see the subcommand adapters. Default: the best one.
        #[arg(long, value_name = "NAME")]
        adapter: Option<String>,
        /// Tokens of each prompt.
        #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
        prompt: u32,
        /// Tokens to generate for each request, at least 2.
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
        generate: u32,
        /// Requests at once.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
        parallel: u16,
        /// How often all of it is measured; the best and the median are given.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rounds: u16,
        /// Threads that compute, never more than the processor has. Default: 2.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
        /// Write one JSON object instead of sentences.
        #[arg(long)]
        json: bool,
    },
    /// List the graphics cards, what each can do, and which would be chosen and why.
    Adapters {
        /// As for bench and generate: part of the name, or the number.
        #[arg(long, value_name = "NAME")]
        adapter: Option<String>,
        /// Write one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Try a graphics card out with a model, as at the app's first start: compare its results with the processor's and find the fastest
    /// way to cut the kernels. Nothing is stored.
    Tune {
        /// The model, a GGUF file.
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// Which graphics card: part of its name or its number, see the subcommand adapters. Default: the best one.
        #[arg(long, value_name = "NAME")]
        adapter: Option<String>,
        /// Tokens of prompt and answer together that there must be memory for.
        #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
        context: u32,
        /// Write one JSON object instead of sentences.
        #[arg(long)]
        json: bool,
    },
    /// Continue a text. The text is taken as it is, without the model's chat template. On a graphics card the kernels are cut as suits its
    /// kind: what the app found out and stored is not used, nothing is tried out, and the card is not tested.
    Generate {
        /// The model, a GGUF file.
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// Where the model runs.
        #[arg(long, value_enum, default_value_t = Backend::Cpu)]
        backend: Backend,
        /// Which graphics card: part of its name or its number, see the subcommand adapters. Default: the best one.
        #[arg(long, value_name = "NAME")]
        adapter: Option<String>,
        /// The text to continue.
        #[arg(long, value_name = "TEXT")]
        prompt: String,
        /// Most tokens to generate.
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        tokens: u32,
        /// 0 always takes the likeliest token; up to 2.
        #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
        temperature: f32,
        /// Threads that compute, never more than the processor has. Default: 2.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
        /// Write one JSON object: {"prompt_tokens":[…],"tokens":[…],"text":"…"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    /// The processor.
    Cpu,
    /// A graphics card, through Vulkan or DX12.
    Wgpu,
    /// A card of NVIDIA's, through CUDA.
    Cuda,
}

impl Backend {
    fn device(self, adapter: Option<String>) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Wgpu => Device::Wgpu { adapter },
            Self::Cuda => Device::Cuda { adapter },
        }
    }
}

fn main() -> ExitCode {
    // No argument at all: nothing may be read but the two descriptors, and before them how much memory there is.
    if std::env::args_os().len() == 1 {
        return boxed();
    }
    #[cfg(windows)]
    if std::env::args_os().nth(1).is_some_and(|word| word == sandbox::PROBE) {
        return look_around();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 });
        }
    };
    let mut out = std::io::stdout().lock();
    let done = match arguments.command {
        None => {
            complain("a subcommand is needed; see chrysalis-worker --help");
            return ExitCode::from(WRONG_USAGE);
        }
        Some(Command::Adapters { adapter, json }) => developer::adapters(adapter.as_deref(), json, &mut out),
        Some(Command::Tune { model, adapter, context, json }) => {
            developer::tune(&model, adapter, context, json, &mut out)
        }
        Some(Command::Bench { model, backend, adapter, prompt, generate, parallel, rounds, threads, json }) => {
            developer::bench(
                &Bench {
                    model: &model,
                    device: backend.device(adapter),
                    prompt,
                    generate,
                    parallel: usize::from(parallel),
                    rounds: usize::from(rounds),
                    threads: threads.map(usize::from),
                    json,
                },
                &mut out,
            )
        }
        Some(Command::Generate { model, backend, adapter, prompt, tokens, temperature, threads, json }) => {
            developer::generate(
                &Generate {
                    model: &model,
                    device: backend.device(adapter),
                    prompt: &prompt,
                    tokens,
                    temperature,
                    threads: threads.map(usize::from),
                    json,
                },
                &mut out,
            )
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(if is_of_device(&error) { DEVICE_FAILED } else { FAILED })
        }
    }
}

/// In the walls that the app wants to put the worker into: tries what they should stop, and which cards there are. No model is read and
/// nobody is spoken to but the app.
#[cfg(windows)]
fn look_around() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(2).collect();
    match sandbox::look_around(&words, developer::cards_in_walls) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot look around: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn boxed() -> ExitCode {
    // A panic's message may quote a prompt; its place can't. And a process with a dead thread must not linger.
    std::panic::set_hook(Box::new(|panic| {
        match panic.location() {
            Some(place) => complain(&format!("panicked at {}:{}", place.file(), place.line())),
            None => complain("panicked"),
        }
        std::process::exit(i32::from(FAILED));
    }));
    // Before the box closes: from then on the system is asked for nothing.
    let available = sandbox::available_memory();
    let walls = sandbox::confine(available);
    let (mut channel, model) = match sandbox::inherited() {
        Ok(inherited) => inherited,
        Err(error) => {
            complain(&format!(
                "started without the pipe of chrysalis ({error}); for the developer's subcommands see chrysalis-worker --help"
            ));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let walls = match walls {
        Ok(walls) => walls,
        Err(error) => {
            confinement::refuse(&mut channel.writer, &error);
            complain(&error.to_string());
            return ExitCode::from(FAILED);
        }
    };
    let stopped = serve::run(World {
        reader: Box::new(channel.reader),
        writer: Box::new(channel.writer),
        model: Box::new(model),
        ticks: worker::clock::machine_ticks(),
        // Whatever runs then runs for nobody.
        on_gone: Arc::new(|| std::process::exit(0)),
        fails: None,
        memory: available.map(worker::memory::room),
        seal: confinement::seal(walls),
    });
    match stopped {
        Stopped::AppGone => ExitCode::SUCCESS,
        Stopped::Failed(Failure::Device { text, .. }) => {
            complain(&text);
            // Not by returning: what is left of a card that hangs would be waited for.
            std::process::exit(i32::from(DEVICE_FAILED));
        }
        stopped => {
            complain(&stopped.to_string());
            ExitCode::from(FAILED)
        }
    }
}

fn is_of_device(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let start = cause.downcast_ref::<StartError>();
        cause.is::<DeviceFault>()
            || start.is_some_and(|error| matches!(error, StartError::Device(_) | StartError::NoAdapter(_)))
    })
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(temperature) if (0.0..=2.0).contains(&temperature) => Ok(temperature),
        _ => Err("a number from 0 to 2 is wanted".to_owned()),
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "chrysalis-worker: {text}");
}
