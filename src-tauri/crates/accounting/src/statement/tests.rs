use proptest::prelude::*;

use super::*;

const RATES: &str =
    "date,currency,rate,source\n2026-11-27,EUR,1.41,Exchange A\n2026-11-28,eur,1.5,\"B, closing \"\"price\"\"\"\n";

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

fn fee(unix: i64, amount: Option<u64>) -> Entry {
    Entry { kind: EntryKind::Fee, amount: amount.map(Nanoton), lt: None, ..payout(unix, 0) }
}

fn at(date: &str) -> i64 {
    date.parse::<Date>().unwrap().begins_unix()
}

fn rows(text: &str) -> Vec<Vec<String>> {
    csv::read(text).map(|(_, row)| row.unwrap()).collect()
}

#[test]
fn days_are_those_of_the_calendar() {
    for (text, unix) in [
        ("1970-01-01", 0),
        ("2000-02-29", 951_782_400),
        ("2026-11-27", 1_795_737_600),
        ("2100-03-01", 4_107_542_400),
        ("9999-12-31", 253_402_214_400),
    ] {
        let date: Date = text.parse().unwrap();
        assert_eq!((date.begins_unix(), date.to_string().as_str()), (unix, text));
        assert_eq!((Date::of_unix(unix), Date::of_unix(unix + 86_399)), (date, date));
        assert_ne!(Date::of_unix(unix - 1), date);
    }
    for text in
        ["2026-02-29", "2100-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "1969-12-31", "26-1-1", "2026/01/01", ""]
    {
        assert_eq!(text.parse::<Date>(), Err(DateError), "{text}");
    }
    assert_eq!(date::instant(1_795_737_600 + 36_309), "2026-11-27T10:05:09Z");
    assert_eq!(date::minute(1_795_737_600 + 36_309), "2026-11-27 10:05 UTC");
}

#[test]
fn rates_are_read_exactly_and_what_is_no_rate_is_named_by_its_line() {
    let rates = Rates::from_csv(RATES).unwrap();
    let rate = rates.on("2026-11-28".parse().unwrap()).unwrap();
    assert_eq!(
        (rate.to_text().as_str(), rate.currency.as_str(), rate.source.as_str()),
        ("1.5", "EUR", "B, closing \"price\"")
    );
    assert_eq!(rates.on("2026-11-29".parse().unwrap()), None);
    // Other columns, another order, Windows' line ends and mark of the beginning.
    let other = "\u{feff}Source,x,Rate,Date,Currency\r\nA,,.000000001,2026-11-27,USD\r\n\r\n";
    assert_eq!(Rates::from_csv(other).unwrap().on("2026-11-27".parse().unwrap()).unwrap().to_text(), "0.000000001");
    let line =
        |line: &str| Rates::from_csv(&format!("date,currency,rate,source\n2026-11-27,EUR,1,A\n{line}\n")).unwrap_err();
    assert_eq!(line("27.11.2026,EUR,1,A"), RatesError::Date { line: 3 });
    assert_eq!(line("2026-11-28,=1,1,A"), RatesError::Currency { line: 3 });
    for rate in ["0", "-1", "1e3", "", ".", "1.0000000001", "1234567890", "1 000"] {
        assert_eq!(line(&format!("2026-11-28,EUR,{rate},A")), RatesError::Rate { line: 3 }, "{rate}");
    }
    assert_eq!(line("2026-11-28,EUR,\"1,5\",A"), RatesError::Rate { line: 3 });
    assert_eq!(line("2026-11-28,EUR,1, "), RatesError::Source { line: 3 });
    assert_eq!(line("2026-11-28,EUR,1,5,A"), RatesError::Fields { line: 3, found: 5, expected: 4 });
    assert_eq!(line("2026-11-28,EUR,1,\"A"), RatesError::Quotes { line: 3 });
    assert_eq!(line("2026-11-27,EUR,2,A"), RatesError::Twice { line: 3, date: "2026-11-27".parse().unwrap() });
    assert!(matches!(line("2026-11-28,USD,2,A"), RatesError::Mixed { line: 3, .. }));
    assert_eq!(Rates::from_csv(""), Err(RatesError::Columns));
    assert_eq!(Rates::from_csv("date;currency;rate;source\n"), Err(RatesError::Columns));
    assert!(matches!(Rates::from_csv(&"x".repeat(MAX_RATES_BYTES + 1)), Err(RatesError::TooLong { .. })));
}

#[test]
fn a_month_ends_where_the_next_one_begins() {
    for (text, name, begins, ends) in [
        ("2026-11", "November 2026", "2026-11-01", "2026-12-01"),
        ("2027-12", "December 2027", "2027-12-01", "2028-01-01"),
        ("2028-02", "February 2028", "2028-02-01", "2028-03-01"),
    ] {
        let month: Month = text.parse().unwrap();
        assert_eq!((month.to_string().as_str(), month.name().as_str()), (text, name));
        assert_eq!((month.begins_unix(), month.ends_unix()), (at(begins), at(ends)));
        assert_eq!((Month::of_unix(at(begins)), Month::of_unix(at(ends) - 1)), (month, month));
    }
    for text in ["2026-13", "2026-00", "2026-1", "1969-12", "2026/11", "", "2026-11-01"] {
        assert_eq!(text.parse::<Month>(), Err(MonthError), "{text}");
    }
}

#[test]
fn a_fee_that_is_not_known_leaves_the_sums_blank_and_is_not_counted_where_it_is_not_written() {
    let day = at("2026-11-27");
    let known = [payout(day, 3_000_000_000), fee(day, Some(1_000_000_000))];
    let unknown = [payout(day, 3_000_000_000), fee(day, Some(1_000_000_000)), fee(day, None)];
    let month = |entries: &[Entry]| rows(&write(entries, &Rates::default(), Form::Months))[1].clone();
    assert_eq!(month(&known)[2..5], ["3.000000000", "1.000000000", "2.000000000"]);
    assert_eq!(month(&unknown)[2..5], ["3.000000000", "", ""]);
    for form in [Form::Lines, Form::Koinly] {
        let written = unknown.iter().filter(|entry| is_written(entry, form)).count();
        assert_eq!(rows(&write(&unknown, &Rates::default(), form)).len(), written + 1, "{form:?}");
    }
}

#[test]
fn rates_are_kept_as_they_were_given_and_the_newest_one_is_that_of_its_day() {
    let mut rates = Rates::from_csv(RATES).unwrap();
    let day = |text: &str| text.parse::<Date>().unwrap();
    rates.set(day("2026-11-30"), "1.6", "eur", "Обмен \"=1\"").unwrap();
    rates.set(day("2026-11-27"), "1.42", "EUR", "A").unwrap();
    assert_eq!(Rates::from_csv(&rates.to_csv()), Ok(rates.clone()));
    let newest = |text: &str| rates.newest(day(text)).map(|(date, rate)| (date.to_string(), rate.to_text()));
    assert_eq!(newest("2026-11-26"), None);
    assert_eq!(newest("2026-11-29"), Some(("2026-11-28".to_owned(), "1.5".to_owned())));
    assert_eq!(newest("2027-01-01"), Some(("2026-11-30".to_owned(), "1.6".to_owned())));
    assert!(matches!(rates.set(day("2026-12-01"), "1", "USD", "A"), Err(RatesError::Mixed { .. })));
    for (rate, currency, source) in [("0", "EUR", "A"), ("1,5", "EUR", "A"), ("1", "E", "A"), ("1", "EUR", " ")] {
        assert!(rates.set(day("2026-12-01"), rate, currency, source).is_err(), "{rate} {currency} {source}");
    }
    assert_eq!(rates.newest(day("2026-12-31")).unwrap().0, day("2026-11-30"), "what is refused changes nothing");
    let rate = rates.on(day("2026-11-28")).unwrap();
    assert_eq!((rate.about(Nanoton(1_234_567_890), 2).as_str(), rate.about(Nanoton(0), 2).as_str()), ("1.85", "0.00"));
}

#[test]
fn a_table_has_every_payout_and_fee_with_its_value_or_a_blank() {
    let rates = Rates::from_csv(RATES).unwrap();
    let entries = [
        fee(at("2026-11-27") + 60, Some(13_700_000)),
        payout(at("2026-11-27") + 60, 3_610_000_001),
        payout(at("2026-12-01"), 5),
        fee(at("2026-12-02"), None),
    ];
    let text = write(&entries, &rates, Form::Lines);
    let rows = rows(&text);
    let column = |name: &str| rows[0].iter().position(|field| field == name).unwrap();
    let values = |name: &str| rows[1..].iter().map(|row| row[column(name)].clone()).collect::<Vec<_>>();
    assert_eq!(values("kind"), ["fee", "payout", "payout", "fee"]);
    assert_eq!(values("amount"), ["0.013700000", "3.610000001", "0.000000005", ""]);
    assert_eq!(values("amount_nanoton"), ["13700000", "3610000001", "5", ""]);
    assert_eq!(values("value"), ["0.019317", "5.09010000141", "", ""]);
    assert_eq!(values("rate_source"), ["Exchange A", "Exchange A", "", ""]);
    assert_eq!(values("date")[1], "2026-11-27T00:01:00Z");
    assert_eq!(values("note"), ["", "", "", "amount not known"]);
    assert!(values("from")[1].starts_with("EQ") && values("to")[1].starts_with("UQ"));
    assert!(text.ends_with("\r\n") && !text.contains("\n\n"));
}

#[test]
fn koinlys_columns_have_income_as_received_and_fees_as_sent() {
    let rates = Rates::from_csv(RATES).unwrap();
    let entries =
        [payout(at("2026-11-27"), 2_000_000_000), fee(at("2026-11-29"), Some(1)), fee(at("2026-11-30"), None)];
    let rows = rows(&write(&entries, &rates, Form::Koinly));
    assert_eq!(
        rows[0].join(","),
        "Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Fee Currency,Net Worth Amount,\
         Net Worth Currency,Label,Description,TxHash"
    );
    assert_eq!(rows.len(), 3, "a fee that is not known is no line");
    assert_eq!(rows[1][..10], ["2026-11-27 00:00 UTC", "", "", "2.000000000", UNIT, "", "", "2.82", "EUR", "reward"]);
    assert!(rows[1][10].contains("rate 1.41 EUR by Exchange A"), "{}", rows[1][10]);
    assert_eq!(rows[1][11], "ab".repeat(32));
    assert_eq!(rows[2][..10], ["2026-11-29 00:00 UTC", "0.000000001", UNIT, "", "", "", "", "", "", "cost"]);
}

#[test]
fn practice_money_is_marked_and_is_no_income_anywhere() {
    let rates = Rates::from_csv(RATES).unwrap();
    let practice = Entry { pays_nothing: true, ..payout(at("2026-11-27"), 7) };
    for form in [Form::Lines, Form::Koinly, Form::Months] {
        let text = write(std::slice::from_ref(&practice), &rates, form);
        assert!(text.contains(PRACTICE_UNIT) && text.contains(PRACTICE_NOTE), "{text}");
        let has_unit = rows(&text)[1].iter().any(|field| field == UNIT || field == "reward" || field == "EUR");
        assert!(!has_unit, "{text}");
    }
}

#[test]
fn a_month_has_a_value_only_if_every_payout_of_it_has_one() {
    let rates = Rates::from_csv(RATES).unwrap();
    let entries = [
        payout(at("2026-11-27"), 1_000_000_000),
        payout(at("2026-11-28"), 1_000_000_000),
        fee(at("2026-11-28"), Some(2_500_000_000)),
        fee(at("2026-11-28"), None),
        payout(at("2026-12-01"), 10),
        fee(at("2027-01-01"), Some(1)),
    ];
    let rows = rows(&write(&entries, &rates, Form::Months));
    assert_eq!(rows[1][..10], ["2026-11", "2", "2.000000000", "", "", UNIT, "2.91", "EUR", "0", "1"]);
    assert_eq!(rows[2][..10], ["2026-12", "1", "0.000000010", "0.000000000", "0.000000010", UNIT, "", "", "1", "0"]);
    assert_eq!(rows[3][..7], ["2027-01", "0", "0.000000000", "0.000000001", "-0.000000001", UNIT, ""]);
}

#[test]
fn no_text_becomes_a_formula_or_breaks_a_line() {
    for source in ["=1+1", "+1", "-1", "@x", "\u{ff1d}1", "=cmd|'/c calc'!A0", " =1", "a\tb", "\"quoted\"", "a,b"] {
        let quoted = source.replace('"', "\"\"");
        let file = format!("date,currency,rate,source\n2026-11-27,EUR,1,\"{quoted}\"\n");
        let rates = Rates::from_csv(&file).unwrap();
        for form in [Form::Lines, Form::Koinly] {
            for field in rows(&write(&[payout(at("2026-11-27"), 1)], &rates, form)).concat() {
                assert!(!field.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\t']), "{source}: {field}");
            }
        }
    }
    let mut table = Table::new(&["a"]);
    table.text("\r=1").text("\n=1").text("plain");
    assert_eq!(table.into_text(), "a\r\n\"' =1\",\"' =1\",plain".replace("\"' =1\"", "' =1"));
}

proptest! {
    #[test]
    fn any_day_comes_back(days in -1_000_000_i64..3_000_000) {
        let date = Date::of_unix(days * 86_400);
        prop_assert_eq!(date.begins_unix(), days * 86_400);
        if (0..2_932_897).contains(&days) {
            prop_assert_eq!(date.to_string().parse::<Date>(), Ok(date));
        }
    }

    #[test]
    fn what_is_written_is_read_back_field_for_field(fields in proptest::collection::vec("[ -~\n\u{e4}]{0,12}", 1..5)) {
        let mut table = Table::new(&["x"]);
        for field in &fields {
            table.text(field);
        }
        table.figure("end").end();
        let text = table.into_text();
        let read = rows(&text).pop().unwrap();
        prop_assert_eq!(read.len(), fields.len() + 1);
        for (read, field) in read.iter().zip(&fields) {
            let clean = field.replace('\n', " ");
            prop_assert!(*read == clean || *read == format!("'{clean}"), "{:?} of {:?}", read, field);
        }
    }

    #[test]
    fn the_months_sum_up_to_all_lines_to_the_nanoton(
        entries in proptest::collection::vec((0_i64..400 * 86_400, any::<u64>(), any::<bool>()), 0..40)
    ) {
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(unix, amount, is_fee)| if is_fee { fee(unix, Some(amount)) } else { payout(unix, amount) })
            .collect();
        let months = rows(&write(&entries, &Rates::default(), Form::Months));
        let nanotons = |text: &str| text.replace('.', "").parse::<u128>().unwrap();
        let sum = |column: usize| months[1..].iter().map(|row| nanotons(&row[column])).sum::<u128>();
        let of = |kind| entries.iter().filter(|one| one.kind == kind).map(|one| u128::from(one.amount.unwrap().0)).sum::<u128>();
        prop_assert_eq!(sum(2), of(EntryKind::Payout));
        prop_assert_eq!(sum(3), of(EntryKind::Fee));
    }

    #[test]
    fn a_value_is_the_product_in_every_digit(amount in any::<u64>(), parts in 1_u64..1_000_000_000_000_000_000) {
        let rate = Rate { parts, currency: "EUR".to_owned(), source: "A".to_owned() };
        let text = rate.value(Nanoton(amount));
        let (whole, part) = text.split_once('.').unwrap();
        let back = format!("{whole}{part:0<18}").parse::<u128>().unwrap();
        prop_assert_eq!(back, u128::from(amount) * u128::from(parts));
    }

    #[test]
    fn no_file_of_rates_brings_the_reader_down(text in ".{0,200}") {
        let _ = Rates::from_csv(&text);
        let _ = Rates::from_csv(&format!("date,currency,rate,source\n{text}"));
    }
}
