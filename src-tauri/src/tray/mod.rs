//! The icon in the tray: what it shows, and what its menu asks for. Each system has its own file behind [`Tray`], which only translates;
//! what is shown is decided in [`face`], what can be chosen in [`menu`].

mod face;
#[cfg(target_os = "linux")]
mod linux;
mod menu;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::Tray;
#[cfg(windows)]
pub(crate) use windows::Tray;

pub(crate) use face::{Action, Face, PauseFor};

/// What the icon says at a glance. Its shape differs too, not only its colour. The window's dot says the same (`ui/tests/glances.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// Nothing runs, because the owner wants it so.
    Paused,
    /// Ready, or on the way to something: getting ready, freeing the card.
    Waiting,
    /// Questions are being answered.
    Working,
    /// It goes on by itself, but somebody should look.
    Attention,
    /// Only the owner can help.
    Problem,
}

/// A picture: its edge in pixels, and red, green, blue, alpha of each pixel.
pub(crate) struct Picture {
    pub(crate) edge: u32,
    pub(crate) rgba: Vec<u8>,
}

/// The icon in the sizes trays ask for.
pub(crate) fn pictures(glance: Glance) -> Vec<Picture> {
    macro_rules! sizes {
        ($name:literal) => {
            [
                &include_bytes!(concat!("../../../icons/tray/", $name, "-22.png"))[..],
                &include_bytes!(concat!("../../../icons/tray/", $name, "-32.png"))[..],
                &include_bytes!(concat!("../../../icons/tray/", $name, "-64.png"))[..],
            ]
        };
    }
    let files = match glance {
        Glance::Paused => sizes!("paused"),
        Glance::Waiting => sizes!("waiting"),
        Glance::Working => sizes!("working"),
        Glance::Attention => sizes!("attention"),
        Glance::Problem => sizes!("problem"),
    };
    // A picture of ours that can't be read is left out; a test reads all of them.
    files.into_iter().filter_map(picture).collect()
}

fn picture(file: &[u8]) -> Option<Picture> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().ok()?;
    let mut rgba = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut rgba).ok()?;
    rgba.truncate(frame.buffer_size());
    let square = frame.width == frame.height && frame.color_type == png::ColorType::Rgba;
    square.then_some(Picture { edge: frame.width, rgba })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_picture_of_its_own_in_every_size() {
        let all = [Glance::Paused, Glance::Waiting, Glance::Working, Glance::Attention, Glance::Problem];
        let mut seen = Vec::new();
        for glance in all {
            let pictures = pictures(glance);
            assert_eq!(pictures.iter().map(|picture| picture.edge).collect::<Vec<_>>(), [22, 32, 64]);
            for picture in pictures {
                assert_eq!(picture.rgba.len(), (picture.edge * picture.edge * 4) as usize);
                assert!(!seen.contains(&picture.rgba), "{glance:?} looks like another state");
                seen.push(picture.rgba);
            }
        }
    }
}
