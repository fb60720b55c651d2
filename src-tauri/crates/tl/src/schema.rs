//! `schema!`: one declaration per constructor, from which come the type, its id, its bytes both ways, and the schema text
//! that the id is the CRC-32 of. A declaration reads
//!
//! ```text
//! struct Name = id, "schema.name" => "schema.Result" { field: Type, optional: Type [if flags.0], }
//! enum Name: "schema.Result" { Variant(ID_CONSTANT = id, "schema.name") { field: Type, }, }
//! ```

use crate::{Boxed, Error};

/// One constructor or function of the schema, for tests and tools that go through all of them.
#[derive(Clone)]
pub struct Combinator {
    /// The id that stands before its boxed value.
    pub id: u32,
    /// Its name in the schema, such as `worker.connectToProxy`.
    pub name: &'static str,
    /// Its schema text on one line, `name field:type … = Result`, assembled from our declaration.
    pub text: fn() -> String,
    /// Decodes bytes as its type and encodes what was decoded.
    pub round_trip: fn(&[u8]) -> Result<Vec<u8>, Error>,
    #[cfg(test)]
    pub(crate) check_json: fn(&serde_json::Value, &[u8]) -> Result<(), String>,
}

pub(crate) fn round_trip<T: Boxed>(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(T::from_bytes(bytes)?.to_bytes())
}

pub(crate) const fn deepest(depths: &[usize]) -> usize {
    let mut most = 0;
    let mut index = 0;
    while index < depths.len() {
        if depths[index] > most {
            most = depths[index];
        }
        index += 1;
    }
    most
}

/// How a gated field is written: the value it has, or zero when its bit promises one.
pub(crate) fn gated<T: Clone + Default>(value: Option<&T>) -> T {
    value.cloned().unwrap_or_default()
}

macro_rules! schema {
    ($($(#[$meta:meta])* $kind:ident $name:ident $(: $result:literal)? $(= $id:literal, $text:literal => $of:literal)? $({ $($body:tt)* })? $(;)?)*) => {
        $( crate::schema::one! { $(#[$meta])* $kind $name $(: $result)? $(= $id, $text => $of)? $({ $($body)* })? } )*

        /// Every constructor and function of this module.
        pub(crate) fn combinators() -> Vec<crate::Combinator> {
            let mut all = Vec::new();
            $( all.extend($name::combinators()); )*
            all
        }
    };
}

macro_rules! one {
    // A record or function.
    (
        $(#[$meta:meta])*
        struct $name:ident = $id:literal, $text:literal => $of:literal {
            $( $(#[$note:meta])* $field:ident : $kind:ty $([if $flags:ident . $bit:literal])?, )*
        }
    ) => {
        crate::schema::record! {
            #[doc = concat!("`", $text, "`.")]
            ///
            $(#[$meta])*
            #[derive(Clone, PartialEq)]
            $name {
                $( $(#[$note])* $field: $kind $([$bit])?, )*
            }
        }

        impl $name {
            /// The id before the boxed value.
            pub const ID: u32 = $id;

            pub(crate) fn combinators() -> Vec<crate::Combinator> {
                vec![crate::schema::combinator!(Self, $id, $text, $of { $($field: $kind $([$flags . $bit])?,)* })]
            }
        }

        impl crate::codec::Field for $name {
            const LEAST: usize = 0 $(+ crate::schema::least!($kind $([$bit])?))*;
            const DEPTH: usize = 1 + crate::schema::deepest(&[$(<$kind as crate::codec::Field>::DEPTH),*]);

            fn schema_type() -> String {
                $text.to_owned()
            }

            #[allow(unused_variables, reason = "a constructor may have no fields")]
            fn store(&self, to: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $( crate::schema::store!(to, $field, $kind $([$flags . $bit])?); )*
            }

            #[allow(unused_variables, reason = "a constructor may have no fields")]
            fn fetch(from: &mut crate::codec::Reader<'_>) -> Result<Self, crate::Error> {
                $( let $field = crate::schema::fetch!(from, $kind $([$flags . $bit])?); )*
                Ok(Self { $($field),* })
            }
        }

        const _: () = assert!(<$name as crate::codec::Field>::DEPTH <= crate::MAX_DEPTH);

        impl crate::Boxed for $name {
            fn to_bytes(&self) -> Vec<u8> {
                let mut bytes = Self::ID.to_le_bytes().to_vec();
                crate::codec::Field::store(self, &mut bytes);
                bytes
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, crate::Error> {
                let mut from = crate::codec::Reader::new(bytes)?;
                let id = from.word()?;
                if id != Self::ID {
                    return Err(crate::Error::UnknownConstructor { at: 0, id, expected: $text });
                }
                let value = crate::codec::Field::fetch(&mut from)?;
                from.end()?;
                Ok(value)
            }
        }

        #[cfg(test)]
        impl crate::golden::FromJson for $name {
            #[allow(unused_variables, reason = "a constructor may have no fields")]
            fn from_json(json: &serde_json::Value) -> Self {
                Self { $($field: crate::golden::FromJson::from_json(&json[stringify!($field)])),* }
            }
        }
    };

    // A type of several constructors.
    (
        $(#[$meta:meta])*
        enum $name:ident : $of:literal {
            $(
                $(#[$about:meta])*
                $variant:ident($constant:ident = $id:literal, $text:literal) $({
                    $( $(#[$note:meta])* $field:ident : $kind:ty $([if $flags:ident . $bit:literal])?, )*
                })?,
            )*
        }
    ) => {
        #[doc = concat!("`", $of, "`.")]
        ///
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`.")]
                ///
                $(#[$about])*
                $variant $({
                    $(
                        $(#[$note])*
                        #[doc = concat!("\n`", stringify!($field), ": ", stringify!($kind), "`" $(, ", present if bit ", stringify!($bit), " of `flags` is set")?)]
                        $field: crate::schema::field_type!($kind $([$bit])?),
                    )*
                })?,
            )*
        }

        impl $name {
            $(
                #[doc = concat!("The id of `", $text, "`.")]
                pub const $constant: u32 = $id;
            )*

            /// The id of the constructor this value has.
            pub const fn id(&self) -> u32 {
                match self {
                    $( Self::$variant { .. } => $id, )*
                }
            }

            pub(crate) fn combinators() -> Vec<crate::Combinator> {
                vec![$( crate::schema::combinator!(Self, $id, $text, $of { $($($field: $kind $([$flags . $bit])?,)*)? }) ),*]
            }
        }

        impl crate::codec::Field for $name {
            const LEAST: usize = 4;
            const DEPTH: usize = 1 + crate::schema::deepest(&[$($($(<$kind as crate::codec::Field>::DEPTH,)*)?)*]);

            fn schema_type() -> String {
                $of.to_owned()
            }

            fn store(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.id().to_le_bytes());
                match self {
                    $( Self::$variant { $($($field),*)? } => {
                        $($( crate::schema::store!(to, $field, $kind $([$flags . $bit])?); )*)?
                    } )*
                }
            }

            fn fetch(from: &mut crate::codec::Reader<'_>) -> Result<Self, crate::Error> {
                let at = from.at();
                match from.word()? {
                    $( $id => {
                        $($( let $field = crate::schema::fetch!(from, $kind $([$flags . $bit])?); )*)?
                        Ok(Self::$variant { $($($field),*)? })
                    } )*
                    id => Err(crate::Error::UnknownConstructor { at, id, expected: $of }),
                }
            }
        }

        const _: () = assert!(<$name as crate::codec::Field>::DEPTH <= crate::MAX_DEPTH);

        impl crate::Boxed for $name {
            fn to_bytes(&self) -> Vec<u8> {
                let mut bytes = Vec::new();
                crate::codec::Field::store(self, &mut bytes);
                bytes
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, crate::Error> {
                let mut from = crate::codec::Reader::new(bytes)?;
                let value = crate::codec::Field::fetch(&mut from)?;
                from.end()?;
                Ok(value)
            }
        }

        #[cfg(test)]
        impl crate::golden::FromJson for $name {
            fn from_json(json: &serde_json::Value) -> Self {
                match json["@type"].as_str().unwrap() {
                    $( $text => Self::$variant { $($($field: crate::golden::FromJson::from_json(&json[stringify!($field)])),*)? }, )*
                    other => panic!("{other} is not one of {}", $of),
                }
            }
        }
    };
}

macro_rules! record {
    ($(#[$meta:meta])* $name:ident {}) => {
        $(#[$meta])*
        pub struct $name;
    };
    ($(#[$meta:meta])* $name:ident { $( $(#[$note:meta])* $field:ident : $kind:ty $([$bit:literal])?, )* }) => {
        $(#[$meta])*
        pub struct $name {
            $(
                $(#[$note])*
                #[doc = concat!("\n`", stringify!($field), ": ", stringify!($kind), "`" $(, ", present if bit ", stringify!($bit), " of `flags` is set")?)]
                pub $field: crate::schema::field_type!($kind $([$bit])?),
            )*
        }
    };
}

macro_rules! field_type {
    ($kind:ty) => { $kind };
    ($kind:ty [$bit:literal]) => { Option<$kind> };
}

macro_rules! least {
    ($kind:ty) => {
        <$kind as crate::codec::Field>::LEAST
    };
    ($kind:ty [$bit:literal]) => {
        0
    };
}

macro_rules! store {
    ($to:ident, $field:ident, $kind:ty) => {
        crate::codec::Field::store($field, $to)
    };
    ($to:ident, $field:ident, $kind:ty [$flags:ident . $bit:literal]) => {
        if $flags >> $bit & 1 == 1 {
            crate::codec::Field::store(&crate::schema::gated::<$kind>($field.as_ref()), $to);
        }
    };
}

macro_rules! fetch {
    ($from:ident, $kind:ty) => {
        <$kind as crate::codec::Field>::fetch($from)?
    };
    ($from:ident, $kind:ty [$flags:ident . $bit:literal]) => {
        if $flags >> $bit & 1 == 1 { Some(<$kind as crate::codec::Field>::fetch($from)?) } else { None }
    };
}

macro_rules! combinator {
    ($owner:ty, $id:literal, $text:literal, $of:literal { $($field:ident : $kind:ty $([$flags:ident . $bit:literal])?,)* }) => {
        crate::Combinator {
            id: $id,
            name: $text,
            text: || [
                $text.to_owned(),
                $( format!(
                    "{}:{}{}",
                    stringify!($field),
                    concat!($(stringify!($flags), ".", stringify!($bit), "?")?),
                    <$kind as crate::codec::Field>::schema_type()
                ), )*
                "=".to_owned(),
                $of.to_owned(),
            ].join(" "),
            round_trip: crate::schema::round_trip::<$owner>,
            #[cfg(test)]
            check_json: crate::golden::check::<$owner>,
        }
    };
}

pub(crate) use {combinator, fetch, field_type, least, one, record, schema, store};
