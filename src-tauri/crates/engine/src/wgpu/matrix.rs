//! Weight matrices on a card.
//!
//! Every row is a number of blocks of 32 values, the last one filled up with zeros. Quants lie in one buffer and scales in another:
//! blocks of the file are not whole words long for the most part, and a kernel reads whole words. What is larger than a kernel may
//! see of one buffer is cut by rows.

use crate::fault::DeviceFault;
use crate::gguf::TensorType;

use super::gpu::Gpu;

/// Some rows of a matrix.
pub(super) struct Piece {
    /// The number of its first row.
    pub(super) first: u32,
    /// How many they are.
    pub(super) rows: u32,
    pub(super) quants: wgpu::Buffer,
    /// For the types that have any.
    pub(super) scales: Option<wgpu::Buffer>,
}

/// A matrix, or several with rows of the same form on top of each other.
pub(super) struct Matrix {
    pub(super) kind: TensorType,
    pub(super) columns: u32,
    pub(super) blocks: u32,
    pub(super) pieces: Vec<Piece>,
}

/// A matrix as the file has it.
pub(super) struct Source<'a> {
    pub(super) rows: usize,
    pub(super) bytes: &'a [u8],
}

/// Bytes of one buffer at most, even where a card allows more: allocations stay of a size that fits into fragmented memory.
const MOST: u64 = 1 << 30;
/// Bytes handed to the driver at a time.
const CHUNK: usize = 16 << 20;

impl Matrix {
    /// Brings rows to the card; no buffer has more than `limit` bytes.
    pub(super) fn upload(
        gpu: &Gpu,
        kind: TensorType,
        columns: usize,
        sources: &[Source<'_>],
        limit: u64,
    ) -> Result<Self, DeviceFault> {
        let blocks = columns.div_ceil(32);
        let row_bytes = (blocks * quant_bytes(kind)) as u64;
        let limit = limit.min(MOST).min(gpu.limits.max_storage_buffer_binding_size);
        // Pairs of rows stay together.
        let most = limit / row_bytes / 2 * 2;
        if most == 0 {
            return Err(DeviceFault::OutOfMemory {
                what: "two rows of a matrix",
                wanted: Some(2 * row_bytes),
                limit: Some(limit),
            });
        }
        let rows: usize = sources.iter().map(|source| source.rows).sum();
        let in_file = columns / kind.block_values() * kind.block_bytes();
        let mut all = sources.iter().flat_map(|source| source.bytes.chunks_exact(in_file));
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < rows {
            let count = (rows - first).min(usize::try_from(most).unwrap_or(usize::MAX));
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let quants = gpu.buffer("weights", row_bytes * count as u64, usage)?;
            let mut scales = Vec::new();
            let mut chunk = Vec::new();
            let mut written = 0;
            for (number, row) in all.by_ref().take(count).enumerate() {
                repack(kind, row, &mut chunk, &mut scales);
                chunk.resize(chunk.len().next_multiple_of(blocks * quant_bytes(kind)), 0);
                if chunk.len() >= CHUNK || number + 1 == count {
                    gpu.queue.write_buffer(&quants, written, &chunk);
                    written += chunk.len() as u64;
                    chunk.clear();
                    // What is handed over is kept twice until it is submitted.
                    let submission = gpu.queue.submit([]);
                    gpu.wait(submission)?;
                }
            }
            let scales = if scales.is_empty() {
                None
            } else {
                scales.resize(scales.len().next_multiple_of(4), 0);
                let buffer = gpu.buffer("scales of weights", scales.len() as u64, usage)?;
                gpu.queue.write_buffer(&buffer, 0, &scales);
                Some(buffer)
            };
            pieces.push(Piece { first: first as u32, rows: count as u32, quants, scales });
            first += count;
        }
        gpu.check()?;
        Ok(Self { kind, columns: columns as u32, blocks: blocks as u32, pieces })
    }

    /// Bytes that a matrix has on a card.
    pub(super) fn bytes(kind: TensorType, columns: usize, rows: usize) -> u64 {
        let scale = match kind {
            TensorType::F32 | TensorType::F16 => 0,
            TensorType::Q4_1 => 4,
            TensorType::Q8_0 => 2,
        };
        (columns.div_ceil(32) * (quant_bytes(kind) + scale)) as u64 * rows as u64
    }
}

/// Bytes of a block of 32 values without its scales.
fn quant_bytes(kind: TensorType) -> usize {
    match kind {
        TensorType::F32 => 128,
        TensorType::F16 => 64,
        TensorType::Q4_1 => 16,
        TensorType::Q8_0 => 32,
    }
}

fn repack(kind: TensorType, row: &[u8], quants: &mut Vec<u8>, scales: &mut Vec<u8>) {
    match kind {
        TensorType::F32 | TensorType::F16 => quants.extend_from_slice(row),
        TensorType::Q4_1 => {
            for block in row.as_chunks::<20>().0 {
                scales.extend_from_slice(&block[..4]);
                quants.extend_from_slice(&block[4..]);
            }
        }
        TensorType::Q8_0 => {
            for block in row.as_chunks::<34>().0 {
                scales.extend_from_slice(&block[..2]);
                quants.extend_from_slice(&block[2..]);
            }
        }
    }
}
