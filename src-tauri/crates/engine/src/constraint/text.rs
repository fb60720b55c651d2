//! The inside of a JSON text, byte by byte: whole UTF-8, no control characters, escapes, and pairs of surrogates.

/// Where in a character one is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between two characters.
    Between,
    /// So many bytes between 0x80 and 0xbf follow.
    One,
    Two,
    Three,
    /// Behind a first byte whose second is not free: too long a spelling, a surrogate, or beyond the last character otherwise.
    AfterE0,
    AfterEd,
    AfterF0,
    AfterF4,
    /// Behind a backslash.
    Escape,
    /// Behind `\u`, and behind `\uD`.
    Hex,
    HexD,
    /// So many hexadecimal digits follow.
    HexThree,
    HexTwo,
    HexOne,
    /// The same in the first half of a pair.
    HighTwo,
    HighOne,
    /// Behind the first half: a backslash, `u`, `D`, then C to F.
    Pair,
    PairU,
    PairD,
    PairLow,
}

/// Number of places.
pub(super) const PLACES: usize = 20;

/// All of them, by their numbers.
const ALL: [Place; PLACES] = [
    Place::Between,
    Place::One,
    Place::Two,
    Place::Three,
    Place::AfterE0,
    Place::AfterEd,
    Place::AfterF0,
    Place::AfterF4,
    Place::Escape,
    Place::Hex,
    Place::HexD,
    Place::HexThree,
    Place::HexTwo,
    Place::HexOne,
    Place::HighTwo,
    Place::HighOne,
    Place::Pair,
    Place::PairU,
    Place::PairD,
    Place::PairLow,
];

impl Place {
    pub(super) fn number(self) -> u32 {
        self as u32
    }

    pub(super) fn of(number: u32) -> Self {
        ALL.get(number as usize).copied().unwrap_or(Self::Between)
    }
}

/// What a byte does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on, here.
    To(Place),
    /// The closing quote.
    Close,
    /// It may not stand here.
    No,
}

/// What a byte does at a place; a plain text has no escapes. A character begins wherever one steps away from between two.
pub(super) fn step(place: Place, byte: u8, plain: bool) -> Step {
    let when = |fits: bool, to: Place| if fits { Step::To(to) } else { Step::No };
    let tail = (0x80..=0xbf).contains(&byte);
    let hex = byte.is_ascii_hexdigit();
    match place {
        Place::Between => match byte {
            b'"' => Step::Close,
            b'\\' => when(!plain, Place::Escape),
            0x20..=0x7f => Step::To(Place::Between),
            0xc2..=0xdf => Step::To(Place::One),
            0xe0 => Step::To(Place::AfterE0),
            0xed => Step::To(Place::AfterEd),
            0xe1..=0xef => Step::To(Place::Two),
            0xf0 => Step::To(Place::AfterF0),
            0xf1..=0xf3 => Step::To(Place::Three),
            0xf4 => Step::To(Place::AfterF4),
            _ => Step::No,
        },
        Place::One => when(tail, Place::Between),
        Place::Two => when(tail, Place::One),
        Place::Three => when(tail, Place::Two),
        Place::AfterE0 => when((0xa0..=0xbf).contains(&byte), Place::One),
        Place::AfterEd => when((0x80..=0x9f).contains(&byte), Place::One),
        Place::AfterF0 => when((0x90..=0xbf).contains(&byte), Place::Two),
        Place::AfterF4 => when((0x80..=0x8f).contains(&byte), Place::Two),
        Place::Escape => match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Step::To(Place::Between),
            b'u' => Step::To(Place::Hex),
            _ => Step::No,
        },
        Place::Hex if matches!(byte, b'd' | b'D') => Step::To(Place::HexD),
        Place::Hex => when(hex, Place::HexThree),
        Place::HexD => match byte {
            b'0'..=b'7' => Step::To(Place::HexTwo),
            b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Step::To(Place::HighTwo),
            _ => Step::No,
        },
        Place::HexThree => when(hex, Place::HexTwo),
        Place::HexTwo => when(hex, Place::HexOne),
        Place::HexOne => when(hex, Place::Between),
        Place::HighTwo => when(hex, Place::HighOne),
        Place::HighOne => when(hex, Place::Pair),
        Place::Pair => when(byte == b'\\', Place::PairU),
        Place::PairU => when(byte == b'u', Place::PairD),
        Place::PairD => when(matches!(byte, b'd' | b'D'), Place::PairLow),
        Place::PairLow => when(matches!(byte, b'c'..=b'f' | b'C'..=b'F'), Place::HexTwo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the bytes are the inside of a text, with its closing quote, and how many characters.
    fn read(bytes: &[u8]) -> Option<usize> {
        let mut place = Place::Between;
        let mut characters = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            match step(place, byte, false) {
                Step::To(next) => {
                    characters += usize::from(place == Place::Between);
                    place = next;
                }
                Step::Close => return (at + 1 == bytes.len()).then_some(characters),
                Step::No => return None,
            }
        }
        None
    }

    #[test]
    fn places_keep_their_numbers() {
        for place in ALL {
            assert!(Place::of(place.number()) == place);
        }
    }

    #[test]
    fn a_text_is_what_a_reader_of_json_takes_for_one() {
        let mut state = 7_u64;
        let mut next = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        let parts: [&[u8]; 27] = [
            b"a",
            b"\\",
            b"u",
            b"d",
            b"D",
            b"8",
            b"c",
            b"F",
            b"0",
            b"9",
            b"\\ud83d",
            b"\\ude00",
            b"\\n",
            b"\\\"",
            b"/",
            b"\x7f",
            b"\x1f",
            b"\x80",
            b"\xbf",
            b"\xc2",
            b"\xe0",
            b"\xed",
            b"\xf0",
            b"\xf4",
            b"\x9f",
            "🦊é€".as_bytes(),
            b" ",
        ];
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut bytes: Vec<u8> = (0..next(6)).flat_map(|_| parts[next(parts.len())].to_vec()).collect();
            bytes.push(b'"');
            let whole = [b"\"".as_slice(), &bytes].concat();
            let wanted: Option<String> = serde_json::from_slice(&whole).ok();
            assert_eq!(
                read(&bytes),
                wanted.as_ref().map(|text| text.chars().count()),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
            taken += usize::from(wanted.is_some());
        }
        assert!(taken > 10_000, "{taken}");
    }

    #[test]
    fn half_a_pair_is_no_character() {
        for bad in [r#"\ud83d""#, r#"\ude00""#, r#"\ud83d\n""#, r#"\ud83da""#, r#"\ud83d\ud83d""#, r#"\udc""#] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(read(br#"\uD83D\uDE00\ud7ff\ue000""#), Some(3));
    }
}
