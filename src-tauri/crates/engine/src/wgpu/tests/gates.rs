//! Gates and ups in one kernel.

use super::kernels::{parameters, part, prepared, rows, stored, values};
use super::rig::{POISON, Rig, everywhere, shapes};
use super::*;
use crate::device::matrix::{Form, Matrix, Packing, Source};
use crate::device::plan::{First, Over};
use crate::device::{GATES, matrix};
use crate::gguf::TensorType;

#[test]
fn gates_let_through_and_bring_into_form_what_two_products_and_a_preparation_would() {
    everywhere(|gpu, shape| {
        let ways = [
            (TensorType::Q4_K, Form::Q8, 256, 96),
            (TensorType::F32, Form::F32, 40, 64),
            (TensorType::Q8_0, Form::F16, 96, 32),
            (TensorType::F16, Form::Q8, 64, 160),
        ];
        // With the first shape all, with others one; a driver that compiles slowly gets one of the simplest.
        let first = shapes(&gpu.about).first().is_some_and(|first| *first == shape);
        let ways = match (gpu.about.half_floats, first) {
            (true, true) => &ways[..],
            (true, false) => &ways[..1],
            (false, _) => &ways[2..3],
        };
        for &(kind, form, columns, count) in ways {
            let p = Parameters { feed_forward: count, ..parameters(columns.max(count), 1, 1, 8, 128) };
            let mut rig = Rig::new(gpu, shape.clone(), p);
            let (gates, plain_gates) = stored(kind, columns, count, 41);
            let (ups, plain_ups) = stored(kind, columns, count, 42);
            let turn = GATES * gates.len() / count;
            let sources: Vec<Source<'_>> = gates
                .chunks(turn)
                .zip(ups.chunks(turn))
                .flat_map(|(gate, up)| [gate, up])
                .map(|bytes| Source { rows: GATES, bytes })
                .collect();
            // Whole, and in pieces of one turn.
            let turn_bytes = matrix::bytes(kind, columns, 2 * GATES);
            for limit in [u64::MAX, turn_bytes] {
                let both = Matrix::upload(gpu, kind, columns, &sources, 2 * GATES, limit).unwrap();
                assert!(limit == u64::MAX || both.pieces.len() == count / GATES);
                let mut alone: Option<Vec<u32>> = None;
                for tokens in [1_usize, 3, 9] {
                    let source = values(43, 9 * columns, 1.0);
                    let buffer = rig.floats(&source);
                    let pages = Pages(vec![0]);
                    let rows = rows(tokens, Wanted::Nothing);
                    rig.poison(&rig.scratch.through);
                    rig.poison(&rig.scratch.through_parts);
                    rig.run(&part(&rows, &[&pages]), |builder| {
                        builder.prepare(First::Nothing, &buffer, columns, &[Packing::of(kind)], Over::Tokens);
                        builder.gate(&both, form, None);
                    });
                    let activations = prepared(&rig, kind, columns, tokens);
                    let (words, parts) = (rig.read(&rig.scratch.through), rig.read(&rig.scratch.through_parts));
                    let each = if form == Form::Q8 { count / 4 } else { count };
                    assert!(words[tokens * each..].iter().all(|&word| word == POISON), "written behind the last token");
                    let dot = |row: &[f32], activation: &[f64]| {
                        row.iter().zip(activation).map(|(a, b)| f64::from(*a) * b).sum::<f64>()
                    };
                    for (token, activation) in activations.chunks(columns).enumerate() {
                        let wanted: Vec<f64> = plain_gates
                            .chunks(columns)
                            .zip(plain_ups.chunks(columns))
                            .map(|(gate, up)| {
                                let gate = dot(gate, activation);
                                gate / (1.0 + (-gate).exp()) * dot(up, activation)
                            })
                            .collect();
                        let largest = wanted.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
                        for (at, wanted) in wanted.iter().enumerate() {
                            let got = if form == Form::Q8 {
                                let byte = words[token * each + at / 4].to_le_bytes()[at % 4].cast_signed();
                                let scale = parts[(token * (count / 32) + at / 32) * 2];
                                f64::from(byte) * f64::from(f32::from_bits(scale))
                            } else {
                                f64::from(f32::from_bits(words[token * each + at]))
                            };
                            let allowed = largest * if form == Form::Q8 { 0.012 } else { 4e-3 };
                            assert!(
                                (got - wanted).abs() <= allowed,
                                "{kind:?} {form:?}: {got} for {wanted}, {shape:?}"
                            );
                        }
                    }
                    let first = alone.get_or_insert_with(|| words[..each].to_vec());
                    assert!(*first == words[..each], "{kind:?}: bits depend on the number of tokens, {shape:?}");
                }
            }
        }
    });
}
