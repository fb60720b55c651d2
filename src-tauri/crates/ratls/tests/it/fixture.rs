//! Recordings of genuine programs, from tests/fixtures/cocoon.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// The whole of what went one way in one recorded connection.
pub(crate) struct Stream {
    /// What each read of the recorder returned.
    pub(crate) reads: Vec<Vec<u8>>,
    /// Whether the recording shows the end.
    pub(crate) ended: bool,
    /// Unix time of the first read.
    pub(crate) begun: u64,
}

impl Stream {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.reads.concat()
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/cocoon").join(name)
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// One direction of a recording; offsets must join without a gap.
pub(crate) fn stream(name: &str, tap: &str, direction: &str) -> Stream {
    let mut stream = Stream { reads: Vec::new(), ended: false, begun: 0 };
    let mut length = 0;
    for line in text(name).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["tap"] != tap || line["dir"] != direction {
            continue;
        }
        if let Some(event) = line["ev"].as_str() {
            stream.ended |= event == "eof";
            continue;
        }
        assert_eq!(line["off"].as_u64().unwrap(), length, "{name} has a gap");
        if length == 0 {
            stream.begun = line["t"].as_f64().unwrap() as u64;
        }
        let bytes = hex::decode(line["hex"].as_str().unwrap()).unwrap();
        length += bytes.len() as u64;
        stream.reads.push(bytes);
    }
    stream
}

/// The DER of a recorded certificate.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    from_pem(&text(&format!("certs/{name}_cert.pem")))
}

pub(crate) fn from_pem(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}
