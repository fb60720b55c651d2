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

/// The kernel's expanded text with an end at which its workgroup overwrites with zeros what it shared: on some cards the next kernel,
/// of whichever program, finds there what the last one left (CVE-2023-4969). The entry becomes a function that a new entry calls, so that
/// a return in the middle of it is no way around. A text that shares nothing comes back as it is.
pub(super) fn with_nothing_left(source: &str) -> String {
    let shared: Vec<Shared<'_>> = source.lines().filter_map(Shared::of).collect();
    let Some((before, (size, parameters), after)) = entry(source).filter(|_| !shared.is_empty()) else {
        return source.to_owned();
    };
    let parameters: Vec<&str> = parameters.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
    let plain: Vec<&str> = parameters.iter().map(|text| text.rsplit(") ").next().unwrap_or(text)).collect();
    let names: Vec<&str> = plain.iter().filter_map(|text| text.split(':').next()).collect();
    let wipes: Vec<String> = shared
        .iter()
        .map(|Shared { name, of, length }| {
            format!("    for (var wiped = thread; wiped < {length}u; wiped += {size}u) {{\n        {name}[wiped] = {of}();\n    }}\n")
        })
        .collect();
    let (given, passed, taken) = (parameters.join(", "), names.join(", "), plain.join(", "));
    let entry = format!("fn main({given}) {{\n    work({passed});\n    workgroupBarrier();\n{}}}", wipes.concat());
    format!("{before}{ENTRY}{size})\n{entry}\n\nfn work({taken}) {{{after}")
}

const ENTRY: &str = "@compute @workgroup_size(";

/// A text around its entry: what is before, the entry's threads and its parameters, what comes after the brace.
fn entry(source: &str) -> Option<(&str, (&str, &str), &str)> {
    let (before, rest) = source.split_once(ENTRY)?;
    let (size, rest) = rest.split_once(')')?;
    let (_, rest) = rest.split_once("fn main(")?;
    let (parameters, after) = rest.split_once(") {")?;
    Some((before, (size, parameters), after))
}

/// An array that a workgroup shares.
struct Shared<'a> {
    name: &'a str,
    of: &'a str,
    length: &'a str,
}

impl<'a> Shared<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("var<workgroup> ")?.split_once(": array<")?;
        let (of, length) = rest.strip_suffix(">;")?.rsplit_once(", ")?;
        Some(Self { name, of, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_workgroup_shared_is_overwritten_whichever_way_a_kernel_ends() {
        let plain = "fn main() {}\n";
        assert_eq!(with_nothing_left(plain), plain);
        let source = "struct Op {\n}\nvar<workgroup> sums: array<vec2<f32>, 96>;\n@compute @workgroup_size(32)\nfn main(\n    @builtin(workgroup_id) group: vec3<u32>,\n    @builtin(local_invocation_index) thread: u32,\n) {\n    return;\n}\n";
        let wanted = "struct Op {\n}\nvar<workgroup> sums: array<vec2<f32>, 96>;\n@compute @workgroup_size(32)\nfn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {\n    work(group, thread);\n    workgroupBarrier();\n    for (var wiped = thread; wiped < 96u; wiped += 32u) {\n        sums[wiped] = vec2<f32>();\n    }\n}\n\nfn work(group: vec3<u32>, thread: u32) {\n    return;\n}\n";
        assert_eq!(with_nothing_left(source), wanted);
    }

    /// Else one would be left as it is, in silence.
    #[test]
    fn everything_that_is_shared_is_declared_as_it_is_looked_for() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wgpu");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|end| end != "wgsl") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| line.contains("var<workgroup>")) {
                assert!(Shared::of(line).is_some(), "{}: {line}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
    }

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
