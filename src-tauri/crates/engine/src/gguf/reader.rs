//! Bytes in, hashed and counted.

use std::io::{ErrorKind, Read};

use sha2::{Digest, Sha256};

use super::{Limits, TensorType};

/// Why bytes are not an acceptable GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader failed.
    #[error("reading the model file failed: {0}")]
    Io(std::io::Error),
    /// The file ends too early.
    #[error("the model file is cut short in its {section}")]
    CutShort {
        /// The part of the file.
        section: &'static str,
    },
    /// The file does not begin like a GGUF file.
    #[error("it is no GGUF file: such a file begins with the letters GGUF")]
    NotGguf {
        /// Its first bytes.
        magic: [u8; 4],
    },
    /// Another version of the format.
    #[error("GGUF version {version} is not supported, only 3 is")]
    Version {
        /// The file's version.
        version: u32,
    },
    /// More of something than the limits admit.
    #[error("the model file claims {count} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many the file claims.
        count: u64,
        /// How many are admitted.
        limit: u64,
    },
    /// The part before the tensor data, or the file, is larger than admitted.
    #[error("the {section} of the model file exceed the limit of {limit} bytes")]
    TooLarge {
        /// The part of the file.
        section: &'static str,
        /// Bytes admitted.
        limit: u64,
    },
    /// A text is not UTF-8.
    #[error("a text in the {section} of the model file is not UTF-8")]
    NotText {
        /// The part of the file.
        section: &'static str,
    },
    /// A value of a type that GGUF does not have.
    #[error("value type {id} does not exist in GGUF")]
    ValueType {
        /// The number in the file.
        id: u32,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("a truth value is {value}")]
    NotBool {
        /// The byte in the file.
        value: u8,
    },
    /// Arrays of arrays are legal GGUF, but no model of the supported kind has them.
    #[error("arrays within arrays are not supported")]
    NestedArray,
    /// One key twice.
    #[error("the key {key:?} appears twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// One tensor name twice.
    #[error("the tensor {name:?} appears twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// `general.alignment` is not a sensible power of two.
    #[error("general.alignment is not a power of two between 8 and 1048576 (it is {alignment})")]
    Alignment {
        /// The value; 0 if it is not a 32-bit number at all.
        alignment: u64,
    },
    /// A tensor whose numbers are stored in a way that is not supported.
    #[error("tensor type {name} (number {id}) is not supported; {} are", supported())]
    UnsupportedTensorType {
        /// ggml's name of it.
        name: &'static str,
        /// Its number.
        id: u32,
    },
    /// A tensor without values, with too many, or with rows that are no whole number of blocks.
    #[error("the tensor {name:?} has an impossible shape")]
    Shape {
        /// The tensor.
        name: String,
    },
    /// A tensor that does not start at a multiple of the alignment.
    #[error("the tensor {name:?} is misaligned (offset {offset})")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset.
        offset: u64,
    },
    /// A tensor that shares bytes with another.
    #[error("the tensor {name:?} overlaps another")]
    Overlap {
        /// The tensor.
        name: String,
    },
    /// A tensor that ends behind what a file may hold.
    #[error("the tensor {name:?} lies outside of the file")]
    OutOfRange {
        /// The tensor.
        name: String,
    },
    /// The weights take more main memory than there is for them.
    #[error("the model's weights take {bytes} bytes of main memory; beside what the desktop is left there are {room}")]
    NoRoom {
        /// Bytes of all tensors.
        bytes: u64,
        /// Bytes that may be taken.
        room: u64,
    },
    /// No memory for what the file holds.
    #[error("{bytes} bytes of memory for the model are not to be had")]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
}

/// The tensor types that are supported, as a sentence lists them.
fn supported() -> String {
    let names = TensorType::ALL.map(TensorType::name);
    match names.split_last() {
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Memory for data grows in steps of at most this until the data are there.
const GROWTH: usize = 16 << 20;
const CHUNK: usize = 64 << 10;

pub(super) struct Source<'a> {
    reader: &'a mut dyn Read,
    buffer: Vec<u8>,
    read: usize,
    hash: Sha256,
    position: u64,
    end: u64,
    file_bytes: u64,
    section: &'static str,
}

impl<'a> Source<'a> {
    pub(super) fn new(reader: &'a mut dyn Read, limits: &Limits) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            read: 0,
            hash: Sha256::new(),
            position: 0,
            end: limits.header_bytes.min(limits.file_bytes),
            file_bytes: limits.file_bytes,
            section: "header",
        }
    }

    /// Names the part of the file that follows, for errors.
    pub(super) fn section(&mut self, name: &'static str) {
        self.section = name;
    }

    /// From here on only the limit of the whole file holds.
    pub(super) fn leave_header(&mut self) {
        self.end = self.file_bytes;
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self, limit: u64) -> Result<String, Error> {
        let length = self.u64()?;
        if length > limit {
            return Err(Error::TooMany { what: "bytes of one text", count: length, limit });
        }
        String::from_utf8(self.bytes(length)?).map_err(|_| Error::NotText { section: self.section })
    }

    /// So many bytes. Memory is taken as they arrive.
    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        self.admit(length)?;
        let out_of_memory = || Error::OutOfMemory { bytes: length };
        let total = usize::try_from(length).map_err(|_| out_of_memory())?;
        let mut bytes = Vec::new();
        while bytes.len() < total {
            let have = bytes.len();
            let more = (total - have).min(GROWTH.max(have));
            bytes.try_reserve_exact(more).map_err(|_| out_of_memory())?;
            bytes.resize(have + more, 0);
            self.fill(&mut bytes[have..])?;
        }
        Ok(bytes)
    }

    /// Reads over what lies between here and a position.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        let mut left = position.saturating_sub(self.position);
        self.admit(left)?;
        let mut sink = [0; 4096];
        while left > 0 {
            let part = left.min(sink.len() as u64) as usize;
            self.fill(&mut sink[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    /// Reads to the end of the file and returns the hash of all of it.
    pub(super) fn finish(mut self) -> Result<[u8; 32], Error> {
        loop {
            self.position += (self.buffer.len() - self.read) as u64;
            if self.position > self.file_bytes {
                return Err(Error::TooLarge { section: "bytes", limit: self.file_bytes });
            }
            self.hash.update(&self.buffer[self.read..]);
            self.read = self.buffer.len();
            if self.refill()? == 0 {
                return Ok(self.hash.finalize().into());
            }
        }
    }

    fn admit(&self, length: u64) -> Result<(), Error> {
        match self.position.checked_add(length) {
            Some(end) if end <= self.end => Ok(()),
            _ => Err(Error::TooLarge { section: self.section, limit: self.end }),
        }
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.admit(out.len() as u64)?;
        let mut done = 0;
        while done < out.len() {
            if self.read == self.buffer.len() && self.refill()? == 0 {
                return Err(Error::CutShort { section: self.section });
            }
            let part = (self.buffer.len() - self.read).min(out.len() - done);
            out[done..done + part].copy_from_slice(&self.buffer[self.read..self.read + part]);
            self.read += part;
            done += part;
        }
        self.hash.update(&*out);
        self.position += out.len() as u64;
        Ok(())
    }

    fn refill(&mut self) -> Result<usize, Error> {
        self.buffer.resize(CHUNK, 0);
        self.read = 0;
        let got = loop {
            match self.reader.read(&mut self.buffer) {
                Ok(got) => break got.min(CHUNK),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(Error::Io(error));
                }
            }
        };
        self.buffer.truncate(got);
        Ok(got)
    }
}
