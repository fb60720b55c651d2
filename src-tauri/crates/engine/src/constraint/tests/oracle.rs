//! What may stand in an answer, found the slow way: the whole answer is read again for every token, by recursion over the schema,
//! with every place where each part could end.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{MAX_DIGITS, MAX_EXPONENT_DIGITS, MAX_INDENT};

/// Where a part of an answer can end, and whether the answer may break off inside of it.
#[derive(Default, Clone)]
pub(super) struct Read {
    ends: BTreeSet<usize>,
    open: bool,
}

pub(super) struct Oracle<'a> {
    pub(super) root: &'a Value,
}

/// Whether an answer may begin so, and whether it may end so.
pub(super) struct Verdict {
    pub(super) begins: bool,
    pub(super) ends: bool,
}

impl Oracle<'_> {
    pub(super) fn judge(&self, answer: &[u8]) -> Verdict {
        let reader = Reader { root: self.root, text: answer };
        let read = then(&reader.space(0), |at| reader.value(self.root, at));
        let ends = read.ends.contains(&answer.len());
        Verdict { begins: ends || read.open, ends }
    }
}

struct Reader<'a> {
    root: &'a Value,
    text: &'a [u8],
}

impl Reader<'_> {
    fn at(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn sign(&self, at: usize, fits: impl Fn(u8) -> bool) -> Read {
        match self.at(at) {
            None => Read { ends: BTreeSet::new(), open: true },
            Some(byte) if fits(byte) => Read { ends: [at + 1].into(), open: false },
            Some(_) => Read::default(),
        }
    }

    fn word(&self, word: &[u8], at: usize) -> Read {
        let rest = &self.text[at..];
        if rest.starts_with(word) {
            Read { ends: [at + word.len()].into(), open: false }
        } else {
            Read { ends: BTreeSet::new(), open: word.starts_with(rest) }
        }
    }

    fn space(&self, at: usize) -> Read {
        let mut read = Read { ends: [at].into(), open: at == self.text.len() };
        match self.at(at) {
            Some(b' ') => {
                read.ends.insert(at + 1);
            }
            Some(b'\n') => {
                for end in at + 1..=at + 1 + MAX_INDENT as usize {
                    read.ends.insert(end);
                    match self.at(end) {
                        None => {
                            read.open = true;
                            break;
                        }
                        Some(b' ' | b'\t') => {}
                        Some(_) => break,
                    }
                }
            }
            _ => {}
        }
        read
    }

    /// A sign with space on both sides, of which the one before may be left out here.
    fn spaced(&self, byte: u8, at: usize) -> Read {
        let sign = then(&self.space(at), |at| self.sign(at, |other| other == byte));
        then(&sign, |at| self.space(at))
    }

    fn value(&self, schema: &Value, at: usize) -> Read {
        let Some(fields) = schema.as_object() else {
            return if schema.as_bool().unwrap() { self.any(at) } else { Read::default() };
        };
        if let Some(to) = fields.get("$ref") {
            return self.value(self.root.pointer(to.as_str().unwrap().trim_start_matches('#')).unwrap(), at);
        }
        if let Some(one) = fields.get("anyOf").or(fields.get("oneOf")) {
            return one.as_array().unwrap().iter().fold(Read::default(), |read, one| read.or(self.value(one, at)));
        }
        let word = |read: Read, value: &Value| read.or(self.word(value.to_string().as_bytes(), at));
        if let Some(one) = fields.get("enum") {
            return one.as_array().unwrap().iter().fold(Read::default(), word);
        }
        if let Some(one) = fields.get("const") {
            return word(Read::default(), one);
        }
        let Some(names) = fields.get("type") else { return self.any(at) };
        let names = names.as_array().cloned().unwrap_or_else(|| vec![names.clone()]);
        names.iter().fold(Read::default(), |read, name| {
            read.or(match name.as_str().unwrap() {
                "null" => self.word(b"null", at),
                "boolean" => self.word(b"true", at).or(self.word(b"false", at)),
                "integer" => self.integer(fields, at),
                "number" => self.number(at, true),
                "string" => {
                    let count = |name: &str| fields.get(name).map(|count| count.as_u64().unwrap() as usize);
                    self.text(at, count("minLength").unwrap_or(0), count("maxLength").unwrap_or(usize::MAX))
                }
                "array" => self.list(schema, at),
                _ => self.object(schema, at),
            })
        })
    }

    fn any(&self, at: usize) -> Read {
        let words = self.word(b"null", at).or(self.word(b"true", at)).or(self.word(b"false", at));
        let plain = words.or(self.number(at, true)).or(self.text(at, 0, usize::MAX));
        let nested = serde_json::json!({});
        plain.or(self.list(&nested, at)).or(self.object(&nested, at))
    }

    fn digits(&self, at: usize, least: usize, most: usize) -> Read {
        let mut read = Read::default();
        for count in 0..=most {
            if count >= least {
                read.ends.insert(at + count);
            }
            match self.at(at + count) {
                None => {
                    read.open = count < most || read.open;
                    return read;
                }
                Some(byte) if byte.is_ascii_digit() => {}
                Some(_) => return read,
            }
        }
        read
    }

    fn number(&self, at: usize, with_point: bool) -> Read {
        let mut starts = Read { ends: [at].into(), open: at == self.text.len() };
        if self.at(at) == Some(b'-') {
            starts.ends.insert(at + 1);
        }
        let mut whole = then(&starts, |start| {
            let minus = start > at;
            match self.at(start) {
                None => Read { ends: BTreeSet::new(), open: true },
                Some(b'0') if with_point || !minus => Read { ends: [start + 1].into(), open: false },
                Some(b'1'..=b'9') => self.digits(start, 1, MAX_DIGITS),
                Some(_) => Read::default(),
            }
        });
        if with_point {
            let point = then(&whole, |at| self.sign(at, |byte| byte == b'.'));
            whole = whole.or(then(&point, |at| self.digits(at, 1, MAX_DIGITS)));
            let power = then(&whole, |at| self.sign(at, |byte| byte == b'e' || byte == b'E'));
            let signed = then(&power, |at| self.sign(at, |byte| byte == b'+' || byte == b'-'));
            whole = whole.or(then(&power.or(signed), |at| self.digits(at, 1, MAX_EXPONENT_DIGITS)));
        }
        whole
    }

    fn integer(&self, fields: &serde_json::Map<String, Value>, at: usize) -> Read {
        let bound = |name: &str| fields.get(name).map(|bound| bound.as_f64().unwrap());
        // Bounds of the tests are small enough for floats to be exact.
        let within = |low: f64, high: f64| {
            let low = low.max(bound("minimum").map_or(f64::MIN, f64::ceil));
            let low = low.max(bound("exclusiveMinimum").map_or(f64::MIN, |bound| bound.floor() + 1.0));
            let high = high.min(bound("maximum").map_or(f64::MAX, f64::floor));
            low <= high.min(bound("exclusiveMaximum").map_or(f64::MAX, |bound| bound.ceil() - 1.0))
        };
        let mut read = self.number(at, false);
        let value = |end: usize| std::str::from_utf8(&self.text[at..end]).unwrap().parse::<f64>().unwrap();
        read.ends.retain(|&end| within(value(end), value(end)));
        let rest = &self.text[at..];
        read.open = read.open
            && match rest {
                [] => within(f64::MIN, f64::MAX),
                b"-" => within(f64::MIN, -1.0),
                _ => (1..=MAX_DIGITS.saturating_sub(rest.iter().filter(|byte| byte.is_ascii_digit()).count())).any(
                    |more| {
                        let first = value(self.text.len()) * 10_f64.powi(more as i32);
                        let last = first + (10_f64.powi(more as i32) - 1.0).copysign(first);
                        within(first.min(last), first.max(last))
                    },
                ),
            };
        read
    }

    /// Characters of a text without its first quote; with its last one.
    fn text(&self, at: usize, least: usize, most: usize) -> Read {
        let quote = self.sign(at, |byte| byte == b'"');
        then(&quote, |from| {
            let (mut at, mut count) = (from, 0);
            loop {
                match self.at(at) {
                    None => return Read { ends: BTreeSet::new(), open: true },
                    Some(b'"') if count >= least => return Read { ends: [at + 1].into(), open: false },
                    Some(b'"') => return Read::default(),
                    Some(_) if count == most => return Read::default(),
                    Some(_) => {}
                }
                // The shortest piece that a reader of JSON takes for a character; one of the length of the rest may still become one.
                let longest = (self.text.len() - at).min(12);
                let whole = (1..=longest).find(|&length| is_character(&self.text[at..at + length]));
                match whole {
                    Some(length) => (at, count) = (at + length, count + 1),
                    None if self.text.len() - at < 12 && may_become_character(&self.text[at..]) => {
                        return Read { ends: BTreeSet::new(), open: true };
                    }
                    None => return Read::default(),
                }
            }
        })
    }

    fn list(&self, schema: &Value, at: usize) -> Read {
        let count = |name: &str| schema.get(name).map(|count| count.as_u64().unwrap() as usize);
        let (least, most) = (count("minItems").unwrap_or(0), count("maxItems").unwrap_or(usize::MAX));
        let first = schema.get("prefixItems").map(|first| first.as_array().unwrap().as_slice()).unwrap_or_default();
        let others = match schema.get("items") {
            Some(Value::Bool(false)) => None,
            Some(others) => Some(others),
            None if first.is_empty() => Some(&Value::Bool(true)),
            None => None,
        };
        let mut whole = Read::default();
        let mut items = then(&self.sign(at, |byte| byte == b'['), |at| self.space(at));
        for index in 0.. {
            whole = whole.or(Read { ends: BTreeSet::new(), open: items.open });
            if index >= least {
                let closed = then(&items, |at| then(&self.space(at), |at| self.sign(at, |byte| byte == b']')));
                // Space stood before already where nothing else did.
                whole =
                    whole.or(if index == 0 { then(&items, |at| self.sign(at, |byte| byte == b']')) } else { closed });
            }
            let Some(schema) = first.get(index).or(others).filter(|_| index < most) else { break };
            let before = if index == 0 { items } else { then(&items, |at| self.spaced(b',', at)) };
            items = then(&before, |at| self.value(schema, at));
            if items.ends.is_empty() {
                whole.open |= items.open;
                break;
            }
        }
        whole
    }

    fn object(&self, schema: &Value, at: usize) -> Read {
        let empty = serde_json::Map::new();
        let members: Vec<(&String, &Value)> =
            schema.get("properties").map_or(&empty, |members| members.as_object().unwrap()).iter().collect();
        let required: Vec<&str> = schema
            .get("required")
            .map(|names| names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
            .unwrap_or_default();
        let others = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(others) => Some(others),
            None if schema.get("properties").is_some() => None,
            None => Some(&Value::Bool(true)),
        };
        let start = then(&self.sign(at, |byte| byte == b'{'), |at| self.space(at));
        // By the number of members that are through, and whether any was written.
        let mut fresh = start;
        let mut begun = Read::default();
        for (name, schema) in &members {
            let key = serde_json::to_string(name).unwrap();
            let member = |at: usize| {
                let key = self.word(key.as_bytes(), at);
                let colon = then(&key, |at| self.spaced(b':', at));
                then(&colon, |at| self.value(schema, at))
            };
            let first = then(&fresh, member);
            let next = then(&then(&begun, |at| self.spaced(b',', at)), member);
            let open = fresh.open || begun.open;
            if required.contains(&name.as_str()) {
                fresh = Read { ends: BTreeSet::new(), open };
                begun = first.or(next);
            } else {
                begun = begun.or(first).or(next);
            }
        }
        if let Some(schema) = others {
            let member = |at: usize| {
                let key = self.text(at, 0, usize::MAX);
                let plain = |end: &usize| {
                    let inside = &self.text[at + 1..end - 1];
                    members.is_empty()
                        || !inside.contains(&b'\\') && members.iter().all(|(name, _)| name.as_bytes() != inside)
                };
                let open = key.open && (members.is_empty() || !self.text[at..].contains(&b'\\'));
                let key = Read { ends: key.ends.into_iter().filter(plain).collect(), open };
                let colon = then(&key, |at| self.spaced(b':', at));
                then(&colon, |at| self.value(schema, at))
            };
            let mut last = then(&fresh, member);
            last = last.or(then(&then(&begun, |at| self.spaced(b',', at)), member));
            while !last.ends.is_subset(&begun.ends) {
                begun = begun.or(last.clone());
                last = then(&then(&last, |at| self.spaced(b',', at)), member);
            }
            begun.open |= last.open;
        }
        let closed = then(&begun, |at| then(&self.space(at), |at| self.sign(at, |byte| byte == b'}')));
        let empty = then(&fresh, |at| self.sign(at, |byte| byte == b'}'));
        let mut whole = closed.or(empty);
        whole.open |= fresh.open || begun.open;
        whole
    }
}

impl Read {
    fn or(mut self, mut other: Self) -> Self {
        self.ends.append(&mut other.ends);
        self.open |= other.open;
        self
    }
}

/// What can stand behind every end of a part.
fn then(first: &Read, mut next: impl FnMut(usize) -> Read) -> Read {
    let mut read = Read { ends: BTreeSet::new(), open: first.open };
    for &end in &first.ends {
        read = read.or(next(end));
    }
    read
}

/// Whether a reader of JSON takes the bytes for one character.
fn is_character(bytes: &[u8]) -> bool {
    if bytes == b"\"" {
        return false;
    }
    let text = [b"\"", bytes, b"\""].concat();
    serde_json::from_slice::<String>(&text).is_ok_and(|text| text.chars().count() == 1)
}

/// Whether some more bytes can make a character of these: tried with a few that would do for any beginning.
fn may_become_character(bytes: &[u8]) -> bool {
    let tails: [&[u8]; 14] = [
        b"\x80",
        b"\x80\x80",
        b"\x80\x80\x80",
        b"\xa0\x80",
        b"\x90\x80\x80",
        b"n",
        b"u0000",
        b"0000",
        b"000",
        b"00",
        b"0",
        b"\\udc00",
        b"udc00",
        b"dc00",
    ];
    let more: [&[u8]; 9] =
        [b"800\\udc00", b"00\\udc00", b"0\\udc00", b"c00", b"8\x80", b"\x8f\x80", b"\x8f\x80\x80", b"", b"\xbf"];
    tails.iter().chain(&more).any(|tail| is_character(&[bytes, *tail].concat()))
}
