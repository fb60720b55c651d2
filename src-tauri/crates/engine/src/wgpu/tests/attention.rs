//! Attention in all its ways: a workgroup for all slices of a tile of rows, of one row, a workgroup for each slice, and with what is to
//! be done to queries, keys and values before. Whichever it is, a row's result has the same bits.

use half::f16;

use super::kernels::{error, parameters, part, values};
use super::rig::{LayerCache, POISON, Rig, shapes};
use super::*;
use crate::device::matrix::Form;
use crate::device::plan::{Raw, When};
use crate::model::Rope;

/// Positions of a slice: so few that short texts have several.
const SLICE: u32 = 64;
/// Tokens that the sequences have: within a page, whole slices, and beyond.
const LENGTHS: [u32; 5] = [150, 33, 64, 1, 129];

/// One card whose slices are short.
fn in_short_slices(mut check: impl FnMut(&Arc<Gpu>, Shape)) {
    for number in adapters() {
        let (adapter, about) = gpu::enumerate().swap_remove(number);
        let mut gpu = Gpu::open(&adapter, about, Duration::from_mins(5)).unwrap();
        gpu.slice = SLICE;
        let gpu = Arc::new(gpu);
        // Nothing else of a shape matters here.
        let mut shapes = shapes(&gpu.about);
        shapes.sort_by_key(|shape| shape.threads);
        shapes.dedup_by_key(|shape| shape.threads);
        for shape in shapes {
            check(&gpu, shape);
        }
    }
}

/// Pages of all sequences, which lie anyhow.
fn pages() -> (Vec<Pages>, usize) {
    let counts: Vec<usize> = LENGTHS.iter().map(|length| (*length as usize).div_ceil(PAGE_TOKENS)).collect();
    let all: usize = counts.iter().sum();
    let mut free = (0..all).map(|page| (page * 7 + 3) as u32 % all as u32);
    let pages = counts.iter().map(|&count| Pages(free.by_ref().take(count).collect())).collect();
    (pages, all)
}

/// The last so many tokens of each sequence that has as many.
fn last(tokens: u32, sequences: &[usize]) -> Vec<Row> {
    let rows = sequences.iter().flat_map(|&sequence| {
        let length = LENGTHS[sequence];
        let from = length.saturating_sub(tokens);
        (from..length).map(move |position| Row { token: 0, position, sequence, prompt: false, wanted: Wanted::Nothing })
    });
    rows.collect()
}

fn halves_of(values: &[f32]) -> Vec<u32> {
    let half = |value: f32| u32::from(f16::from_f32(value).to_bits());
    values.chunks_exact(2).map(|pair| half(pair[0]) | half(pair[1]) << 16).collect()
}

#[test]
fn attention_has_the_same_bits_row_by_row_tile_by_tile_and_slice_by_slice() {
    in_short_slices(|gpu, shape| {
        let sizes = [(6, 2, 64), (4, 4, 32), (9, 1, 20), (2, 1, 256), (8, 1, 128), (1, 1, 6)];
        // A driver that compiles slowly gets one of each way to read keys.
        let sizes = match (gpu.about.half_floats, shape.threads) {
            (true, 64) => &sizes[..],
            (true, _) => &sizes[..3],
            (false, _) => &sizes[1..3],
        };
        for &(heads, kv_heads, head) in sizes {
            let p = parameters(64, heads, kv_heads, head, 16);
            let mut rig = Rig::new(gpu, shape.clone(), p);
            let (pages, all) = pages();
            let sequences: Vec<&Pages> = pages.iter().collect();
            let count = all * PAGE_TOKENS * kv_heads * head;
            let (keys, kept) = (values(21, count, 1.0), values(22, count, 1.0));
            let cache = LayerCache {
                keys: gpu.storage("a test", count as u64 * 2).unwrap(),
                values: gpu.storage("a test", count as u64 * 2).unwrap(),
            };
            rig.write(&cache.keys, &halves_of(&keys));
            rig.write(&cache.values, &halves_of(&kept));
            let round = |value: f32| f64::from(f16::from_f32(value).to_f32());
            // Of each sequence and position the same query, whatever the batch.
            let query = |row: &Row| {
                let all = values(100 + u64::from(row.position) * 8 + row.sequence as u64, heads * head, 1.0);
                all.into_iter().map(|value| f16::from_f32(value).to_f32()).collect::<Vec<f32>>()
            };
            for window in [None, Some(40), Some(100)] {
                let mut found: Vec<Vec<Vec<u32>>> = Vec::new();
                // Tiles of several rows; one row of each, of which some have several slices; one row within one slice.
                for (rows, order) in [(3, [0, 1, 2, 3, 4]), (1, [0, 1, 2, 3, 4]), (11, [4, 3, 2, 1, 0])] {
                    let rows = last(rows, &order);
                    rig.poison(&rig.scratch.attended);
                    rig.poison(&rig.scratch.partials);
                    let queries: Vec<f32> = rows.iter().flat_map(query).collect();
                    rig.write_floats(&rig.scratch.queries, &queries);
                    rig.run(&part(&rows, &sequences), |builder| builder.attention(&cache, window, None, None));
                    let got = rig.read_floats(&rig.scratch.attended, rows.len() * heads * head);
                    let mut wanted = Vec::new();
                    for (row, query) in rows.iter().zip(queries.chunks(heads * head)) {
                        let first = (row.position + 1).saturating_sub(window.map_or(u32::MAX, |window| window as u32));
                        for (number, query) in query.chunks(head).enumerate() {
                            let entry = |position: u32| {
                                let page = pages[row.sequence].0[position as usize / PAGE_TOKENS] as usize;
                                let head = page * kv_heads + number / (heads / kv_heads);
                                head * PAGE_TOKENS + position as usize % PAGE_TOKENS
                            };
                            let weights = (first..=row.position).map(|position| {
                                let key = &keys[entry(position) * head..][..head];
                                let product = key.iter().zip(query).map(|(a, b)| round(*a) * f64::from(*b));
                                (product.sum::<f64>() * f64::from(p.attention_scale)).exp()
                            });
                            let weights: Vec<f64> = weights.collect();
                            let total: f64 = weights.iter().sum();
                            wanted.extend((0..head).map(|at| {
                                let sum = (first..).zip(&weights);
                                sum.map(|(position, weight)| weight * round(kept[entry(position) * head + at]))
                                    .sum::<f64>()
                                    / total
                            }));
                        }
                    }
                    let error = error(&got, &wanted);
                    assert!(error < 1e-4, "{heads}/{kv_heads} heads of {head}, {window:?}: {error}, {shape:?}");
                    // The last row of each sequence.
                    let of_last = |sequence: usize| {
                        let at = rows.iter().rposition(|row| row.sequence == sequence).unwrap();
                        got[at * heads * head..][..heads * head].iter().map(|value| value.to_bits()).collect()
                    };
                    found.push((0..LENGTHS.len()).map(of_last).collect());
                }
                assert!(
                    found.iter().all(|one| *one == found[0]),
                    "{heads}/{kv_heads} heads of {head}, {window:?}: bits depend on the batch, {shape:?}"
                );
                // Alone and short, for which there is a kernel of its own.
                for sequence in [1, 2, 3] {
                    let rows = last(1, &[sequence]);
                    rig.write_floats(&rig.scratch.queries, &query(&rows[0]));
                    rig.run(&part(&rows, &sequences), |builder| builder.attention(&cache, window, None, None));
                    let got = rig.read(&rig.scratch.attended);
                    assert!(
                        got[..heads * head] == found[0][sequence],
                        "alone, {heads}/{kv_heads} of {head}, {shape:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn attention_brings_queries_keys_and_values_to_their_places_as_the_kernel_of_heads_does() {
    in_short_slices(|gpu, shape| {
        let ways = [(true, true, 6, 2, 64), (false, true, 4, 1, 128), (true, false, 4, 4, 20)];
        let ways = if gpu.about.half_floats { &ways[..] } else { &ways[2..] };
        for &(offset, norm, heads, kv_heads, head) in ways {
            let p = parameters(64, heads, kv_heads, head, 16);
            let mut rig = Rig::new(gpu, shape.clone(), p);
            let (pages, all) = pages();
            let sequences: Vec<&Pages> = pages.iter().collect();
            let count = all * PAGE_TOKENS * kv_heads * head;
            let width = (heads + 2 * kv_heads) * head;
            let turns = weights::turn_table(gpu, &Rope::plain(p.rope_size, p.rope_base), 512).unwrap();
            let (offsets, norms) = (rig.floats(&values(31, width, 0.5)), rig.floats(&values(32, 2 * head, 1.0)));
            let raw = || Raw { offsets: offset.then_some(&offsets), norms: norm.then_some(&norms), turns: &turns };
            let source = |row: &Row| values(200 + u64::from(row.position) * 8 + row.sequence as u64, width, 1.0);
            let form = head.is_multiple_of(32).then_some(Form::Q8);
            let together: &[u32] = &[2];
            let mut found = Vec::new();
            // Two tokens of each at once, by the kernel of heads; or one after the other, where attention does it.
            for alone in [false, true] {
                let cache = LayerCache {
                    keys: gpu.storage("a test", count as u64 * 2).unwrap(),
                    values: gpu.storage("a test", count as u64 * 2).unwrap(),
                };
                rig.write(&cache.keys, &halves_of(&values(21, count, 1.0)));
                rig.write(&cache.values, &halves_of(&values(22, count, 1.0)));
                let batches: Vec<Vec<Row>> = if alone {
                    let both = last(2, &[0, 1, 2, 3, 4]);
                    let is_last = |row: &&Row| row.position + 1 == LENGTHS[row.sequence];
                    let (after, before): (Vec<&Row>, Vec<&Row>) = both.iter().partition(is_last);
                    [before, after].map(|rows| rows.into_iter().copied().collect()).into()
                } else {
                    together.iter().map(|&tokens| last(tokens, &[0, 1, 2, 3, 4])).collect()
                };
                let mut result = Vec::new();
                for rows in &batches {
                    rig.poison(&rig.scratch.words);
                    rig.poison(&rig.scratch.parts);
                    rig.poison(&rig.scratch.attended);
                    let floats: Vec<f32> = rows.iter().flat_map(source).collect();
                    rig.write_floats(&rig.scratch.hidden, &floats);
                    rig.run(&part(rows, &sequences), |builder| {
                        builder.heads(&raw(), &cache, When::Together);
                        builder.attention(&cache, Some(100), form, Some(&raw()));
                    });
                    let words = rig.read(if form.is_some() { &rig.scratch.words } else { &rig.scratch.attended });
                    // Words of one row: of its heads, as bytes or as floats.
                    let each = heads * head / if form.is_some() { 4 } else { 1 };
                    assert!(words[rows.len() * each..].iter().all(|&word| word == POISON), "behind the last row");
                    result = (0..LENGTHS.len())
                        .filter_map(|sequence| rows.iter().rposition(|row| row.sequence == sequence))
                        .map(|at| words[at * each..][..each].to_vec())
                        .collect();
                    assert!(result.iter().flatten().all(|&word| word != POISON), "something was left out");
                }
                found.push((result, rig.read(&cache.keys), rig.read(&cache.values)));
            }
            assert!(found[0].1 == found[1].1, "keys, {heads}/{kv_heads} heads of {head}, {shape:?}");
            assert!(found[0].2 == found[1].2, "values, {heads}/{kv_heads} heads of {head}, {shape:?}");
            assert!(found[0].0 == found[1].0, "results, {heads}/{kv_heads} heads of {head}, {shape:?}");
        }
    });
}
