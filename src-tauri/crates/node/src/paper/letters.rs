//! Letters of the typefaces that every reader of PDF has (ISO 32000-1, 9.6.2.2), in the encoding WinAnsi (its annex D), and their widths.

/// A typeface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    /// Helvetica.
    Plain,
    /// Helvetica-Bold.
    Bold,
    /// Courier.
    Fixed,
}

/// Widths of Helvetica's letters from space to tilde, in thousandths of its size (Adobe's font metrics of it).
const PLAIN: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
];
/// No letter of it is wider than this, as far as the encoding goes; what is not in the table is taken to be so wide.
const WIDEST: u16 = 1_015;
/// Of Courier all letters are so wide.
const FIXED: u16 = 600;
/// Bold letters are wider by at most this share.
const BOLD: f32 = 1.12;

/// What WinAnsi has from 0x80 to 0x9f; `\0` where it has nothing.
const UPPER: [char; 32] = [
    '\u{20ac}', '\0', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\0', '\u{17d}', '\0', '\0', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}',
    '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\0', '\u{17e}',
    '\u{178}',
];

/// The letter's byte; `None`: the typeface does not have it.
fn byte(letter: char) -> Option<u8> {
    match letter {
        ' '..='~' => u8::try_from(letter).ok(),
        letter if letter.is_control() || letter == '\0' => None,
        '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(letter)).ok(),
        letter => {
            let at = UPPER.iter().position(|known| *known == letter)?;
            u8::try_from(at + 0x80).ok()
        }
    }
}

/// A text in bytes of the encoding, with a question mark for every letter it does not have, and whether it had all.
pub(super) fn encode(text: &str) -> (Vec<u8>, bool) {
    let mut complete = true;
    let bytes = text
        .chars()
        .map(|letter| {
            byte(letter).unwrap_or_else(|| {
                complete = false;
                b'?'
            })
        })
        .collect();
    (bytes, complete)
}

fn thousandths(face: Face, letter: char) -> f32 {
    let helvetica = |letter: char| {
        let byte = byte(letter).unwrap_or(b'?');
        let at = usize::from(byte).checked_sub(usize::from(b' '));
        f32::from(at.and_then(|at| PLAIN.get(at)).copied().unwrap_or(WIDEST))
    };
    match face {
        Face::Fixed => f32::from(FIXED),
        Face::Plain => helvetica(letter),
        Face::Bold => helvetica(letter) * BOLD,
    }
}

/// How wide a text is at a size, in points; of bold texts, at most.
pub(super) fn width(face: Face, size: f32, text: &str) -> f32 {
    text.chars().map(|letter| thousandths(face, letter)).sum::<f32>() * size / 1_000.0
}

/// The text in lines that are no wider than this; at spaces if it can be, else within a word. At least one line.
pub(super) fn wrap(face: Face, size: f32, text: &str, most: f32) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut taken) = (String::new(), 0.0);
    for word in text.split_whitespace() {
        let wide = width(face, size, word);
        let space = if line.is_empty() { 0.0 } else { width(face, size, " ") };
        if taken + space + wide <= most {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            taken += space + wide;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            taken = 0.0;
        }
        for letter in word.chars() {
            let wide = thousandths(face, letter) * size / 1_000.0;
            if taken + wide > most && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                taken = 0.0;
            }
            line.push(letter);
            taken += wide;
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}
