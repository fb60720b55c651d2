//! The pipe between app and worker. Both ends are ours, but the worker's end may have been taken over.

use link::frame::{Decoder, encode};
use link::{FromWorker, ToWorker};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes as the pipe in either direction, in pieces whose length the first byte gives.
pub fn link_frames(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let length = usize::from(*length).max(1);
    pass::<ToWorker>(rest, length);
    pass::<FromWorker>(rest, length);
}

fn pass<M: Serialize + DeserializeOwned + PartialEq>(data: &[u8], length: usize) {
    let mut decoder = Decoder::<M>::new();
    let mut frames = 0;
    for piece in data.chunks(length) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    frames += 1;
                    let Ok(bytes) = encode(&frame) else { panic!("a frame that was read cannot be written") };
                    let mut again = Decoder::<M>::new();
                    again.push(&bytes);
                    assert!(
                        again.next().ok().flatten().is_some_and(|other| other == frame),
                        "a frame changed on its way"
                    );
                    assert!(again.buffered() == 0, "a frame is written with something behind it");
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(frames <= data.len(), "more frames than bytes");
}
