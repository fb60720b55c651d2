//! Checks that every source's numbers and texts go through.

use crate::card::Why;

/// A temperature that can be true, in degrees Celsius.
pub(crate) fn celsius(degrees: f32) -> Result<f32, Why> {
    if (-50.0..=200.0).contains(&degrees) { Ok(degrees) } else { Err(Why::Nonsense) }
}

/// A power that can be true of one card.
pub(crate) fn watts(watts: f32) -> Result<f32, Why> {
    if (0.0..=3000.0).contains(&watts) { Ok(watts) } else { Err(Why::Nonsense) }
}

/// A text of one line that is not empty.
pub(crate) fn line(text: &str) -> Result<String, Why> {
    let line: String = text.trim().chars().filter(|sign| !sign.is_control()).take(200).collect();
    if line.is_empty() || line.contains(char::REPLACEMENT_CHARACTER) { Err(Why::Nonsense) } else { Ok(line) }
}

/// Whether the processor's flags, as `/proc/cpuinfo` lists them, have this word.
pub(crate) fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|text| text.strip_prefix("flags")).unwrap_or("");
    flags.split_whitespace().any(|word| word == flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        assert_eq!(celsius(54.0), Ok(54.0));
        assert_eq!((celsius(511.0), celsius(f32::NAN)), (Err(Why::Nonsense), Err(Why::Nonsense)));
        assert_eq!((watts(-1.0), watts(f32::INFINITY)), (Err(Why::Nonsense), Err(Why::Nonsense)));
        assert_eq!((line("\0\0"), line(" a\tb \n")), (Err(Why::Nonsense), Ok("ab".to_owned())));
    }

    #[test]
    fn a_flag_is_a_whole_word_of_the_flags() {
        let text = "model name\t: tdx_guest\nflags\t\t: fpu tdx_guests avx\n";
        assert!(has_flag(text, "avx") && has_flag(text, "fpu"));
        assert!(!has_flag(text, "tdx_guest") && !has_flag("", "avx"));
    }
}
