//! Sums over subgroups of every width that cards have. A machine has one width; the others are imitated in memory that a workgroup
//! shares, in the same order.

use super::kernels::{error, parameters, part, prepared, rows, stored, values};
use super::rig::Rig;
use super::*;
use crate::device::matrix::{Matrix, PAIRS, Packing, Source};
use crate::device::plan::{First, Over, Then};
use crate::gguf::TensorType;

/// Products of a matrix with several tokens, with subgroups of a width that is imitated, or with the card's own.
fn products(gpu: &Arc<Gpu>, kind: TensorType, tokens: usize, imitated: Option<u32>) -> (Vec<f32>, f64) {
    let (columns, count) = (768, 21);
    let (bytes, plain) = stored(kind, columns, count, 51);
    let matrix = Matrix::upload(gpu, kind, columns, &[Source { rows: count, bytes: &bytes }], PAIRS, u64::MAX).unwrap();
    let mut shape = Shape { tokens: vec![1, 4], batch: 64, ..Shape::of_card(true) };
    if !gpu.about.half_floats {
        // A driver that compiles slowly gets small tiles.
        shape = Shape { rows: 2, tokens: vec![1, 2], ..shape };
    }
    let mut rig = Rig::new(gpu, shape, parameters(columns, 1, 1, 8, 128));
    rig.kernels.imitated = imitated;
    let buffer = rig.floats(&values(52, tokens * columns, 2.0));
    let pages = Pages(vec![0]);
    let rows = rows(tokens, Wanted::Nothing);
    let hidden = rig.scratch.hidden.clone();
    rig.run(&part(&rows, &[&pages]), |builder| {
        builder.prepare(First::Nothing, &buffer, columns, &[Packing::of(kind)], Over::Tokens);
        builder.product(&matrix, &Then::Store(&hidden, 0, count as u32), Over::Tokens);
    });
    let activations = prepared(&rig, kind, columns, tokens);
    let got = rig.read_floats(&hidden, tokens * count);
    let wanted: Vec<f64> = activations
        .chunks(columns)
        .flat_map(|activation| {
            plain
                .chunks(columns)
                .map(move |row| row.iter().zip(activation).map(|(a, b)| f64::from(*a) * b).sum::<f64>())
        })
        .collect();
    let error = error(&got, &wanted);
    (got, error)
}

#[test]
fn sums_over_subgroups_of_every_width_are_right_and_imitated_ones_have_the_bits_of_real_ones() {
    for number in adapters() {
        let (adapter, about) = gpu::enumerate().swap_remove(number);
        let gpu = Arc::new(Gpu::open(&adapter, about, Duration::from_mins(1)).unwrap());
        let own = gpu.about.subgroup.map(|(least, _)| least);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        let (kinds, widths): (&[TensorType], &[u32]) = if gpu.about.half_floats {
            (&[TensorType::Q8_0, TensorType::F32], &[4, 8, 16, 32, 64])
        } else {
            (&[TensorType::Q8_0], &[4, 32])
        };
        for &kind in kinds {
            for &width in widths {
                let (alone, error) = products(&gpu, kind, 1, Some(width));
                assert!(error < 1e-5, "{kind:?}, subgroups of {width}: {error}");
                let (several, error) = products(&gpu, kind, 3, Some(width));
                assert!(error < 1e-5, "{kind:?}, subgroups of {width}: {error}");
                assert_eq!(bits(&alone), bits(&several[..alone.len()]), "{kind:?}, {width}: bits depend on the batch");
                if own == Some(width) {
                    let (real, _) = products(&gpu, kind, 3, None);
                    assert_eq!(bits(&real), bits(&several), "{kind:?}: real subgroups of {width} add in another order");
                }
            }
        }
    }
}
