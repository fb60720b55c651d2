//! Tables as RFC 4180 has them: read with bounds, written so that a spreadsheet computes nothing.

/// What a spreadsheet takes for the beginning of a formula, in the letters of East Asia too.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// A table under way.
pub(super) struct Table {
    text: String,
    first: bool,
}

impl Table {
    /// Begins with the names of its columns.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = Self { text: String::new(), first: true };
        for column in columns {
            table.figure(column);
        }
        table.end();
        table
    }

    /// A field that this program made of digits and letters of its own.
    pub(super) fn figure(&mut self, field: &str) -> &mut Self {
        self.field(field)
    }

    /// A field of anybody's words: what would be a formula becomes text.
    pub(super) fn text(&mut self, field: &str) -> &mut Self {
        let clean: String = field.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let is_formula = |text: &str| text.trim_start().starts_with(FORMULA);
        if is_formula(&clean) || is_formula(field) { self.field(&format!("'{clean}")) } else { self.field(&clean) }
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        self.text.push_str("\r\n");
        self.first = true;
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn field(&mut self, field: &str) -> &mut Self {
        if !std::mem::take(&mut self.first) {
            self.text.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) || field.starts_with(' ') || field.ends_with(' ') {
            self.text.push('"');
            self.text.push_str(&field.replace('"', "\"\""));
            self.text.push('"');
        } else {
            self.text.push_str(field);
        }
        self
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFault {
    /// A quotation that does not end, or ends in the middle of a field.
    Quotes,
}

/// The lines of a table with their numbers, from 1; empty ones are left out. A field may go over several lines.
pub(super) fn read(text: &str) -> impl Iterator<Item = (usize, Result<Vec<String>, LineFault>)> + '_ {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut letters = text.chars().peekable();
    let mut number = 0;
    std::iter::from_fn(move || {
        loop {
            letters.peek()?;
            number += 1;
            let begun = number;
            let (mut fields, mut field) = (Vec::new(), String::new());
            let (mut quoted, mut was_quoted, mut broken) = (false, false, false);
            loop {
                match letters.next() {
                    Some('"') if quoted => {
                        if letters.next_if_eq(&'"').is_some() {
                            field.push('"');
                        } else {
                            quoted = false;
                        }
                    }
                    Some('"') if field.is_empty() && !was_quoted => {
                        quoted = true;
                        was_quoted = true;
                    }
                    Some('"') => broken = true,
                    Some('\n') if quoted => {
                        number += 1;
                        field.push('\n');
                    }
                    Some(letter) if quoted => field.push(letter),
                    Some(',') => {
                        fields.push(std::mem::take(&mut field));
                        was_quoted = false;
                    }
                    Some('\r') => {}
                    Some('\n') => break,
                    None => {
                        broken |= quoted;
                        break;
                    }
                    Some(letter) => {
                        broken |= was_quoted;
                        field.push(letter);
                    }
                }
            }
            if broken {
                return Some((begun, Err(LineFault::Quotes)));
            }
            if fields.is_empty() && field.trim().is_empty() {
                continue;
            }
            fields.push(field);
            return Some((begun, Ok(fields)));
        }
    })
}
