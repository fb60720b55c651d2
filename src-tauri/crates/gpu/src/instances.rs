//! Names of Windows' performance counters, turned into whom they count: `pid_1234_luid_0x0_0xD2F3_phys_0_eng_0_engtype_3D`.
//! Compiled on every system, so that its tests run everywhere.

/// Whom an instance of a counter of graphics counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has such counters"))]
pub(crate) struct Instance {
    /// `None`: the whole card.
    pub(crate) pid: Option<u32>,
    /// The card, until the machine restarts: upper and lower half.
    pub(crate) luid: (u32, u32),
    /// The engine's number and kind, for counters of engines.
    pub(crate) engine: Option<(u32, String)>,
}

/// `None`: the name has another form.
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has such counters"))]
pub(crate) fn instance(name: &str) -> Option<Instance> {
    let (pid, rest) = match name.strip_prefix("pid_") {
        Some(rest) => {
            let (pid, rest) = rest.split_once('_')?;
            (Some(pid.parse().ok()?), rest)
        }
        None => (None, name),
    };
    let mut parts = rest.strip_prefix("luid_")?.splitn(3, '_');
    let luid = (half(parts.next()?)?, half(parts.next()?)?);
    let rest = parts.next().unwrap_or("");
    let engine = rest.split_once("_eng_").and_then(|(_, rest)| {
        let (number, kind) = rest.split_once("_engtype_")?;
        Some((number.parse().ok()?, kind.to_owned()))
    });
    Some(Instance { pid, luid, engine })
}

fn half(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_engine_of_a_process_is_told_apart() {
        let found = instance("pid_4312_luid_0x00000000_0x0000D2F3_phys_0_eng_3_engtype_Compute_0").unwrap();
        assert_eq!((found.pid, found.luid), (Some(4312), (0, 0xd2f3)));
        assert_eq!(found.engine, Some((3, "Compute_0".to_owned())));
    }

    #[test]
    fn memory_of_a_card_or_a_process_has_no_engine() {
        let card = instance("luid_0x00000001_0x0000D2F3_phys_0").unwrap();
        assert_eq!((card.pid, card.luid, card.engine), (None, (1, 0xd2f3), None));
        assert_eq!(instance("pid_7_luid_0x0_0x1_phys_0").unwrap().pid, Some(7));
    }

    #[test]
    fn other_names_are_none() {
        for name in ["", "_Total", "pid_x_luid_0x0_0x1", "luid_1_2", "luid_0x0", "pid_7"] {
            assert_eq!(instance(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_survived(name in "(pid_|luid_|0x|phys_|eng_|engtype_|[0-9a-f]{0,9}|_|.){0,12}") {
            let _ = instance(&name);
        }
    }
}
