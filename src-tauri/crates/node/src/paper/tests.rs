use accounting::statement::Energy;
use proptest::prelude::*;

use super::letters::{width, wrap};
use super::*;

/// 2026-12-02 10:05:09 UTC.
const WRITTEN: i64 = 1_796_205_909;

fn at(date: &str) -> i64 {
    date.parse::<Date>().unwrap().begins_unix()
}

fn payout(unix: i64, amount: u64) -> Entry {
    Entry {
        unix,
        kind: EntryKind::Payout,
        amount: Some(Nanoton(amount)),
        hash: Some([0xab; 32]),
        lt: Some(77),
        from: Some(Address { workchain: 0, hash: [3; 32] }),
        to: Some(Address { workchain: 0, hash: [4; 32] }),
        network: Address { workchain: 0, hash: [1; 32] },
        pays_nothing: false,
    }
}

fn part(entries: Vec<Entry>) -> Part {
    Part {
        network: Address { workchain: 0, hash: [1; 32] },
        pays_nothing: false,
        counted: Nanoton(1_234_567_890),
        signed: Nanoton(987_654_321),
        entries,
        drawn: Vec::new(),
    }
}

fn made(parts: &[Part], rates: &str, prices: &str) -> Vec<u8> {
    let rates = Rates::from_csv(&format!("date,currency,rate,source\n{rates}")).unwrap();
    let prices = Prices::from_csv(&format!("from,currency,price_per_kwh\n{prices}")).unwrap();
    let month = "2026-11".parse().unwrap();
    pdf(&Statement { month, written_unix: WRITTEN, parts, rates: &rates, prices: &prices })
}

/// A text that a reader finds on a page: where it is, how large, in which typeface, and what is copied.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    face: Face,
    size: f32,
    x: f32,
    y: f32,
    shown: String,
    copied: String,
}

/// A string in the format: in brackets with escapes, or hexadecimal digits.
fn string(text: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    if text[0] == b'<' {
        let end = text.iter().position(|byte| *byte == b'>').unwrap();
        return (hex::decode(&text[1..end]).unwrap(), end + 1);
    }
    assert_eq!(text[0], b'(');
    let (mut at, mut depth) = (1, 1);
    loop {
        match text[at] {
            b'\\' => {
                at += 1;
                match text[at] {
                    b'n' => bytes.push(b'\n'),
                    b'r' => bytes.push(b'\r'),
                    b't' => bytes.push(b'\t'),
                    b'b' => bytes.push(8),
                    b'f' => bytes.push(12),
                    b'0'..=b'7' => {
                        let digits = std::str::from_utf8(&text[at..at + 3]).unwrap();
                        bytes.push(u8::from_str_radix(digits, 8).unwrap());
                        at += 2;
                    }
                    other => bytes.push(other),
                }
            }
            b'(' => {
                depth += 1;
                bytes.push(b'(');
            }
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return (bytes, at + 1);
                }
                bytes.push(b')');
            }
            byte => bytes.push(byte),
        }
        at += 1;
    }
}

/// Text of a document's own strings: UTF-16 with its mark, or its encoding, of which ASCII is enough here.
fn document_text(bytes: &[u8]) -> String {
    match bytes.strip_prefix(&[0xfe, 0xff]) {
        Some(pairs) => {
            let units: Vec<u16> = pairs.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        }
        None => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Reads the document's table of objects and the pages in their order, the way a reader does, and every text on them.
fn read(document: &[u8]) -> Vec<Vec<Found>> {
    let text = String::from_utf8_lossy(document);
    assert!(document.starts_with(b"%PDF-1.7") && text.trim_end().ends_with("%%EOF"));
    let find = |from: usize, what: &[u8]| {
        document[from..].windows(what.len()).position(|part| part == what).map(|at| from + at)
    };
    // The table says where each object is.
    let tail = text.rfind("startxref").unwrap();
    let table: usize = text[tail..].lines().nth(1).unwrap().trim().parse().unwrap();
    let lines: Vec<String> =
        String::from_utf8_lossy(&document[table..]).lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(lines[0], "xref");
    let count: usize = lines[1].split(' ').nth(1).unwrap().parse().unwrap();
    for (number, line) in lines[2..2 + count].iter().enumerate() {
        let mut fields = line.split(' ');
        let (offset, kind) = (fields.next().unwrap().parse::<usize>().unwrap(), fields.nth(1).unwrap());
        if kind == "n" {
            assert!(document[offset..].starts_with(format!("{number} 0 obj").as_bytes()), "object {number}");
        }
    }
    let mut pages = Vec::new();
    let mut from = 0;
    while let Some(begin) = find(from, b"stream\n") {
        let head = &document[..begin];
        let length = head.windows(8).rposition(|part| part == b"/Length ").unwrap();
        let digits: String = document[length + 8..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .map(|byte| char::from(*byte))
            .collect();
        let length: usize = digits.parse().unwrap();
        let stream = &document[begin + 7..begin + 7 + length];
        assert!(document[begin + 7 + length..].trim_ascii_start().starts_with(b"endstream"));
        pages.push(texts(stream));
        from = begin + 7 + length + 10;
    }
    let kids = text.matches("/Type /Page\n").count();
    assert_eq!(kids, pages.len());
    pages
}

fn texts(stream: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut strings: Vec<Vec<u8>> = Vec::new();
    let (mut face, mut size, mut place, mut actual) = (Face::Plain, 0.0, (0.0, 0.0), None);
    let mut at = 0;
    while at < stream.len() {
        match stream[at] {
            b'<' if stream[at + 1] == b'<' => at += 2,
            b'(' | b'<' => {
                let (bytes, taken) = string(&stream[at..]);
                strings.push(bytes);
                at += taken;
            }
            byte if byte.is_ascii_whitespace() || byte == b'>' => at += 1,
            _ => {
                let end = stream[at..]
                    .iter()
                    .enumerate()
                    .position(|(i, byte)| i > 0 && (byte.is_ascii_whitespace() || b"()<>/".contains(byte)))
                    .map_or(stream.len(), |length| at + length);
                let word = String::from_utf8(stream[at..end].to_vec()).unwrap();
                at = end;
                let number = |back: usize| words[words.len() - back].parse::<f32>().unwrap();
                match word.as_str() {
                    "Tf" => {
                        face = match words[words.len() - 2].as_str() {
                            "/F1" => Face::Plain,
                            "/F2" => Face::Bold,
                            _ => Face::Fixed,
                        };
                        size = number(1);
                    }
                    "Td" => place = (number(2), number(1)),
                    "BDC" => actual = strings.pop().map(|bytes| document_text(&bytes)),
                    "EMC" => actual = None,
                    "Tj" => {
                        let bytes = strings.pop().unwrap();
                        // The upper half of the encoding is checked with the letters.
                        let shown: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                        let copied = actual.clone().unwrap_or_else(|| shown.clone());
                        found.push(Found { face, size, x: place.0, y: place.1, shown, copied });
                    }
                    _ => {}
                }
                words.push(word);
            }
        }
    }
    found
}

fn all(document: &[u8]) -> String {
    let texts = read(document).into_iter().flatten().map(|found| found.copied);
    texts.collect::<Vec<_>>().join("\n")
}

/// Nothing leaves the page, nothing lies over anything else, and every page has the sentence and its number.
fn is_laid_out(document: &[u8]) {
    let pages = read(document);
    for (number, page) in pages.iter().enumerate() {
        for (i, one) in page.iter().enumerate() {
            let right = one.x + width(one.face, one.size, &one.shown);
            assert!(one.x >= 49.9 && right <= 545.5 && one.y >= 39.9 && one.y <= 800.0, "{one:?} to {right}");
            for other in &page[i + 1..] {
                let height = one.size.min(other.size) * 0.7;
                let apart = (one.y - other.y).abs() >= height
                    || right <= other.x + 0.1
                    || other.x + width(other.face, other.size, &other.shown) <= one.x + 0.1;
                assert!(apart, "page {number}: {one:?} lies over {other:?}");
            }
        }
        assert!(page.iter().any(|found| found.copied == NO_ADVICE), "page {number}");
        let name = format!("Page {} of {}", number + 1, pages.len());
        assert!(page.iter().any(|found| found.copied == name), "page {number}");
    }
}

#[test]
fn a_statement_has_every_payout_with_kinds_rates_and_the_sentence() {
    let fee = Entry {
        kind: EntryKind::Fee,
        amount: Some(Nanoton(13_700_000)),
        lt: None,
        from: None,
        ..payout(at("2026-11-27"), 0)
    };
    let mut part = part(vec![payout(at("2026-11-27") + 36_309, 3_610_000_001), fee]);
    let day = |date: &str, millijoules| EnergyDay {
        date: date.parse().unwrap(),
        energy: Energy { millijoules, measured_ms: 5_400_000 },
        pays_nothing: false,
    };
    part.drawn = vec![day("2026-11-26", 3_600_000_000), day("2026-11-27", 1_234_567_890)];
    let document = made(&[part.clone()], "2026-11-27,EUR,1.41,Börse A\n", "2026-11-26,EUR,0.31\n");
    is_laid_out(&document);
    let text = all(&document);
    for wanted in [
        "Statement of November 2026",
        "Written by Chrysalis at 2026-12-02 10:05 UTC.",
        NO_ADVICE,
        "Payouts (1)\n3.610000001\nTON\npaid",
        "Worth of the payouts\n5.09\nEUR\nestimate",
        "Fees of payouts and attempts\n0.013700000\nTON\npaid",
        "Payouts less fees\n3.596300001\nTON\npaid",
        "Done in this month, as this PC counted\n1.234567890\nTON\nmeasured",
        "Signed by proxies in this month\n0.987654321\nTON\nsigned",
        "Electricity of the card\n1.342935\nkWh\nmeasured",
        "Cost of that electricity\n0.41\nEUR\nestimate",
        "2026-11-27 10:05\npayout\n3.610000001\n5.09\n1.41 EUR by B\u{f6}rse A".replace(" EUR by", " by").as_str(),
        &format!("transaction {}", "ab".repeat(32)),
        "2026-11-27\n0.342935\n1.50\n0.31 EUR\n0.1063 EUR",
        METHOD,
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(document, made(&[part], "2026-11-27,EUR,1.41,Börse A\n", "2026-11-26,EUR,0.31\n"), "the same bytes");
}

#[test]
fn what_is_not_known_is_said_and_is_no_zero() {
    let nothing = all(&made(&[part(Vec::new())], "", ""));
    for wanted in ["Payouts (0)", "No payout came in this month.", "not measured", "It was not measured in this month."]
    {
        assert!(nothing.contains(wanted), "{wanted}: {nothing}");
    }
    assert!(!nothing.contains("EUR") && !nothing.contains("Worth of the payouts"));
    let unknown = Entry { kind: EntryKind::Fee, amount: None, ..payout(at("2026-11-28"), 0) };
    let entries = vec![payout(at("2026-11-27"), 1), payout(at("2026-11-28"), 1), unknown];
    let mut part = part(entries);
    part.drawn = vec![EnergyDay {
        date: "2026-11-02".parse().unwrap(),
        energy: Energy { millijoules: 1, measured_ms: 1 },
        pays_nothing: false,
    }];
    let text = all(&made(&[part], "2026-11-27,EUR,1.41,A\n", "2026-11-03,EUR,0.31\n")).replace('\n', " ");
    for wanted in [
        "Worth of the payouts (1 of them without a rate) not known",
        "(1 more not known)",
        "no rate is known",
        "fee not known",
        "(days without a price) not known",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    is_laid_out(&made(&[], "", ""));
    assert!(all(&made(&[], "", "")).contains("No network was served."));
}

#[test]
fn practice_money_has_no_rate_and_is_marked() {
    let entry = Entry { pays_nothing: true, ..payout(at("2026-11-27"), 7) };
    let practice = Part { pays_nothing: true, ..part(vec![entry]) };
    let text = all(&made(&[practice], "2026-11-27,EUR,1.41,A\n", ""));
    assert!(text.contains("worth nothing") && text.contains(PRACTICE_UNIT), "{text}");
    assert!(
        !text.lines().any(|line| line == UNIT) && !text.contains("1.41") && !text.contains("Worth of the"),
        "{text}"
    );
}

#[test]
fn long_lists_go_over_pages_and_huge_amounts_and_names_of_any_script_stay_in_their_place() {
    let source = "Обмен 交換所 \u{202e}بورصة 🦋 (v\\2) ".repeat(4);
    let mut entries = Vec::new();
    for number in 0..400_u32 {
        let day = number % 30 + 1;
        entries.push(payout(at(&format!("2026-11-{day:02}")) + i64::from(number), u64::MAX - u64::from(number)));
    }
    let rate = |day: u32| format!("2026-11-{day:02},QQQQQQQQQQ,999999999.999999999,\"{}\"\n", source.trim());
    let rates = (1..=30).map(rate).collect::<Vec<_>>().concat();
    let mut part = part(entries);
    part.counted = Nanoton(u64::MAX);
    part.drawn = (1..=30)
        .map(|day| EnergyDay {
            date: Date { year: 2026, month: 11, day },
            energy: Energy { millijoules: u64::MAX, measured_ms: u64::MAX },
            pays_nothing: false,
        })
        .collect();
    let document = made(&[part.clone(), part], &rates, "2026-11-01,QQQQQQQQQQ,999999999.999999999\n");
    is_laid_out(&document);
    let pages = read(&document);
    assert!(pages.len() > 40, "{}", pages.len());
    let text = all(&document);
    for number in 0..400_u64 {
        let amount = coins(Nanoton(u64::MAX - number));
        assert_eq!(
            text.lines().filter(|line| *line == amount).count(),
            2 * if number == 0 { 2 } else { 1 },
            "{amount}"
        );
    }
    assert!(
        text.contains("Обмен") && text.contains("交換所") && text.contains('🦋'),
        "what is copied is the name itself"
    );
    assert!(text.contains("does not have"), "and it is said why question marks are seen");
    // The table's head is on each of its pages.
    let heads = pages.iter().filter(|page| page.iter().any(|found| found.copied == "Time, UTC")).count();
    let with_rows = pages.iter().filter(|page| page.iter().any(|found| found.copied == "payout")).count();
    assert_eq!(heads, with_rows);
}

#[test]
fn letters_are_those_of_the_encoding() {
    use super::letters::encode;
    assert_eq!(encode("Aé€–Ž~"), (vec![b'A', 0xe9, 0x80, 0x96, 0x8e, b'~'], true));
    assert_eq!(encode("\u{81}\u{0}\n中\u{7f}"), (b"?????".to_vec(), false));
    assert!((width(Face::Plain, 1_000.0, "Wi 0") - (944.0 + 222.0 + 278.0 + 556.0)).abs() < 0.01);
    assert!((width(Face::Fixed, 10.0, "abc") - 18.0).abs() < 0.01);
}

proptest! {
    #[test]
    fn wrapped_lines_fit_and_keep_every_letter(text in "\\PC{0,80}", most in 20.0_f32..300.0) {
        let lines = wrap(Face::Plain, 8.0, &text, most);
        for line in &lines {
            prop_assert!(width(Face::Plain, 8.0, line) <= most + 0.01 || line.chars().count() == 1, "{}", line);
        }
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
        prop_assert_eq!(letters(&lines.concat()), letters(&text));
    }

    #[test]
    fn no_name_or_amount_breaks_the_document(source in "\\PC{1,60}", amounts in proptest::collection::vec(any::<u64>(), 0..20)) {
        let mut rates = Rates::default();
        let _ = rates.set("2026-11-27".parse().unwrap(), "1.5", "EUR", &source);
        let entries = amounts.iter().map(|amount| payout(at("2026-11-27"), *amount)).collect();
        let parts = [part(entries)];
        let month = "2026-11".parse().unwrap();
        let prices = Prices::default();
        let document = pdf(&Statement { month, written_unix: WRITTEN, parts: &parts, rates: &rates, prices: &prices });
        is_laid_out(&document);
    }
}
