//! What can be wrong with bytes that claim to be a TL object.

/// Why bytes are no object of the wanted type. Every position `at` counts bytes from the start of the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object is longer than any frame may be.
    #[error("object of {had} bytes is longer than {most} bytes")]
    TooLong {
        /// Bytes given.
        had: usize,
        /// Bytes admitted, [`crate::MAX_BYTES`].
        most: usize,
    },
    /// The bytes end inside a value.
    #[error("object is cut short at byte {at}: wanted {wanted} more bytes, had {had}")]
    CutShort {
        /// Where the value starts.
        at: usize,
        /// Bytes the value claims.
        wanted: u64,
        /// Bytes that are left.
        had: usize,
    },
    /// The constructor is none of the type's.
    #[error("constructor {id:#010x} at byte {at} is not one of {expected}")]
    UnknownConstructor {
        /// Where the id stands.
        at: usize,
        /// The id found.
        id: u32,
        /// The type wanted, in the schema's spelling.
        expected: &'static str,
    },
    /// Neither `boolTrue` nor `boolFalse`.
    #[error("{id:#010x} at byte {at} is neither true nor false")]
    NotBool {
        /// Where the value stands.
        at: usize,
        /// The value found.
        id: u32,
    },
    /// Flags with bit 31, which the genuine parser refuses too.
    #[error("flags {flags:#010x} at byte {at} have bit 31 set")]
    BadFlags {
        /// Where the flags stand.
        at: usize,
        /// The flags found.
        flags: u32,
    },
    /// A vector claims more elements than its bytes can hold or than [`crate::MAX_ELEMENTS`].
    #[error("vector at byte {at} claims {count} elements, at most {most} are possible")]
    TooManyElements {
        /// Where the count stands.
        at: usize,
        /// Elements claimed.
        count: u32,
        /// Elements admitted here.
        most: usize,
    },
    /// Bytes follow the object.
    #[error("{left} bytes are left over behind the object that ends at byte {at}")]
    LeftOver {
        /// Where the object ends.
        at: usize,
        /// Bytes behind it.
        left: usize,
    },
}
