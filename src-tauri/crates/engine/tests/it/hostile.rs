use std::io::{ErrorKind, Read};

use engine::gguf::{Error, File, Limits, TensorType};
use engine::{Model, ModelError, synthetic};

fn read(bytes: &[u8]) -> Result<File, Error> {
    File::read(&mut &*bytes, &Limits::default())
}

fn refused(bytes: &[u8]) -> Error {
    match read(bytes) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

fn header(tensors: u64, pairs: u64) -> Vec<u8> {
    [&b"GGUF"[..], &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &pairs.to_le_bytes()].concat()
}

fn info(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((shape.len() as u32).to_le_bytes());
    bytes.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// A file of tensors only, with so many bytes of data.
fn tensors(infos: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut bytes = header(infos.len() as u64, 0);
    bytes.extend(infos.concat());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

/// A file of one pair only: its type and the bytes of its value.
fn pair(kind: u32, value: &[u8]) -> Vec<u8> {
    [header(0, 1), text("key"), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

#[test]
fn a_file_cut_at_any_place_is_refused_and_nothing_panics() {
    let whole = synthetic::tiny();
    let header_end = whole.len() - 1_100_000;
    // Every place in the beginning, then steps that meet every section.
    let places = (0..2_000).chain((2_000..whole.len()).step_by(1009)).chain([header_end, whole.len() - 33]);
    for place in places {
        let error = refused(&whole[..place]);
        assert!(matches!(error, Error::CutShort { .. }), "cut at {place}: {error}");
    }
    assert!(read(&whole).is_ok());
}

#[test]
fn changed_bytes_never_panic() {
    let whole = synthetic::tiny();
    let mut state = 1_u32;
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Mostly the header, where bytes mean something.
            let place = (state >> 8) as usize % if round % 4 == 0 { bytes.len() } else { 20_000 };
            bytes[place] ^= 1 << (state % 8);
        }
        // Whether it is refused depends on what was hit; only that it comes back counts.
        drop(Model::read(&mut bytes.as_slice(), Limits::default()));
    }
}

#[test]
fn another_magic_or_version_is_refused() {
    assert!(matches!(refused(b"GGML\x03\0\0\0"), Error::NotGguf { magic } if &magic == b"GGML"));
    for version in [0_u32, 1, 2, 4, 0x0300_0000] {
        let bytes = [&b"GGUF"[..], &version.to_le_bytes(), &[0; 16]].concat();
        assert!(matches!(refused(&bytes), Error::Version { version: found } if found == version));
    }
}

#[test]
fn counts_and_lengths_are_refused_before_anything_is_allocated() {
    assert!(matches!(refused(&header(u64::MAX, 0)), Error::TooMany { what: "tensors", .. }));
    assert!(matches!(refused(&header(0, u64::MAX)), Error::TooMany { what: "key-value pairs", .. }));
    let huge = u64::MAX.to_le_bytes();
    assert!(matches!(refused(&[header(0, 1), huge.to_vec()].concat()), Error::TooMany { .. }), "key length");
    assert!(matches!(refused(&pair(8, &huge)), Error::TooMany { .. }), "text length");
    for kind in [0_u32, 4, 8, 12] {
        let array = [&kind.to_le_bytes()[..], &huge].concat();
        assert!(matches!(refused(&pair(9, &array)), Error::TooMany { .. }), "array of {kind}");
        // Within the limit, but the file does not have them.
        let array = [&kind.to_le_bytes()[..], &4_000_000_u64.to_le_bytes()].concat();
        assert!(matches!(refused(&pair(9, &array)), Error::CutShort { .. }), "array of {kind}");
    }
    let limits = Limits { header_bytes: 100, ..Limits::default() };
    let long = pair(8, &text(&"x".repeat(200)));
    assert!(matches!(File::read(&mut long.as_slice(), &limits), Err(Error::TooLarge { .. })));
}

#[test]
fn a_file_longer_than_admitted_is_refused_even_if_its_end_means_nothing() {
    let limits = Limits { file_bytes: 1000, ..Limits::default() };
    let endless = header(0, 0);
    let mut reader = endless.as_slice().chain(std::io::repeat(0));
    assert!(matches!(File::read(&mut reader, &limits), Err(Error::TooLarge { .. })));
}

#[test]
fn weights_that_main_memory_has_no_room_for_are_refused_with_both_numbers_before_they_are_read() {
    let limits = |memory| Limits { memory, ..Limits::default() };
    // Two tensors of 256 bytes, of which the file has none.
    let cut = tensors(&[info("a", &[64], 0, 0), info("b", &[64], 0, 256)], 0);
    let read = |memory| File::read(&mut cut.as_slice(), &limits(memory)).err().unwrap();
    let error = read(Some(511));
    assert!(matches!(error, Error::NoRoom { bytes: 512, room: 511 }), "{error}");
    assert!(error.to_string().contains("512") && error.to_string().contains("511"));
    assert!(matches!(read(Some(512)), Error::CutShort { .. }) && matches!(read(None), Error::CutShort { .. }));
}

#[test]
fn impossible_values_are_refused() {
    assert!(matches!(refused(&pair(13, &[])), Error::ValueType { id: 13 }));
    assert!(matches!(refused(&pair(7, &[2])), Error::NotBool { value: 2 }));
    assert!(matches!(refused(&pair(8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])), Error::NotText { .. }));
    let nested = [9_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    assert!(matches!(refused(&pair(9, &nested)), Error::NestedArray));
    let unknown = [99_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    assert!(matches!(refused(&pair(9, &unknown)), Error::ValueType { id: 99 }));
    let twice = [header(0, 2), text("key"), vec![0, 0, 0, 0, 1], text("key"), vec![0, 0, 0, 0, 1]].concat();
    assert!(matches!(refused(&twice), Error::DuplicateKey { key } if key == "key"));
}

#[test]
fn impossible_alignments_are_refused() {
    for alignment in [0_u32, 4, 24, 1 << 21] {
        let bytes =
            [header(0, 1), text("general.alignment"), 4_u32.to_le_bytes().to_vec(), alignment.to_le_bytes().to_vec()]
                .concat();
        assert!(matches!(refused(&bytes), Error::Alignment { alignment: found } if found == u64::from(alignment)));
    }
    let as_text = [header(0, 1), text("general.alignment"), 8_u32.to_le_bytes().to_vec(), text("32")].concat();
    assert!(matches!(refused(&as_text), Error::Alignment { alignment: 0 }));
}

#[test]
fn tensors_that_overlap_lie_outside_or_off_the_grid_are_refused() {
    let good = tensors(&[info("a", &[32], 0, 0), info("b", &[32], 0, 128)], 256);
    assert!(read(&good).is_ok());
    let overlap = tensors(&[info("a", &[32], 0, 0), info("b", &[32], 0, 96)], 256);
    assert!(matches!(refused(&overlap), Error::Overlap { name } if name == "b"));
    let same = tensors(&[info("a", &[32], 0, 0), info("b", &[32], 0, 0)], 256);
    assert!(matches!(refused(&same), Error::Overlap { .. }));
    let off_grid = tensors(&[info("a", &[32], 0, 16)], 256);
    assert!(matches!(refused(&off_grid), Error::Misaligned { offset: 16, .. }));
    let far = tensors(&[info("a", &[32], 0, u64::MAX - 31)], 256);
    assert!(matches!(refused(&far), Error::OutOfRange { .. }));
    let behind_the_end = tensors(&[info("a", &[32], 0, 256)], 256);
    assert!(matches!(refused(&behind_the_end), Error::CutShort { section: "tensor data" }));
    let twice = tensors(&[info("a", &[32], 0, 0), info("a", &[32], 0, 128)], 256);
    assert!(matches!(refused(&twice), Error::DuplicateTensor { .. }));
}

#[test]
fn absurd_shapes_are_refused() {
    for shape in [&[][..], &[0], &[32, 0], &[1; 5], &[u64::MAX], &[1 << 40, 1 << 40], &[1 << 32, 1 << 32, 1 << 32]] {
        let error = refused(&tensors(&[info("a", shape, 0, 0)], 64));
        assert!(matches!(error, Error::Shape { .. } | Error::OutOfRange { .. }), "{shape:?}: {error}");
    }
    for kind in [3_u32, 8] {
        let half_a_block = tensors(&[info("a", &[33], kind, 0)], 64);
        assert!(matches!(refused(&half_a_block), Error::Shape { .. }), "type {kind}");
    }
    let claims_a_terabyte = tensors(&[info("a", &[1 << 38], 0, 0)], 64);
    assert!(matches!(refused(&claims_a_terabyte), Error::OutOfRange { .. }));
    let claims_what_is_admitted = tensors(&[info("a", &[1 << 33], 0, 0)], 64);
    assert!(matches!(refused(&claims_what_is_admitted), Error::CutShort { .. }));
}

#[test]
fn tensor_types_that_are_not_supported_are_refused_by_name() {
    for (id, name) in [(10, "Q2_K"), (20, "IQ4_NL"), (39, "MXFP4"), (1000, "unknown")] {
        let error = refused(&tensors(&[info("a", &[256], id, 0)], 1024));
        assert!(matches!(&error, Error::UnsupportedTensorType { name: found, .. } if *found == name), "{error}");
        let list = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";
        assert_eq!(error.to_string(), format!("tensor type {name} (number {id}) is not supported; {list} are"));
        let listed: Vec<&str> = list.split([',', ' ']).filter(|word| !["", "and"].contains(word)).collect();
        assert_eq!(listed, TensorType::ALL.map(TensorType::name));
    }
}

/// Gives seven bytes at a time and is interrupted before each.
struct Slow<'a> {
    bytes: &'a [u8],
    interrupted: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let part = self.bytes.len().min(out.len()).min(7);
        out[..part].copy_from_slice(&self.bytes[..part]);
        self.bytes = &self.bytes[part..];
        Ok(part)
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(ErrorKind::PermissionDenied.into())
    }
}

#[test]
fn a_reader_that_fails_or_gives_few_bytes_at_a_time_is_coped_with() {
    let whole = synthetic::tiny();
    let slow = File::read(&mut Slow { bytes: &whole, interrupted: false }, &Limits::default()).unwrap();
    assert_eq!(slow.sha256, read(&whole).unwrap().sha256);
    assert!(matches!(File::read(&mut Broken, &Limits::default()), Err(Error::Io(_))));
}

#[test]
fn the_hash_covers_every_byte_and_what_follows_the_tensors() {
    use sha2::Digest;
    let mut bytes = synthetic::tiny();
    bytes.extend([1, 2, 3]);
    assert_eq!(read(&bytes).unwrap().sha256, <[u8; 32]>::from(sha2::Sha256::digest(&bytes)));
}

/// Replaces bytes of the tiny model by as many others, and reads it as a model.
fn changed(from: &[u8], to: &[u8]) -> ModelError {
    let mut bytes = synthetic::tiny();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    match Model::read(&mut bytes.as_slice(), Limits::default()) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

/// The bytes of a numeric pair.
fn number(key: &str, value: u32) -> Vec<u8> {
    [key.as_bytes(), &4_u32.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn models_that_would_be_computed_wrongly_are_refused_by_name() {
    assert!(matches!(changed(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba"),
        ModelError::Architecture { name } if name == "mamba"));
    assert!(changed(b"smollm", b"qwen-2").to_string().contains("qwen-2"));
    assert!(matches!(changed(b"gpt2", b"bert"), ModelError::Tokenizer(_)));
    assert!(matches!(changed(b"blk.3.ffn_up.weight", b"blk.3.ffn_up.weighT"), ModelError::MissingTensor { .. }));
    assert!(matches!(changed(b"output.weight", b"rope_f.weight"), ModelError::UnexpectedTensor { .. }));
}

#[test]
fn parameters_that_contradict_the_tensors_or_each_other_are_refused() {
    let parameter = |key: &str, from: u32, to: u32| changed(&number(key, from), &number(key, to));
    for (key, from, to) in [
        ("llama.block_count", 4, 0),
        ("llama.block_count", 4, u32::MAX),
        ("llama.embedding_length", 128, 0),
        ("llama.attention.head_count", 4, 0),
        ("llama.attention.head_count", 4, 3),
        ("llama.attention.head_count_kv", 2, 3),
        ("llama.rope.dimension_count", 32, 31),
        ("llama.rope.dimension_count", 32, 64),
        ("llama.context_length", 4096, 0),
    ] {
        let error = parameter(key, from, to);
        assert!(matches!(error, ModelError::Parameter { .. }), "{key} = {to}: {error}");
    }
    for (key, from, to) in [
        ("llama.block_count", 4, 5),
        ("llama.block_count", 4, 3),
        ("llama.embedding_length", 128, 256),
        ("llama.feed_forward_length", 192, 64),
        ("llama.attention.head_count_kv", 2, 4),
    ] {
        let error = parameter(key, from, to);
        let known = matches!(
            error,
            ModelError::TensorShape { .. }
                | ModelError::MissingTensor { .. }
                | ModelError::UnexpectedTensor { .. }
                | ModelError::Parameter { .. }
        );
        assert!(known, "{key} = {to}: {error}");
    }
    let token = changed(&number("tokenizer.ggml.eos_token_id", 2), &number("tokenizer.ggml.eos_token_id", 512));
    assert!(matches!(token, ModelError::Tokenizer(_)));
}
