//! What the tray shows, made of what Home shows. Every number says what kind it is.

use super::Glance;
use crate::view::{Card, CardKind, Home, Money, Page, Status, Wish};

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseFor {
    /// So many minutes.
    Minutes(u32),
    /// Until eight o'clock of the next morning.
    UntilTomorrow,
    /// Until the owner says so.
    UntilISaySo,
}

/// What the owner chose in the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Work.
    Start,
    /// Free the card now.
    Pause(PauseFor),
    /// Finish what runs, then pause.
    FinishAndPause,
    /// Show the window.
    Open(Page),
    /// End the app.
    Quit,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Face {
    /// The icon.
    pub(crate) glance: Glance,
    /// One line: what happens.
    pub(crate) title: String,
    /// Lines with numbers, each with what it leads to.
    pub(crate) lines: Vec<(String, Page)>,
    /// Whether there is something to start.
    pub(crate) can_start: bool,
    /// Whether there is something to pause.
    pub(crate) can_pause: bool,
}

impl Face {
    /// Before anything is known.
    pub(crate) fn blank() -> Self {
        Self {
            glance: Glance::Paused,
            title: "Chrysalis".to_owned(),
            lines: Vec::new(),
            can_start: true,
            can_pause: false,
        }
    }

    /// What there is to show now.
    pub(crate) fn of(home: &Home, cards: &[Card]) -> Self {
        let (glance, happens) = match &home.status {
            Status::Paused { until: None, .. } => (Glance::Paused, "Paused".to_owned()),
            Status::Paused { until: Some(_), .. } => (Glance::Paused, "Paused for a while".to_owned()),
            Status::Loading => (Glance::Waiting, "Loading the model".to_owned()),
            Status::Connecting => (Glance::Waiting, "Looking for a proxy".to_owned()),
            Status::Waiting { .. } => (Glance::Waiting, "Ready, waiting for questions".to_owned()),
            Status::Working { questions } => (Glance::Working, format!("Answering {}", counted(*questions))),
            Status::Finishing { questions } if *questions > 0.0 => {
                (Glance::Working, format!("Finishing {}, then pausing", counted(*questions)))
            }
            Status::Finishing { .. } => (Glance::Working, "Waiting for the last signature, then pausing".to_owned()),
            Status::Freeing => (Glance::Waiting, "Freeing the card".to_owned()),
            Status::Restarting { .. } => (Glance::Attention, "The engine stopped and starts again".to_owned()),
            Status::LedgerFails { .. } => (Glance::Attention, "Earnings can't be written down".to_owned()),
            Status::Failed { .. } => (Glance::Problem, "Can't work; open for the reason".to_owned()),
        };
        let practice = if home.network.pays_nothing { " (practice)" } else { "" };
        let mut lines: Vec<(String, Page)> = today(home).map(|line| (line, Page::Earnings)).into_iter().collect();
        for card in cards.iter().filter(|card| card.ours || card.kind == CardKind::Graphics) {
            lines.push((readings(card), Page::Home));
        }
        let pausing = matches!(home.status, Status::Paused { .. } | Status::Freeing | Status::Failed { .. });
        Self {
            glance,
            title: format!("Chrysalis: {happens}{practice}"),
            lines,
            can_start: pausing || home.wish != Wish::Work,
            can_pause: !pausing,
        }
    }
}

fn counted(questions: f64) -> String {
    if (0.5..1.5).contains(&questions) { "1 question".to_owned() } else { format!("{questions} questions") }
}

fn today(home: &Home) -> Option<String> {
    let today = home.today.as_ref()?;
    let answered = today.answered;
    if home.network.pays_nothing {
        return Some(format!("Today {answered} answered (measured), pays nothing"));
    }
    Some(format!("Today {} signed, {answered} answered (measured)", amount(&today.signed)))
}

/// Three places, cut: never more than there is.
fn amount(money: &Money) -> String {
    let (sign, digits) = money.nanoton.strip_prefix('-').map_or(("", money.nanoton.as_str()), |rest| ("−", rest));
    let padded = format!("{digits:0>10}");
    let (whole, rest) = padded.split_at(padded.len() - 9);
    format!("{sign}{whole}.{} {}", &rest[..3], ton::UNIT)
}

fn readings(card: &Card) -> String {
    if card.asleep {
        return format!("{}: asleep", card.name);
    }
    let parts: Vec<String> = [
        card.celsius.map(|celsius| format!("{celsius:.0} °C")),
        card.watts.map(|watts| format!("{watts:.0} W")),
        card.load_percent.map(|load| format!("{load:.0} % busy")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let parts = if parts.is_empty() { "no readings".to_owned() } else { format!("{} (measured)", parts.join(" · ")) };
    format!("{}: {parts}", card.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{card, home};

    /// How each state looks, in the tray and in the window; the tests of the page hold the window to the same table.
    const TABLE: &str = include_str!("../../../ui/tests/glances.json");

    #[test]
    fn the_five_states_follow_from_what_is_so_and_not_from_the_wish() {
        let table: std::collections::BTreeMap<String, String> = serde_json::from_str(TABLE).unwrap();
        let cases = [
            Status::Paused { until: None, freed_in_ms: None },
            Status::Loading,
            Status::Connecting,
            Status::Waiting { last_job: None },
            Status::Freeing,
            Status::Working { questions: 2.0 },
            Status::Finishing { questions: 1.0 },
            Status::Restarting { at: 0.0, starts: 2.0, why: None },
            Status::LedgerFails { why: "full".to_owned() },
            Status::Failed { why: "no model".to_owned() },
        ];
        assert_eq!(table.len(), cases.len(), "a state of the table is not tried, or one too many");
        for status in cases {
            let state = serde_json::to_value(&status).unwrap()["state"].as_str().unwrap().to_owned();
            let mut home = home();
            home.wish = Wish::Pause { until: None };
            home.status = status;
            assert_eq!(format!("{:?}", Face::of(&home, &[]).glance).to_lowercase(), table[&state], "{state}");
        }
    }

    #[test]
    fn numbers_say_what_kind_they_are_and_practice_says_that_it_pays_nothing() {
        let mut home = home();
        home.status = Status::Working { questions: 3.0 };
        let face = Face::of(&home, &[card()]);
        assert_eq!(face.title, "Chrysalis: Answering 3 questions (practice)");
        assert_eq!(face.lines[0].0, "Today 12 answered (measured), pays nothing");
        assert_eq!(face.lines[1].0, "Test card: 61 °C · 170 W · 80 % busy (measured)");
        home.network.pays_nothing = false;
        let face = Face::of(&home, &[]);
        assert_eq!(face.title, "Chrysalis: Answering 3 questions");
        assert_eq!(face.lines[0].0, "Today 0.001 TON signed, 12 answered (measured)");
    }

    #[test]
    fn what_is_unknown_is_no_reading_and_never_zero() {
        let mut unknown = card();
        (unknown.celsius, unknown.watts, unknown.load_percent) = (None, None, None);
        assert_eq!(Face::of(&home(), &[unknown.clone()]).lines[1].0, "Test card: no readings");
        unknown.asleep = true;
        assert_eq!(Face::of(&home(), &[unknown]).lines[1].0, "Test card: asleep");
    }

    #[test]
    fn amounts_are_cut_and_not_rounded_up() {
        let text = |nanoton: &str| amount(&Money { nanoton: nanoton.to_owned(), kind: crate::view::Kind::Signed });
        assert_eq!(text("0"), "0.000 TON");
        assert_eq!(text("1999999"), "0.001 TON");
        assert_eq!(text("12345678901"), "12.345 TON");
        assert_eq!(text("-5000000"), "−0.005 TON");
    }

    #[test]
    fn there_is_something_to_start_exactly_when_nothing_works_or_shall_work() {
        let mut home = home();
        home.status = Status::Paused { until: None, freed_in_ms: None };
        home.wish = Wish::Pause { until: None };
        let face = Face::of(&home, &[]);
        assert!(face.can_start && !face.can_pause);
        home.status = Status::Waiting { last_job: None };
        home.wish = Wish::Work;
        let face = Face::of(&home, &[]);
        assert!(!face.can_start && face.can_pause);
    }
}
