// Products for prompts with cooperative matrices: square pieces of 16-bit floats that all threads of a subgroup multiply together, with
// sums in 32 bits. What is bound, and what becomes of a product, says `product.wgsl`.
//
// A workgroup has ROWS rows and TOKENS tokens. Block by block both are brought to memory that it shares, weights and activations as
// 16-bit floats; four subgroups have sixteen rows each and all tokens. A token's sums run over its row's blocks from the first to the
// last, wherever it is in a tile, and a tile that is not full repeats its last token: so they depend neither on how many tokens there
// are nor on where a chunk begins.

// Values of a line of a block in shared memory. Lines are further apart than they are long, so that threads which read one below
// another don't wait for each other.
const LINE = 40u;

var<workgroup> left: array<f16, {LEFT_SIZE}>;
var<workgroup> right: array<f16, {RIGHT_SIZE}>;
// Of each row the sums of all tokens.
var<workgroup> sums: array<f32, {SUMS_SIZE}>;

fn narrowed(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

fn put_left(at: u32, values: vec4<f32>) {
    let found = narrowed(values);
    left[at] = found.x;
    left[at + 1u] = found.y;
    left[at + 2u] = found.z;
    left[at + 3u] = found.w;
}

fn put_right(at: u32, values: vec4<f32>) {
    let found = narrowed(values);
    right[at] = found.x;
    right[at + 1u] = found.y;
    right[at + 2u] = found.z;
    right[at + 3u] = found.w;
}

// Half a block of a row.
fn bring_row(to: u32, block: u32, half: u32) {
    //# if SCALED
    let found = block_at(block);
    let words = select(found.a, found.b, half == 1u);
    //# if HALVES
    let scale = select(found.scale, found.second, half == 1u);
    //# end
    //# if !HALVES
    let scale = found.scale;
    //# end
    //# if OFFSET
    let offset = found.offset;
    //# end
    //# if !OFFSET
    let offset = 0.0;
    //# end
    //# for i 4
    put_left(to + {i}u * 4u, fma(vec4<f32>(unpack4xI8(words[{i}])), vec4<f32>(scale), vec4<f32>(offset)));
    //# end
    //# end
    //# if SIXTEEN
    //# for i 2
    let word_{i} = quants[block * 4u + half * 2u + {i}u];
    put_left(to + {i}u * 8u, vec4<f32>(widened(word_{i}.x), widened(word_{i}.y)));
    put_left(to + {i}u * 8u + 4u, vec4<f32>(widened(word_{i}.z), widened(word_{i}.w)));
    //# end
    //# end
}

// Half a block of a token's activations.
fn bring_token(to: u32, block: u32, half: u32) {
    //# if SCALED
    let words = given[block * 2u + half];
    let scale = given_parts[block].x;
    //# for i 4
    put_right(to + {i}u * 4u, vec4<f32>(unpack4xI8(words[{i}])) * scale);
    //# end
    //# end
    //# if SIXTEEN
    //# for i 4
    put_right(to + {i}u * 4u, bitcast<vec4<f32>>(given[block * 8u + half * 4u + {i}u]));
    //# end
    //# end
}

@compute @workgroup_size({WORKGROUP})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let at_group = group.x + group.z * op.across;
    let tokens = step[op.count];
    let first_token = group.y * {TOKENS}u;
    for (var item = thread; item < {SUMS_SIZE}u; item += {WORKGROUP}u) {
        sums[item] = 0.0;
    }
    workgroupBarrier();
    // Where subgroups are smaller than they could be there are more of them, and those compute what others do.
    let stripe = subgroup % 4u * 16u;
    //# for r DOWN
    //# for t ACROSS
    var sum_{r}_{t} = coopLoadT<coop_mat{SIDE}x{SIDE}<f32, C>>(&sums[{r}u * {SIDE}u * {TOKENS}u + {t}u * {SIDE}u], {TOKENS}u);
    //# end
    //# end
    for (var block = 0u; block < op.blocks; block++) {
        for (var item = thread; item < ({ROWS}u + {TOKENS}u) * 2u; item += {WORKGROUP}u) {
            let half = item % 2u;
            let line = item / 2u;
            if line < {ROWS}u {
                let row = min(at_group * {ROWS}u + line, op.rows - 1u);
                bring_row(line * LINE + half * 16u, row * op.blocks + block, half);
            } else {
                let token = min(first_token + line - {ROWS}u, tokens - 1u);
                bring_token((line - {ROWS}u) * LINE + half * 16u, token * op.blocks + block, half);
            }
        }
        workgroupBarrier();
        // Not written out: compilers for processors take long for that.
        for (var k = 0u; k < 32u; k += {SIDE}u) {
            //# for r DOWN
            let left_{r} = coopLoadT<coop_mat{SIDE}x{SIDE}<f16, A>>(&left[(stripe + {r}u * {SIDE}u) * LINE + k], LINE);
            //# end
            //# for t ACROSS
            let right_{t} = coopLoad<coop_mat{SIDE}x{SIDE}<f16, B>>(&right[{t}u * {SIDE}u * LINE + k], LINE);
            //# end
            //# for r DOWN
            //# for t ACROSS
            sum_{r}_{t} = coopMultiplyAdd(left_{r}, right_{t}, sum_{r}_{t});
            //# end
            //# end
        }
        workgroupBarrier();
    }
    //# for r DOWN
    //# for t ACROSS
    coopStoreT(sum_{r}_{t}, &sums[(stripe + {r}u * {SIDE}u) * {TOKENS}u + {t}u * {SIDE}u], {TOKENS}u);
    //# end
    //# end
    workgroupBarrier();
    //# if GATED
    // Half of the rows are gates, and those behind them the ups of the same columns.
    for (var token = thread; token < {TOKENS}u; token += {WORKGROUP}u) {
        if first_token + token < tokens && at_group < op.rows / 64u {
            //# for i 8
            let v{i} = vec4<f32>(
                let_through(sums[{i}u * 4u * {TOKENS}u + token], sums[({i}u * 4u + 32u) * {TOKENS}u + token]),
                let_through(sums[({i}u * 4u + 1u) * {TOKENS}u + token], sums[({i}u * 4u + 33u) * {TOKENS}u + token]),
                let_through(sums[({i}u * 4u + 2u) * {TOKENS}u + token], sums[({i}u * 4u + 34u) * {TOKENS}u + token]),
                let_through(sums[({i}u * 4u + 3u) * {TOKENS}u + token], sums[({i}u * 4u + 35u) * {TOKENS}u + token]),
            );
            //# end
            put_block((first_token + token) * op.stride + op.first / 64u + at_group, v0, v1, v2, v3, v4, v5, v6, v7);
        }
    }
    //# end
    //# if !GATED
    for (var item = thread; item < {SUMS_SIZE}u / 2u; item += {WORKGROUP}u) {
        let pair = item % ({ROWS}u / 2u) * 2u;
        let token = item / ({ROWS}u / 2u);
        let a = sums[pair * {TOKENS}u + token];
        let b = sums[(pair + 1u) * {TOKENS}u + token];
        finish(at_group * {ROWS}u + pair, first_token + token, tokens, a, b);
    }
    //# end
}
