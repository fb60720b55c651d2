//! What cards are called, from the two lists that Linux machines carry.
//!
//! `amdgpu.ids` (libdrm) tells variants of one chip apart; `pci.ids` knows every maker.

use crate::card::PciIds;

/// Looks in `amdgpu.ids`: lines of `device,<tab>revision,<tab>name`.
pub(crate) fn in_amdgpu_ids(list: &str, ids: PciIds) -> Option<String> {
    let revision = ids.revision?;
    list.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut parts = line.splitn(3, ',').map(str::trim);
        let device = u16::from_str_radix(parts.next()?, 16).ok()?;
        let variant = u8::from_str_radix(parts.next()?, 16).ok()?;
        (device == ids.device && variant == revision).then(|| parts.next().and_then(whole)).flatten()
    })
}

/// Looks in `pci.ids`: makers at the line's start, their devices after one tab. In `GA106 [GeForce RTX 3060]` the words in
/// brackets are what is printed on the box.
pub(crate) fn in_pci_ids(list: &str, ids: PciIds) -> Option<String> {
    let mut lines = list.lines();
    let maker = lines.find_map(|line| entry(line, ids.vendor))?;
    let device = lines
        .take_while(|line| line.starts_with('\t') || line.starts_with('#') || line.is_empty())
        .filter_map(|line| line.strip_prefix('\t'))
        .find_map(|line| entry(line, ids.device))?;
    let device = device.rsplit_once('[').map_or(device, |(_, rest)| rest.trim_end_matches(']'));
    let maker = match ids.vendor {
        0x10de => "NVIDIA",
        0x1002 | 0x1022 => "AMD",
        0x8086 => "Intel",
        _ => maker,
    };
    if device.starts_with(maker) { whole(device) } else { whole(&format!("{maker} {device}")) }
}

/// `10de  NVIDIA Corporation`: the words after the number, if it is the number.
fn entry(line: &str, number: u16) -> Option<&str> {
    let (digits, name) = line.split_once("  ")?;
    (digits.len() == 4 && u16::from_str_radix(digits, 16) == Ok(number)).then(|| name.trim())
}

fn whole(name: &str) -> Option<String> {
    crate::parse::line(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AMD: &str = "# a list\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n";
    const PCI: &str = "# a list\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900M]\n\
                       10de  NVIDIA Corporation\n\t2503  GA106 [GeForce RTX 3060]\n\t\t1043 87fe  a board\n\t2504  GA106 [GeForce RTX 3060 Lite Hash Rate]\n\
                       1af4  Red Hat, Inc.\n\t1050  Virtio 1.0 GPU\n";

    fn ids(vendor: u16, device: u16, revision: u8) -> PciIds {
        PciIds { vendor, device, revision: Some(revision) }
    }

    #[test]
    fn a_card_is_called_what_stands_on_the_box() {
        assert_eq!(in_amdgpu_ids(AMD, ids(0x1002, 0x744c, 0xc8)).unwrap(), "AMD Radeon RX 7900 XTX");
        assert_eq!(in_amdgpu_ids(AMD, ids(0x1002, 0x744c, 0x01)), None);
        assert_eq!(in_pci_ids(PCI, ids(0x1002, 0x744c, 0)).unwrap(), "AMD Radeon RX 7900 XT/7900 XTX/7900M");
        assert_eq!(in_pci_ids(PCI, ids(0x10de, 0x2504, 0)).unwrap(), "NVIDIA GeForce RTX 3060 Lite Hash Rate");
        assert_eq!(in_pci_ids(PCI, ids(0x1af4, 0x1050, 0)).unwrap(), "Red Hat, Inc. Virtio 1.0 GPU");
    }

    #[test]
    fn a_device_of_another_maker_is_not_taken() {
        assert_eq!(in_pci_ids(PCI, ids(0x10de, 0x1050, 0)), None);
        assert_eq!(in_pci_ids(PCI, ids(0x1234, 0x1050, 0)), None);
    }

    proptest! {
        #[test]
        fn any_list_is_survived(list in "([0-9a-f]{4}  |\t|,|#|\\[|\n|.){0,120}", vendor: u16, device: u16, revision: u8) {
            let _ = in_pci_ids(&list, ids(vendor, device, revision));
            let _ = in_amdgpu_ids(&list, ids(vendor, device, revision));
        }
    }
}
