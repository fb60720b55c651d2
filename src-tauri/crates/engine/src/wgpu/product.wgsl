// Products of a matrix's rows with the activations of several tokens.
//
// A tile is ROWS rows and TOKENS tokens, and LANES threads share its work block by block: one thread where threads are the lanes
// of a processor's registers, many where reading side by side is what memory wants. Sums run in the same order whatever the tile:
// first each lane's blocks, then lane by lane. Large tiles of tokens (STAGED) are for prompts: activations go through memory that a
// workgroup shares, and every block of the matrix is unpacked once for all of them. Where prompts are read with cooperative matrices
// (COOPERATIVE), what computes is `cooperative.wgsl`, and this only says what is bound and what becomes of a product.

struct Op {
    // Rows of this part of the matrix, and the number of its first one.
    rows: u32,
    first: u32,
    // Blocks of 32 values in one row.
    blocks: u32,
    // Values that one token has in the output.
    stride: u32,
    // Word of the step that says how many tokens there are.
    count: u32,
    // Workgroups side by side in the grid's first dimension.
    across: u32,
    // Of queries, keys and values: how many rows are queries, and how many keys. Of experts: the number of the first of this part, and
    // how many there are. Of logits with a cap: the cap, as a float.
    queries: u32,
    keys: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> quants: array<vec4<u32>>;
//# if SCALED
@group(0) @binding(3) var<storage, read> scales: array<u32>;
//# end
@group(0) @binding(4) var<storage, read> given: array<vec4<u32>>;
//# if SCALED
@group(0) @binding(5) var<storage, read> given_parts: array<vec2<f32>>;
//# end
//# if GATED
// What was let through, in the form that the next matrix is multiplied with.
@group(0) @binding(6) var<storage, read_write> words: array<vec4<u32>>;
//# if OUT_Q8
@group(0) @binding(8) var<storage, read_write> parts: array<vec2<f32>>;
//# end
//# end
//# if !GATED
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
//# end
//# if CACHE
@group(0) @binding(7) var<storage, read_write> keys: array<u32>;
@group(0) @binding(8) var<storage, read_write> values: array<u32>;
@group(0) @binding(9) var<storage, read> turns: array<vec2<f32>>;
//# end
//# if EXPERTS
// Of each token the scores of all experts. A token has so many slots as it asks experts.
@group(0) @binding(7) var<storage, read> expert_scores: array<f32>;
//# end
//# if MIXED
// Of the matrices below the first one.
@group(0) @binding(10) var<storage, read> quants_1: array<vec4<u32>>;
@group(0) @binding(11) var<storage, read> scales_1: array<u32>;
//# if THIRD_ROW
@group(0) @binding(12) var<storage, read> quants_2: array<vec4<u32>>;
@group(0) @binding(13) var<storage, read> scales_2: array<u32>;
//# end
//# end

//# if SCALED
// The dot product of 32 bytes with 32 bytes: a whole number that a 32-bit float holds exactly, so both ways give the same.
fn whole(a0: vec4<u32>, a1: vec4<u32>, b0: vec4<u32>, b1: vec4<u32>) -> f32 {
    //# if INTEGER_DOT
    return f32(dot4I8Packed(a0.x, b0.x) + dot4I8Packed(a0.y, b0.y) + dot4I8Packed(a0.z, b0.z) + dot4I8Packed(a0.w, b0.w)
        + dot4I8Packed(a1.x, b1.x) + dot4I8Packed(a1.y, b1.y) + dot4I8Packed(a1.z, b1.z) + dot4I8Packed(a1.w, b1.w));
    //# end
    //# if !INTEGER_DOT
    var sums = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        sums = fma(vec4<f32>(unpack4xI8(a0[i])), vec4<f32>(unpack4xI8(b0[i])), sums);
        sums = fma(vec4<f32>(unpack4xI8(a1[i])), vec4<f32>(unpack4xI8(b1[i])), sums);
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
    //# end
}
//# end

//# if HALVES
// The same of 16 bytes.
fn half_whole(a: vec4<u32>, b: vec4<u32>) -> f32 {
    //# if INTEGER_DOT
    return f32(dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w));
    //# end
    //# if !INTEGER_DOT
    var sums = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
        sums = fma(vec4<f32>(unpack4xI8(a[i])), vec4<f32>(unpack4xI8(b[i])), sums);
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
    //# end
}
//# end

//# if CACHE
// Rotates a pair of neighbouring values of one head by the angle of its position.
fn turned(pair: vec2<f32>, row: u32, position: u32) -> vec2<f32> {
    let index = (row % {HEAD}u) / 2u;
    let turn = turns[position * {TURNED}u + min(index, {TURNED}u - 1u)];
    let rotated = vec2<f32>(fma(pair.x, turn.x, -(pair.y * turn.y)), fma(pair.x, turn.y, pair.y * turn.x));
    return select(pair, rotated, index < {TURNED}u);
}

// Where a pair of values of the cache lies: page by page, in a page head by head, of a head token by token.
fn place(row: u32, token: u32, position: u32) -> u32 {
    let page = step[step[8u + token * 4u + 2u] + position / 32u];
    return ((page * {KV_HEADS}u + row / {HEAD}u) * 32u + position % 32u) * ({HEAD}u / 2u) + (row % {HEAD}u) / 2u;
}
//# end

//# if STORE
fn limited(value: f32) -> f32 {
    //# if CAP
    let cap = bitcast<f32>(op.queries);
    return cap * tanh(clamp(value / cap, -10.0, 10.0));
    //# end
    //# if !CAP
    return value;
    //# end
}
//# end

//# if GATED
// What a gate lets through.
fn let_through(gate: f32, up: f32) -> f32 {
    //# if GELU
    let inner = clamp(0.7978846 * gate * (1.0 + 0.044715 * gate * gate), -10.0, 10.0);
    return 0.5 * gate * (1.0 + tanh(inner)) * up;
    //# end
    //# if !GELU
    return gate / (1.0 + exp(-gate)) * up;
    //# end
}
//# end

//# if !GATED
// What becomes of two neighbouring rows' products with one token.
fn finish(row: u32, token: u32, tokens: u32, a: f32, b: f32) {
    if row < op.rows && token < tokens {
        let at = op.first + row;
        //# if CACHE
        let position = step[8u + token * 4u + 1u];
        let pair = vec2<f32>(a, b);
        if at < op.queries {
            let query = turned(pair, at, position);
            out[token * op.stride + at] = round_half(query.x);
            out[token * op.stride + at + 1u] = round_half(query.y);
        } else if at < op.queries + op.keys {
            let inside = at - op.queries;
            let key = turned(pair, inside, position);
            keys[place(inside, token, position)] = halves(key.x, key.y);
        } else {
            let inside = at - op.queries - op.keys;
            values[place(inside, token, position)] = halves(pair.x, pair.y);
        }
        //# end
        //# if ADD
        out[token * op.stride + at] += a;
        if row + 1u < op.rows {
            out[token * op.stride + at + 1u] += b;
        }
        //# end
        //# if STORE
        out[token * op.stride + at] = limited(a);
        if row + 1u < op.rows {
            out[token * op.stride + at + 1u] = limited(b);
        }
        //# end
    }
}
//# end

//# if !COOPERATIVE
//# if GATED
// Of each token and column of this workgroup.
var<workgroup> through: array<f32, {THROUGH_SIZE}>;
//# end
//# if STAGED
var<workgroup> staged: array<vec4<u32>, {STAGED_SIZE}>;
var<workgroup> staged_parts: array<vec2<f32>, {STAGED_PARTS}>;
// Of each pair of rows and token the sums.
var<workgroup> folded: array<vec2<f32>, {FOLDED}>;
var<workgroup> shared_sums: array<f32, {SHARED_SIZE}>;
//# end
//# if SHARED
var<workgroup> shared_sums: array<f32, {SHARED_SIZE}>;
//# if IMITATED
var<workgroup> exchanged: array<f32, {WORKGROUP}>;
//# end
//# end

@compute @workgroup_size({WORKGROUP})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    //# if SUBGROUPS
    //# if !IMITATED
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
    //# end
    //# end
) {
    let at_group = group.x + group.z * op.across;
    //# if !GATED
    let tile = at_group * {TILES}u + thread / {LANES}u;
    //# end
    let lane = thread % {LANES}u;
    //# if EXPERTS
    //# if !COMBINED
    let slots = step[op.count] * {USED}u;
    let slot = min(group.y, slots - 1u);
    choose(slot / {USED}u, thread);
    // An expert of another part of the matrix: nothing is written then.
    let expert = chosen[slot % {USED}u].x - op.queries;
    let tokens = select(0u, slots, expert < op.keys);
    let top = min(expert, op.keys - 1u) * op.rows;
    //# end
    //# if COMBINED
    let tokens = step[op.count];
    choose(min(group.y, tokens - 1u), thread);
    //# end
    //# end
    //# if !EXPERTS
    let tokens = step[op.count];
    let top = 0u;
    //# end
    let first_token = group.y * {TOKENS}u;
    //# if GATED
    // Gates and ups lie by turns, 32 rows of each: a tile has as many of the one as of the other, and a workgroup whole blocks.
    for (var turn = 0u; turn < {TURNS}u; turn++) {
    let column = turn * {TILES}u * {PAIRS}u + thread / {LANES}u * {PAIRS}u;
    //# for r ROWS
    let gated_{r} = min(at_group * {THROUGH}u + column + {r}u / 2u, op.rows / 2u - 1u);
    let row_{r} = (top + gated_{r} / 32u * 64u + gated_{r} % 32u + {r}u % 2u * 32u) * op.blocks;
    //# end
    //# end
    //# if !GATED
    //# if !COMBINED
    //# for r ROWS
    let row_{r} = (top + min(tile * {ROWS}u + {r}u, op.rows - 1u)) * op.blocks;
    //# end
    //# end
    //# end
    //# for t TOKENS
    //# if EXPERTS
    //# if !COMBINED
    let token_{t} = min(first_token + {t}u, slots - 1u) / {SHARED_BY}u * op.blocks;
    //# end
    //# end
    //# if !EXPERTS
    let token_{t} = min(first_token + {t}u, tokens - 1u) * op.blocks;
    //# end
    //# for r ROWS
    //# if SCALED
    var sum_{r}_{t} = 0.0;
    //# end
    //# if !SCALED
    var sums_{r}_{t} = vec4<f32>(0.0);
    //# end
    //# end
    //# end
    //# if STAGED
    // So many blocks of all tokens are brought to where all threads find them, once for all tiles.
    for (var base = 0u; base < op.blocks; base += {LANES}u) {
        for (var item = thread; item < {TOKENS}u * {LANES}u; item += {WORKGROUP}u) {
            let token = min(first_token + item / {LANES}u, tokens - 1u);
            let source = token * op.blocks + min(base + item % {LANES}u, op.blocks - 1u);
            staged[item * 2u] = given[source * 2u];
            staged[item * 2u + 1u] = given[source * 2u + 1u];
            staged_parts[item] = given_parts[source];
        }
        workgroupBarrier();
        let block = base + lane;
        if block < op.blocks {
            //# for r ROWS
            let block_{r} = block_at(row_{r} + block);
            //# end
            //# for t TOKENS
            {
                let low = staged[({t}u * {LANES}u + lane) * 2u];
                let high = staged[({t}u * {LANES}u + lane) * 2u + 1u];
                let part = staged_parts[{t}u * {LANES}u + lane];
                //# for r ROWS
                //# if OFFSET
                sum_{r}_{t} = fma(block_{r}.offset, part.y, sum_{r}_{t});
                //# end
                //# if HALVES
                sum_{r}_{t} = fma(block_{r}.scale * part.x, half_whole(block_{r}.a, low), sum_{r}_{t});
                sum_{r}_{t} = fma(block_{r}.second * part.x, half_whole(block_{r}.b, high), sum_{r}_{t});
                //# end
                //# if !HALVES
                sum_{r}_{t} = fma(block_{r}.scale * part.x, whole(block_{r}.a, block_{r}.b, low, high), sum_{r}_{t});
                //# end
                //# end
            }
            //# end
        }
        workgroupBarrier();
    }
    //# end
    //# if COMBINED
    // Sums over all experts that the token asks, each by its weight; of another part of the matrix, nothing.
    //# for r ROWS
    //# if SCALED
    var total_{r} = 0.0;
    //# end
    //# if !SCALED
    var total_{r} = vec4<f32>(0.0);
    //# end
    //# end
    for (var place = 0u; place < {USED}u; place++) {
    let expert = chosen[place].x - op.queries;
    if expert >= op.keys {
        continue;
    }
    let weight = weight_of(place);
    //# for r ROWS
    let row_{r} = (expert * op.rows + min(tile * {ROWS}u + {r}u, op.rows - 1u)) * op.blocks;
    //# end
    //# for t TOKENS
    let token_{t} = (min(first_token + {t}u, tokens - 1u) * {USED}u + place) * op.blocks;
    //# end
    //# end
    //# if !STAGED
    for (var block = lane; block < op.blocks; block += {LANES}u) {
        //# if SCALED
        //# for t TOKENS
        let low_{t} = given[(token_{t} + block) * 2u];
        let high_{t} = given[(token_{t} + block) * 2u + 1u];
        let part_{t} = given_parts[token_{t} + block];
        //# end
        //# end
        //# for r ROWS
        //# if SCALED
        let block_{r} = block_at(row_{r} + block);
        //# for t TOKENS
        //# if OFFSET
        sum_{r}_{t} = fma(block_{r}.offset, part_{t}.y, sum_{r}_{t});
        //# end
        //# if HALVES
        sum_{r}_{t} = fma(block_{r}.scale * part_{t}.x, half_whole(block_{r}.a, low_{t}), sum_{r}_{t});
        sum_{r}_{t} = fma(block_{r}.second * part_{t}.x, half_whole(block_{r}.b, high_{t}), sum_{r}_{t});
        //# end
        //# if !HALVES
        sum_{r}_{t} = fma(block_{r}.scale * part_{t}.x, whole(block_{r}.a, block_{r}.b, low_{t}, high_{t}), sum_{r}_{t});
        //# end
        //# end
        //# end
        //# if SIXTEEN
        for (var i = 0u; i < 4u; i++) {
            let word = quants[(row_{r} + block) * 4u + i];
            let a = vec4<f32>(widened(word.x), widened(word.y));
            let b = vec4<f32>(widened(word.z), widened(word.w));
            //# for t TOKENS
            sums_{r}_{t} = fma(a, bitcast<vec4<f32>>(given[(token_{t} + block) * 8u + i * 2u]), sums_{r}_{t});
            sums_{r}_{t} = fma(b, bitcast<vec4<f32>>(given[(token_{t} + block) * 8u + i * 2u + 1u]), sums_{r}_{t});
            //# end
        }
        //# end
        //# if F32
        for (var i = 0u; i < 8u; i++) {
            let a = bitcast<vec4<f32>>(quants[(row_{r} + block) * 8u + i]);
            //# for t TOKENS
            sums_{r}_{t} = fma(a, bitcast<vec4<f32>>(given[(token_{t} + block) * 8u + i]), sums_{r}_{t});
            //# end
        }
        //# end
        //# end
    }
    //# end
    //# if COMBINED
    //# for r ROWS
    //# if SCALED
    total_{r} = fma(weight, sum_{r}_0, total_{r});
    sum_{r}_0 = 0.0;
    //# end
    //# if !SCALED
    total_{r} = fma(vec4<f32>(weight), sums_{r}_0, total_{r});
    sums_{r}_0 = vec4<f32>(0.0);
    //# end
    //# end
    }
    //# for r ROWS
    //# if SCALED
    sum_{r}_0 = total_{r};
    //# end
    //# if !SCALED
    sums_{r}_0 = total_{r};
    //# end
    //# end
    //# end
    //# if !SCALED
    //# for r ROWS
    //# for t TOKENS
    let sum_{r}_{t} = (sums_{r}_{t}.x + sums_{r}_{t}.y) + (sums_{r}_{t}.z + sums_{r}_{t}.w);
    //# end
    //# end
    //# end
    //# if DIRECT
    //# for p PAIRS
    //# for t TOKENS
    //# if GATED
    through[{t}u * {THROUGH}u + column + {p}u] = let_through(sum_{2p}_{t}, sum_{2p+1}_{t});
    //# end
    //# if !GATED
    finish(tile * {ROWS}u + {p}u * 2u, first_token + {t}u, tokens, sum_{2p}_{t}, sum_{2p+1}_{t});
    //# end
    //# end
    //# end
    //# end
    //# if STAGED
    // Token by token: every row has as many partial sums as there are threads.
    //# for t TOKENS
    //# for r ROWS
    shared_sums[{r}u * {WORKGROUP}u + thread] = sum_{r}_{t};
    //# end
    workgroupBarrier();
    for (var item = thread; item < {PAIRS}u * {TILES}u; item += {WORKGROUP}u) {
        let inside = item / {PAIRS}u;
        let pair = item % {PAIRS}u;
        let from_{t} = pair * 2u * {WORKGROUP}u + inside * {LANES}u;
        var a = 0.0;
        var b = 0.0;
        for (var i = 0u; i < {LANES}u; i++) {
            a += shared_sums[from_{t} + i];
            b += shared_sums[from_{t} + i + {WORKGROUP}u];
        }
        folded[item * {TOKENS}u + {t}u] = vec2<f32>(a, b);
    }
    workgroupBarrier();
    //# end
    for (var item = thread; item < {PAIRS}u * {TOKENS}u * {TILES}u; item += {WORKGROUP}u) {
        let inside = item / ({PAIRS}u * {TOKENS}u);
        let pair = item / {TOKENS}u % {PAIRS}u;
        let token = item % {TOKENS}u;
        let both = folded[item];
        //# if GATED
        through[token * {THROUGH}u + (turn * {TILES}u + inside) * {PAIRS}u + pair] = let_through(both.x, both.y);
        //# end
        //# if !GATED
        finish((at_group * {TILES}u + inside) * {ROWS}u + pair * 2u, first_token + token, tokens, both.x, both.y);
        //# end
    }
    //# end
    //# if SHARED
    // Every sum has a row of partial sums, one for each lane or subgroup.
    //# for r ROWS
    //# for t TOKENS
    //# if SUBGROUPS
    // Pairs, pairs of pairs and so on: an order that does not depend on what a driver takes for a sum, nor on larger subgroups.
    var added_{r}_{t} = sum_{r}_{t};
    //# if !IMITATED
    //# for s STEPS
    added_{r}_{t} += subgroupShuffleXor(added_{r}_{t}, 1u << {s}u);
    //# end
    if invocation % {WIDTH}u == 0u {
        shared_sums[({r}u * {TOKENS}u + {t}u) * {PARTIALS}u + (subgroup * size + invocation) / {WIDTH}u] = added_{r}_{t};
    }
    //# end
    //# if IMITATED
    //# for s STEPS
    exchanged[thread] = added_{r}_{t};
    workgroupBarrier();
    added_{r}_{t} += exchanged[thread ^ (1u << {s}u)];
    workgroupBarrier();
    //# end
    if thread % {WIDTH}u == 0u {
        shared_sums[({r}u * {TOKENS}u + {t}u) * {PARTIALS}u + thread / {WIDTH}u] = added_{r}_{t};
    }
    //# end
    //# end
    //# if !SUBGROUPS
    shared_sums[({r}u * {TOKENS}u + {t}u) * {PARTIALS}u + thread] = sum_{r}_{t};
    //# end
    //# end
    //# end
    workgroupBarrier();
    for (var item = thread; item < {PAIRS}u * {TOKENS}u * {TILES}u; item += {WORKGROUP}u) {
        let inside = item / ({PAIRS}u * {TOKENS}u);
        let pair = item / {TOKENS}u % {PAIRS}u;
        let token = item % {TOKENS}u;
        let base = (pair * 2u * {TOKENS}u + token) * {PARTIALS}u + inside * {LANES}u;
        var a = 0.0;
        var b = 0.0;
        //# if SUBGROUPS
        let partials = {PARTIALS}u;
        //# end
        //# if !SUBGROUPS
        let partials = {LANES}u;
        //# end
        for (var i = 0u; i < partials; i++) {
            a += shared_sums[base + i];
            b += shared_sums[base + i + {TOKENS}u * {PARTIALS}u];
        }
        //# if GATED
        through[token * {THROUGH}u + (turn * {TILES}u + inside) * {PAIRS}u + pair] = let_through(a, b);
        //# end
        //# if !GATED
        finish((at_group * {TILES}u + inside) * {ROWS}u + pair * 2u, first_token + token, tokens, a, b);
        //# end
    }
    //# end
    //# if GATED
    workgroupBarrier();
    }
    for (var item = thread; item < {TOKENS}u * {THROUGH}u / 32u; item += {WORKGROUP}u) {
        let token = item % {TOKENS}u;
        let block = at_group * {THROUGH}u / 32u + item / {TOKENS}u;
        if first_token + token < tokens && block < op.rows / 64u {
            let at = token * {THROUGH}u + item / {TOKENS}u * 32u;
            //# for i 8
            let v{i} = vec4<f32>(through[at + {i}u * 4u], through[at + {i}u * 4u + 1u],
                through[at + {i}u * 4u + 2u], through[at + {i}u * 4u + 3u]);
            //# end
            put_block((first_token + token) * op.stride + op.first / 64u + block, v0, v1, v2, v3, v4, v5, v6, v7);
        }
    }
    //# end
}
//# end
