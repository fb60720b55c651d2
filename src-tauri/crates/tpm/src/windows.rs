//! Windows: its TPM services take commands and give the log, its key provider makes and keeps the keys.
//!
//! Both are interfaces of C. What they say goes as it is to [`crate::kept`], which decides. What no real Windows has confirmed yet stands in
//! `docs/windows.md`.
#![expect(unsafe_code, reason = "Windows' own functions are unsafe ones")]

mod provider;
pub(crate) mod registry;
pub(crate) mod services;

pub(crate) use provider::Provider;

#[cfg(test)]
mod tests {
    use crate::presence::Presence;
    use crate::system;
    use std::path::Path;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_windows_without_a_tpm_says_so_and_one_with_a_tpm_names_its_maker() {
        let presence = system::presence();
        println!("this system says: {presence:?}");
        let opened = system::open(None, PATIENCE);
        if presence == Presence::Usable {
            assert!(!opened.unwrap().about().unwrap().maker.is_empty());
        } else {
            let why = opened.err().expect("a TPM was opened where there is none").to_string();
            println!("and when it is opened: {why}");
            assert!(why.contains("Windows"), "{why}");
            assert_eq!(system::boot_log(), None);
        }
    }

    #[test]
    fn on_windows_a_tpm_has_no_place_in_the_file_system() {
        let why = system::open(Some(Path::new(r"\\.\tpm")), PATIENCE).err().unwrap().to_string();
        assert!(why.contains("no place in the file system"), "{why}");
    }

    #[test]
    fn where_no_key_was_made_there_is_none_to_forget() {
        if matches!(system::presence(), Presence::Absent | Presence::TooOld) {
            assert_eq!(system::forget().unwrap(), 0);
        }
    }

    #[test]
    fn the_registry_says_how_this_windows_was_started_or_nothing() {
        let machine = system::machine();
        println!("Secure Boot {:?}, EFI {:?}", machine.secure_boot, machine.efi);
        assert!(machine.secure_boot.is_none() || machine.efi != Some(false));
    }
}
