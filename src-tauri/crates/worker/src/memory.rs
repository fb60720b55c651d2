//! How much of the machine's memory a model may take.

/// Least that is left to the desktop and its programs.
const LEAST_LEFT: u64 = 512 << 20;

/// What may be taken of so many bytes that a new process could have: all but a tenth, or but 512 MB where that is more.
///
/// Linux grants more memory than there is and ends programs when it is used, so what is granted has to be decided here.
pub fn room(available: u64) -> u64 {
    available.saturating_sub((available / 10).max(LEAST_LEFT))
}

/// The same of what this machine has now; `None` where the system does not tell.
pub fn room_now() -> Option<u64> {
    sandbox::available_memory().map(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_what_is_free_or_half_a_gigabyte_stays_with_the_desktop() {
        let (gigabyte, megabyte) = (1 << 30, 1 << 20);
        assert_eq!(room(20 * gigabyte), 18 * gigabyte);
        assert_eq!(room(2 * gigabyte), 1536 * megabyte);
        assert_eq!((room(512 * megabyte), room(3), room(0)), (0, 0, 0));
        assert_eq!(room(u64::MAX), u64::MAX - u64::MAX / 10);
        assert!(room_now().is_some(), "Linux and Windows tell");
    }
}
