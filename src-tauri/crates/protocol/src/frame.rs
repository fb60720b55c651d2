//! Frames: `length | number | payload`, each direction numbered from zero.

use crate::Error;

/// The largest payload of a frame, in bytes.
pub const MAX_FRAME: usize = 1 << 24;

/// The smallest payload: a constructor id.
const MIN_FRAME: u32 = 4;

const HEADER: usize = 8;

/// Cuts the incoming stream into payloads. Holds at most one frame and what was passed in behind it.
#[derive(Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    due: u32,
}

impl FrameReader {
    /// Takes bytes in. Nothing is reserved for bytes that have only been announced.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole payload, if there is one. Length and number are judged as soon as they are there.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some(length) = word(waiting, 0) else {
            return Ok(None);
        };
        if length < MIN_FRAME || length as usize > MAX_FRAME {
            return Err(Error::FrameLength { length });
        }
        let Some(number) = word(waiting, 4) else {
            return Ok(None);
        };
        if number != self.due {
            return Err(Error::FrameOrder { wanted: self.due, got: number });
        }
        let end = HEADER + length as usize;
        let Some(payload) = waiting.get(HEADER..end) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.start += end;
        self.due = self.due.wrapping_add(1);
        Ok(Some(payload))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Numbers the outgoing frames.
#[derive(Default)]
pub(crate) struct FrameWriter {
    next: u32,
}

/// A payload was larger than a frame can be; nothing was sent and no number was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl FrameWriter {
    /// Wraps a payload.
    pub(crate) fn wrap(&mut self, payload: &[u8]) -> Result<Vec<u8>, TooLarge> {
        if payload.len() > MAX_FRAME || payload.len() < MIN_FRAME as usize {
            return Err(TooLarge);
        }
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(&self.next.to_le_bytes());
        frame.extend_from_slice(payload);
        self.next = self.next.wrapping_add(1);
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_chunking() {
        let mut writer = FrameWriter::default();
        let payloads: Vec<Vec<u8>> = (4u8..40).map(|n| vec![n; usize::from(n)]).collect();
        let wire: Vec<u8> = payloads.iter().flat_map(|payload| writer.wrap(payload).unwrap()).collect();
        for chunk in [1, 2, 3, 7, 64, wire.len()] {
            let mut reader = FrameReader::default();
            let mut got = Vec::new();
            for bytes in wire.chunks(chunk) {
                reader.push(bytes);
                while let Some(payload) = reader.next().unwrap() {
                    got.push(payload);
                }
            }
            assert_eq!(got, payloads);
            assert!(reader.buffer.len() <= wire.len());
        }
    }

    #[test]
    fn a_length_outside_the_limits_is_refused_before_its_bytes_come() {
        for length in [0u32, 3, (1 << 24) + 1, u32::MAX] {
            let mut reader = FrameReader::default();
            reader.push(&length.to_le_bytes());
            assert_eq!(reader.next(), Err(Error::FrameLength { length }));
        }
    }

    #[test]
    fn a_frame_out_of_turn_is_refused() {
        let mut reader = FrameReader::default();
        reader.push(&[4, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(reader.next(), Err(Error::FrameOrder { wanted: 0, got: 5 }));
    }

    #[test]
    fn what_is_too_large_uses_no_number_up() {
        let mut writer = FrameWriter::default();
        assert_eq!(writer.wrap(&vec![0; MAX_FRAME + 1]), Err(TooLarge));
        assert_eq!(writer.wrap(&[]), Err(TooLarge));
        assert_eq!(writer.wrap(&[1, 2, 3, 4]).unwrap()[4..8], [0, 0, 0, 0]);
        assert_eq!(writer.wrap(&vec![0; MAX_FRAME]).unwrap().len(), MAX_FRAME + 8);
    }
}
