//! The menu of the icon: what it offers, in which order and in which words. Each system only translates it into its own menu.

use super::{Action, Face, PauseFor};
use crate::view::Page;

/// One line of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Words that can't be chosen.
    Text(String),
    /// Something to choose.
    Choice {
        /// Its words.
        label: String,
        /// Whether it can be chosen now.
        enabled: bool,
        /// What the owner wants who chooses it.
        action: Action,
    },
    /// A menu of its own.
    Menu {
        /// Its words.
        label: String,
        /// Whether it can be opened now.
        enabled: bool,
        /// What is in it.
        entries: Vec<Entry>,
    },
    /// A line between two groups.
    Separator,
}

/// The menu for what is shown.
pub(crate) fn menu(face: &Face) -> Vec<Entry> {
    let mut menu = vec![Entry::Text(face.title.clone())];
    menu.extend(face.lines.iter().map(|(line, page)| choice(line, true, Action::Open(*page))));
    menu.extend([
        Entry::Separator,
        choice("Start", face.can_start, Action::Start),
        Entry::Menu { label: "Pause".to_owned(), enabled: face.can_pause, entries: pauses(face.can_pause) },
        choice("Finish and pause", face.can_pause, Action::FinishAndPause),
        Entry::Separator,
        choice("Open", true, Action::Open(Page::Home)),
        choice("Quit", true, Action::Quit),
    ]);
    menu
}

/// Some hosts open a menu that is disabled, so its lines say it themselves.
fn pauses(enabled: bool) -> Vec<Entry> {
    [
        ("15 minutes", PauseFor::Minutes(15)),
        ("1 hour", PauseFor::Minutes(60)),
        ("Until tomorrow 08:00", PauseFor::UntilTomorrow),
        ("Until I say so", PauseFor::UntilISaySo),
    ]
    .map(|(label, how)| choice(label, enabled, Action::Pause(how)))
    .into()
}

fn choice(label: &str, enabled: bool, action: Action) -> Entry {
    Entry::Choice { label: label.to_owned(), enabled, action }
}

/// The words with the sign doubled that would mark the letter behind it as a shortcut.
pub(crate) fn spelled(label: &str, mark: char) -> String {
    label.replace(mark, &format!("{mark}{mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tray::Glance;

    fn face(can_start: bool, can_pause: bool) -> Face {
        Face {
            glance: Glance::Working,
            title: "Chrysalis: Answering 1 question".to_owned(),
            lines: vec![
                ("Today 12 answered (measured)".to_owned(), Page::Earnings),
                ("Test card: 61 °C".to_owned(), Page::Home),
            ],
            can_start,
            can_pause,
        }
    }

    /// One line for each entry: words, `-` where it can't be chosen, and what is wanted by it.
    fn written(entries: &[Entry]) -> Vec<String> {
        let sign = |enabled: bool| if enabled { "" } else { "- " };
        entries
            .iter()
            .flat_map(|entry| match entry {
                Entry::Text(label) => vec![format!("- {label}")],
                Entry::Separator => vec!["----".to_owned()],
                Entry::Choice { label, enabled, action } => vec![format!("{}{label}: {action:?}", sign(*enabled))],
                Entry::Menu { label, enabled, entries } => [format!("{}{label}:", sign(*enabled))]
                    .into_iter()
                    .chain(written(entries).into_iter().map(|line| format!("  {line}")))
                    .collect(),
            })
            .collect()
    }

    #[test]
    fn every_choice_stands_in_its_place_with_what_it_wants() {
        assert_eq!(
            written(&menu(&face(false, true))),
            [
                "- Chrysalis: Answering 1 question",
                "Today 12 answered (measured): Open(Earnings)",
                "Test card: 61 °C: Open(Home)",
                "----",
                "- Start: Start",
                "Pause:",
                "  15 minutes: Pause(Minutes(15))",
                "  1 hour: Pause(Minutes(60))",
                "  Until tomorrow 08:00: Pause(UntilTomorrow)",
                "  Until I say so: Pause(UntilISaySo)",
                "Finish and pause: FinishAndPause",
                "----",
                "Open: Open(Home)",
                "Quit: Quit",
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_now_cannot_be_chosen() {
        let lines = written(&menu(&face(true, false)));
        assert!(lines.contains(&"Start: Start".to_owned()), "{lines:?}");
        for off in ["- Pause:", "  - 15 minutes: Pause(Minutes(15))", "- Finish and pause: FinishAndPause"] {
            assert!(lines.contains(&off.to_owned()), "{off} is not in {lines:?}");
        }
        // Neither to look nor to leave depends on what happens.
        assert!(lines.ends_with(&["Open: Open(Home)".to_owned(), "Quit: Quit".to_owned()]), "{lines:?}");
    }

    #[test]
    fn a_name_with_a_mark_in_it_makes_no_shortcut() {
        assert_eq!(spelled("AMD_GPU & co", '_'), "AMD__GPU & co");
        assert_eq!(spelled("AMD_GPU & co", '&'), "AMD_GPU && co");
    }
}
