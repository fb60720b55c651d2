//! A language model in GGUF form, run on this machine: bytes of a file in, tokens and text out.
//!
//! What lives here: the bounded GGUF reader ([`gguf`]), the model ([`Model`]), its tokenizer ([`Tokenizer`]) and chat template
//! ([`ChatTemplate`]), sampling ([`sample`]), forms that answers must have ([`constraint`]), and the scheduler ([`Engine`]) over a
//! [`backend::Backend`].
//! What may not: network, HTTP, money, a clock, a file opened by name. A model comes in as anything that can be read once from
//! front to back, so a process without a file system can load one from an inherited descriptor.
//!
//! A walk-through:
//!
//! 1. [`Model::read`] reads the file in one pass, hashing it on the way, and refuses what it does not understand by name.
//! 2. A caller renders messages with [`Model::chat_template`], turns text into token ids with [`Model::tokenizer`], and hands
//!    them to [`Engine::add`], which admits them or says why not.
//! 3. Every [`Engine::step`] advances each running sequence by one token (or one chunk of its prompt) and returns what became
//!    of it. The caller keeps the time; the engine looks at a clock only to see how long its steps take.
//!
//! How kernels are cut for a graphics card is found out at the first start and remembered by the caller ([`tune`]).
//!
//! Prompts and answers are not printable: no type here that holds them has `Debug` or `Display`, and the engine wipes its own
//! copies when a sequence ends.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]
#![cfg_attr(
    test,
    allow(clippy::duplicate_mod, reason = "backends share the checks of single kernels, each on cards of its own")
)]

pub mod adapter;
pub mod backend;
pub mod constraint;
pub mod gguf;
pub mod roofline;
pub mod synthetic;
pub mod tune;

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda/disabled.rs"]
mod cuda;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod device;
mod fault;
mod model;
mod pace;
mod prefix;
mod sampling;
mod scheduler;
mod stop;
mod template;
mod tokenizer;
#[cfg(feature = "wgpu")]
mod wgpu;
#[cfg(not(feature = "wgpu"))]
#[path = "wgpu/disabled.rs"]
mod wgpu;

pub use cuda::SelfTestFault;
pub use fault::DeviceFault;
pub use model::{Activation, Architecture, Experts, Model, ModelError, Parameters, Window};
pub use prefix::Conversation;
pub use sampling::{Candidates, MAX_CANDIDATES, Sampling, sample};
pub use scheduler::{Device, Engine, Finish, Options, Output, Refused, Request, SequenceId, StartError, TokenCounts};
pub use template::{ChatTemplate, Message, RenderOptions, TemplateError};
pub use tokenizer::{Detokenizer, Tokenizer, TokenizerError};
