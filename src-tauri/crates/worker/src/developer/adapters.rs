//! `adapters`: the graphics cards of this machine, and which one a model would run on.

use std::io::Write;

use engine::adapter::{self, Adapter, Wish};
use serde_json::json;

/// Lists the cards and says which would be chosen, and why. A machine without any is no failure: its list is empty.
pub fn adapters(wanted: Option<&str>, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let found = adapter::adapters();
    let wish = Wish { adapter: wanted.map(str::to_owned), ..Wish::default() };
    let (chosen, why) = match adapter::choose(&found, &wish) {
        Ok(chosen) => (Some(chosen.index), chosen.why),
        Err(none) => (None, none.to_string()),
    };
    let through_cuda = adapter::cuda_adapters();
    if as_json {
        let list: Vec<serde_json::Value> = found.iter().enumerate().map(|(index, one)| facts(index, one)).collect();
        let cuda = match &through_cuda {
            Ok(cards) => {
                let list: Vec<_> = cards.iter().enumerate().map(|(index, one)| facts(index, one)).collect();
                json!({"adapters": list, "why_not": null})
            }
            Err(why) => json!({"adapters": [], "why_not": why}),
        };
        writeln!(out, "{}", json!({"adapters": list, "chosen": chosen, "why": why, "cuda": cuda}))?;
        return Ok(());
    }
    for (index, adapter) in found.iter().enumerate() {
        let mark = if chosen == Some(index) { '*' } else { ' ' };
        writeln!(out, "{mark} {index}: {}, {}, {}", adapter.describe(), adapter.kind.name(), adapter.api)?;
    }
    writeln!(out, "{why}")?;
    match through_cuda {
        Ok(cards) => {
            for (index, card) in cards.iter().enumerate() {
                let unusable = card.unusable.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
                writeln!(out, "with --backend cuda {index}: {}{unusable}", card.describe())?;
            }
        }
        Err(why) => writeln!(out, "not through CUDA: {why}")?,
    }
    Ok(())
}

/// Cards that can compute, through every way there is. Software that plays a card is there always and means nothing.
#[cfg(windows)]
pub fn cards_in_walls() -> Vec<sandbox::mode::Card> {
    let found = adapter::adapters().into_iter().chain(adapter::cuda_adapters().unwrap_or_default());
    let usable = found.filter(|card| card.unusable.is_none() && card.kind != adapter::AdapterKind::Software);
    usable.map(|card| sandbox::mode::Card { api: card.api.to_owned(), name: card.name }).collect()
}

fn facts(index: usize, adapter: &Adapter) -> serde_json::Value {
    json!({
        "index": index,
        "name": adapter.name,
        "driver": adapter.driver,
        "api": adapter.api,
        "kind": adapter.kind.name(),
        "vendor": adapter.vendor_name(),
        "vendor_id": adapter.vendor,
        "device_id": adapter.device,
        "pci": adapter.pci,
        "max_binding_bytes": adapter.binding_bytes,
        "max_buffer_bytes": adapter.buffer_bytes,
        "half_floats": adapter.half_floats,
        "subgroup_sizes": adapter.subgroup.map(|(least, most)| [least, most]),
        "unusable": adapter.unusable,
    })
}
