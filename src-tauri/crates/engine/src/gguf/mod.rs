//! Bounded reader of GGUF version 3.

/// What a reader accepts before it allocates anything. The defaults admit every model of the supported kind.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole file. A caller that knows the file's length puts it here.
    pub file_bytes: u64,
    /// Bytes of everything before the tensor data.
    pub header_bytes: u64,
    /// Key-value pairs.
    pub pairs: u64,
    /// Tensors.
    pub tensors: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 64 << 30, header_bytes: 64 << 20, pairs: 4096, tensors: 16_384 }
    }
}
