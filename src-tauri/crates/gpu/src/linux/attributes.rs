//! One short text of sysfs or `/proc`, turned into one fact. Whatever the text is, nothing panics.

use crate::card::{PciAddress, Why};
use crate::parse::{celsius, line, watts};

/// The first 16-bit number in hex, as `vendor` and `device` of a PCI device have it.
pub(crate) fn hex16(text: &str) -> Result<u16, Why> {
    u16::from_str_radix(text.trim().trim_start_matches("0x"), 16).map_err(|_| Why::Nonsense)
}

/// A PCI class: the upper byte says what kind of thing it is.
pub(crate) fn is_display(class: &str) -> bool {
    u32::from_str_radix(class.trim().trim_start_matches("0x"), 16).is_ok_and(|class| class >> 16 == 0x03)
}

/// A part of a whole, in percent. A part above its whole is nonsense, and so is a whole of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<f32> {
    (whole > 0 && part <= whole).then(|| (part as f64 * 100.0 / whole as f64) as f32)
}

/// A count, of bytes mostly.
pub(crate) fn bytes(text: &str) -> Result<u64, Why> {
    text.trim().parse().map_err(|_| Why::Nonsense)
}

/// Thousandths of a degree, as hwmon has them.
pub(crate) fn millidegrees(text: &str) -> Result<f32, Why> {
    let thousandths: i64 = text.trim().parse().map_err(|_| Why::Nonsense)?;
    celsius(thousandths as f32 / 1000.0)
}

/// Millionths of a watt, as hwmon has them.
pub(crate) fn microwatts(text: &str) -> Result<f32, Why> {
    let millionths: u64 = text.trim().parse().map_err(|_| Why::Nonsense)?;
    watts(millionths as f32 / 1_000_000.0)
}

/// A share of 100.
pub(crate) fn percent(text: &str) -> Result<f32, Why> {
    let percent: u8 = text.trim().parse().map_err(|_| Why::Nonsense)?;
    if percent <= 100 { Ok(f32::from(percent)) } else { Err(Why::Nonsense) }
}

/// How the system's power saving has a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wakefulness {
    Awake,
    Asleep,
}

/// `power/runtime_status`. A device on its way to sleep counts as asleep: asking would turn it round.
pub(crate) fn wakefulness(text: &str) -> Wakefulness {
    match text.trim() {
        "suspended" | "suspending" => Wakefulness::Asleep,
        _ => Wakefulness::Awake,
    }
}

/// What `uevent` of a device says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uevent {
    pub(crate) driver: Option<String>,
    pub(crate) address: Option<PciAddress>,
}

pub(crate) fn uevent(text: &str) -> Uevent {
    let mut found = Uevent::default();
    for text in text.lines() {
        match text.split_once('=') {
            Some(("DRIVER", driver)) => found.driver = line(driver).ok(),
            Some(("PCI_SLOT_NAME", address)) => found.address = address.trim().parse().ok(),
            _ => {}
        }
    }
    found
}

/// `Model:` of `/proc/driver/nvidia/gpus/*/information`.
pub(crate) fn nvidia_model(text: &str) -> Result<String, Why> {
    let model = text.lines().find_map(|text| text.strip_prefix("Model:")).ok_or(Why::Nonsense)?;
    line(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_become_units() {
        assert_eq!(millidegrees("54000\n"), Ok(54.0));
        assert_eq!(millidegrees("-5000\n"), Ok(-5.0));
        assert_eq!(microwatts("29000000\n"), Ok(29.0));
        assert_eq!(percent("7\n"), Ok(7.0));
        assert_eq!(bytes("25753026560\n"), Ok(25_753_026_560));
        assert_eq!(hex16("0x10de\n"), Ok(0x10de));
    }

    #[test]
    fn what_cannot_be_true_is_not_believed() {
        assert_eq!(millidegrees("511000"), Err(Why::Nonsense));
        assert_eq!(microwatts("4294967295000000"), Err(Why::Nonsense));
        assert_eq!(percent("101"), Err(Why::Nonsense));
        assert_eq!(percent("-1"), Err(Why::Nonsense));
        assert_eq!(bytes(""), Err(Why::Nonsense));
        assert_eq!((share(51, 255), share(0, 255), share(100, 100)), (Some(20.0), Some(0.0), Some(100.0)));
        assert_eq!((share(65_535, 3_300), share(0, 0), share(u64::MAX, u64::MAX)), (None, None, Some(100.0)));
    }

    #[test]
    fn display_classes_are_all_of_group_three() {
        assert!(is_display("0x030000\n") && is_display("0x030200") && is_display("0x038000"));
        assert!(!is_display("0x040300") && !is_display("0x0c0330") && !is_display("") && !is_display("0x300"));
    }

    #[test]
    fn a_device_that_falls_asleep_is_not_turned_round() {
        assert_eq!(wakefulness("suspending\n"), Wakefulness::Asleep);
        assert_eq!(wakefulness("suspended\n"), Wakefulness::Asleep);
        for awake in ["active\n", "resuming", "unsupported", "error", ""] {
            assert_eq!(wakefulness(awake), Wakefulness::Awake, "{awake}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}") {
            let _ = (hex16(&text), bytes(&text), millidegrees(&text), microwatts(&text), percent(&text), line(&text));
            let _ = (is_display(&text), wakefulness(&text), uevent(&text), nvidia_model(&text));
            let _ = (crate::parse::has_flag(&text, "x"), text.parse::<PciAddress>());
        }
    }
}
