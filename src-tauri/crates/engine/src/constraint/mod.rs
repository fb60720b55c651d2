//! Answers that are JSON by construction: before a token is chosen, those that could not lead to a value of the wanted form are
//! taken out of the choice.
//!
//! Four parts, each of its own:
//!
//! 1. [`Grammar`]: a schema, made into a small automaton over bytes that calls itself for values inside of values
//!    (`schema.rs` reads the schema, `grammar.rs` builds and finishes the automaton). Knows no vocabulary.
//! 2. [`Vocabulary`]: the tokens of a model as a tree of bytes, and what each of them is inside of a text (`text.rs`), which is
//!    where an answer spends most of its tokens. Knows no schema, so it is made once for an engine.
//! 3. [`Matcher`]: where one answer is in its grammar: [`Matcher::mask`] says which tokens may come next, [`Matcher::advance`]
//!    takes one.
//!
//! What is promised, and kept by tests: a token that is admitted always leads to an end (there are no dead ends, as long as the
//! vocabulary can spell every byte), what has ended is JSON that the schema admits, and a schema this cannot promise for is refused
//! with the keyword at fault. Not every value that a schema admits can be had: members come in the order of the schema, space
//! between values is bounded, numbers have a bounded number of digits, and nesting is bounded.
//!
//! Schemas come from customers. Their size, depth, and everything that is made of them is bounded by the constants below, and
//! neither schemas nor what is made of them can be printed.

mod grammar;
mod json;
mod matcher;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod vocabulary;

pub use grammar::Grammar;
pub use matcher::Matcher;
pub use schema::SchemaError;
pub use vocabulary::Vocabulary;

/// Most bytes of a schema.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// How deep the text of a schema may nest.
pub const MAX_SCHEMA_DEPTH: usize = 64;
/// Highest `minItems` and `maxItems`.
pub const MAX_ITEMS: u64 = 1024;
/// Highest `minLength` and `maxLength`.
pub const MAX_LENGTH: u64 = 1 << 20;
/// How deep lists and objects of an answer nest. Readers of JSON commonly give up at 128.
pub const MAX_NESTING: u16 = 64;
/// Most spaces and tabs behind a line break. Between two signs there may be a single space, or a line break and so many.
pub const MAX_INDENT: u32 = 32;
/// Most digits of an integer, and of each side of the point of a number.
pub const MAX_DIGITS: usize = 16;
/// Most digits of an exponent: with them and [`MAX_DIGITS`] every number is one that 64-bit floats have.
pub const MAX_EXPONENT_DIGITS: usize = 2;

/// Most nodes of a grammar.
const MAX_NODES: usize = 1 << 17;
/// Most choices of all nodes together, counted as often as they are reached through others.
const MAX_CHOICES: usize = 1 << 18;
/// Ways that an answer can be in its grammar at the same time; further ones are given up.
const MAX_WAYS: usize = 256;
/// What may be looked at for one mask; tokens that are not admitted by then are not.
const MAX_WORK: usize = 1 << 24;
/// Longer tokens are never admitted.
const MAX_TOKEN_BYTES: usize = 256;
