//! Kernels as text, before they are compiled: which of several forms is meant is written out by the program.
//!
//! WGSL has no generics, its constants cannot number variables, and whether a driver unrolls a loop is the driver's business.
//! A sum kept in a register instead of in memory is worth a factor of ten, so loops over registers are written out here:
//!
//! ```text
//! //# for r ROWS       repeats the lines up to its `//# end` with `{r}` replaced by 0, 1, …, `{2r}` by 0, 2, …, `{2r+1}` by 1, 3, …
//! //# if NAME          keeps the lines up to its `//# end` if the value is not 0; `//# if !NAME` if it is
//! {NAME}               the value
//! ```

use crate::device::plan::Values;

/// The kernel's text for these values. A name without a value counts as 0 in a condition and stays as it is elsewhere, where the
/// compiler will stumble over it.
pub(super) fn expand(source: &str, values: &Values) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let mut out = String::new();
    block(&lines, values, &mut Vec::new(), &mut out);
    out
}

fn block(lines: &[&str], values: &Values, counters: &mut Vec<(String, u32)>, out: &mut String) {
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let Some(directive) = line.trim().strip_prefix("//# ") else {
            write(line, values, counters, out);
            at += 1;
            continue;
        };
        let end = at + 1 + length(&lines[at + 1..]);
        let inner = &lines[at + 1..end];
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words[..] {
            ["for", name, count] => {
                let count = values.get(count).copied().or_else(|| count.parse().ok()).unwrap_or_default();
                for value in 0..count {
                    let known = counters.len();
                    counters.push((format!("{{{name}}}"), value));
                    counters.push((format!("{{2{name}}}"), 2 * value));
                    counters.push((format!("{{2{name}+1}}"), 2 * value + 1));
                    block(inner, values, counters, out);
                    counters.truncate(known);
                }
            }
            ["if", name] => {
                let (name, wanted) = name.strip_prefix('!').map_or((name, true), |name| (name, false));
                if (values.get(name).copied().unwrap_or_default() != 0) == wanted {
                    block(inner, values, counters, out);
                }
            }
            _ => {}
        }
        at = end + 1;
    }
}

/// Lines up to the end that belongs to what has begun before them.
fn length(lines: &[&str]) -> usize {
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate() {
        match line.trim().strip_prefix("//# ") {
            Some("end") if depth == 0 => return at,
            Some("end") => depth -= 1,
            Some(_) => depth += 1,
            None => {}
        }
    }
    lines.len()
}

fn write(line: &str, values: &Values, counters: &[(String, u32)], out: &mut String) {
    let mut line = line.to_owned();
    for (name, value) in counters {
        line = line.replace(name.as_str(), &value.to_string());
    }
    if line.contains('{') {
        for (name, value) in values {
            line = line.replace(&format!("{{{name}}}"), &value.to_string());
        }
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_written_out_and_conditions_decided() {
        let source = "a\n//# for r ROWS\n//# if WIDE\nx{r}\n//# for t 2\ny{r}{t} {ROWS}\n//# end\n//# end\n//# if !WIDE\nz\n//# end\n//# end\nb";
        assert_eq!(
            expand(source, &Values::from([("ROWS", 2), ("WIDE", 1)])),
            "a\nx0\ny00 2\ny01 2\nx1\ny10 2\ny11 2\nb\n"
        );
        assert_eq!(expand(source, &Values::from([("ROWS", 1)])), "a\nz\nb\n");
    }
}
