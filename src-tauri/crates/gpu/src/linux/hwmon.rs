//! The sensors of a card: `hwmon/hwmonN` in its folder.

use std::path::{Path, PathBuf};

use super::{attributes, list};
use crate::card::Why;
use crate::files;

/// Most sensors of one kind that are looked at.
const MOST_SENSORS: usize = 16;

#[derive(Debug)]
pub(crate) struct Heat {
    pub(crate) temperature: Result<f32, Why>,
    pub(crate) hotspot: Option<f32>,
    pub(crate) power: Result<f32, Why>,
    pub(crate) fan: Option<f32>,
    pub(crate) energy: Option<u64>,
}

/// Reads the sensors.
pub(crate) fn read(folder: &Path) -> Heat {
    let Some(sensors) = sensors(folder) else {
        let not_told = Err(Why::NotTold);
        return Heat { temperature: not_told.clone(), hotspot: None, power: not_told, fan: None, energy: None };
    };
    let numbers = numbers(&sensors, "temp", "_input");
    let labelled: Vec<(usize, String)> = numbers
        .iter()
        .map(|number| {
            let label = files::text(&sensors.join(format!("temp{number}_label"))).unwrap_or_default();
            (*number, label.trim().to_owned())
        })
        .collect();
    let degrees = |number: usize| {
        files::text(&sensors.join(format!("temp{number}_input"))).and_then(|text| attributes::millidegrees(&text))
    };
    let called = |wanted: &str| labelled.iter().find(|(_, label)| label == wanted).map(|(number, _)| *number);
    // amdgpu says "edge", xe "pkg"; the others have one sensor without a label.
    let chip = called("edge").or_else(|| called("pkg")).or_else(|| numbers.first().copied());
    Heat {
        temperature: chip.map_or(Err(Why::NotTold), degrees),
        hotspot: called("junction").and_then(|number| degrees(number).ok()),
        power: power(&sensors),
        fan: fan(&sensors),
        energy: energy(&sensors),
    }
}

/// The labels of the card's voltages.
pub(crate) fn labels(folder: &Path) -> Vec<String> {
    let Some(sensors) = sensors(folder) else { return Vec::new() };
    let label = |number: usize| files::text(&sensors.join(format!("in{number}_label"))).ok();
    numbers(&sensors, "in", "_label").into_iter().filter_map(label).map(|label| label.trim().to_owned()).collect()
}

fn sensors(folder: &Path) -> Option<PathBuf> {
    let below = folder.join("hwmon");
    list(&below).ok()?.into_iter().find(|name| name.starts_with("hwmon")).map(|name| below.join(name))
}

fn power(sensors: &Path) -> Result<f32, Why> {
    let watts = |name: &str| files::text(&sensors.join(name)).and_then(|text| attributes::microwatts(&text));
    match watts("power1_average") {
        // Processors and newer cards have the momentary value only.
        Err(Why::NotTold) => watts("power1_input"),
        other => other,
    }
}

/// How far the fan is turned up, else how fast it turns; either counts only beside its own full value, which is 255 for one driver and
/// 100 for another, and which Intel's drivers do not tell.
fn fan(sensors: &Path) -> Option<f32> {
    let number = |name: &str| files::text(&sensors.join(name)).and_then(|text| attributes::bytes(&text)).ok();
    let share = |value: &str, full: &str| attributes::share(number(value)?, number(full)?);
    share("pwm1", "pwm1_max").or_else(|| share("fan1_input", "fan1_max"))
}

/// That of the whole card where it is told apart.
fn energy(sensors: &Path) -> Option<u64> {
    let numbers = numbers(sensors, "energy", "_input");
    let label = |number: &usize| files::text(&sensors.join(format!("energy{number}_label"))).unwrap_or_default();
    let number = numbers.iter().find(|number| label(number).trim() == "card").or(numbers.first())?;
    files::text(&sensors.join(format!("energy{number}_input"))).and_then(|text| attributes::bytes(&text)).ok()
}

/// Numbers of the files `prefixNsuffix`, ascending.
fn numbers(sensors: &Path, prefix: &str, suffix: &str) -> Vec<usize> {
    let names = list(sensors).unwrap_or_default();
    let mut numbers: Vec<usize> =
        names.iter().filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.truncate(MOST_SENSORS);
    numbers
}
