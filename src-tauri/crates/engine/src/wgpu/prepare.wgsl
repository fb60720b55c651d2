// Activations in the form that the next matrix is multiplied with: normed, gated or as they are, then as 32-bit floats, rounded to
// 16 bits, or as signed bytes with a scale for each block of 32. One workgroup for each token.

struct Op {
    // Values of one token; blocks of 32 that hold them, the last one filled up with zeros.
    columns: u32,
    blocks: u32,
    // Whether tokens are those behind which something is wanted.
    chosen: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
//# if BEHIND
@group(0) @binding(2) var<storage, read_write> source: array<f32>;
// What a part of the layer gave, and the weights of its norm: it is added to the source before anything else.
@group(0) @binding(6) var<storage, read> made: array<f32>;
@group(0) @binding(7) var<storage, read> behind: array<f32>;
//# end
//# if !BEHIND
@group(0) @binding(2) var<storage, read> source: array<f32>;
//# end
//# if NORM
@group(0) @binding(3) var<storage, read> weights: array<f32>;
//# end
@group(0) @binding(4) var<storage, read_write> words: array<vec4<u32>>;
//# if Q8
@group(0) @binding(5) var<storage, read_write> parts: array<vec2<f32>>;
//# end

//# if NORM
var<workgroup> partial: array<f32, {WORKGROUP}>;
//# end

//# if NORM
// One over the root of the mean square, from every thread's share of the sum.
fn root(share: f32, thread: u32) -> f32 {
    partial[thread] = share;
    for (var half = {WORKGROUP}u / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let sum = partial[0];
    // Nobody writes the next sum before all have read this one.
    workgroupBarrier();
    return 1.0 / sqrt(sum / f32(op.columns) + op.epsilon);
}
//# end

// One way through, without a return in the middle: this is written out 32 times, and some compilers take minutes for branches.
fn value(at: u32, wanted: u32, scale: f32) -> f32 {
    let column = min(wanted, op.columns - 1u);
    //# if NORM
    let found = source[at + column] * scale * weights[column];
    //# end
    //# if GATE
    // Gates come first, and then as many values that they let through.
    let gate = source[at * 2u + column];
    //# if GELU
    let inner = clamp(0.7978846 * gate * (1.0 + 0.044715 * gate * gate), -10.0, 10.0);
    let let_through = 0.5 * gate * (1.0 + tanh(inner));
    //# end
    //# if !GELU
    let let_through = gate / (1.0 + exp(-gate));
    //# end
    let found = let_through * source[at * 2u + op.columns + column];
    //# end
    //# if PLAIN
    let found = source[at + column];
    //# end
    return select(0.0, found, wanted < op.columns);
}

fn four(at: u32, column: u32, scale: f32) -> vec4<f32> {
    return vec4<f32>(
        value(at, column, scale),
        value(at, column + 1u, scale),
        value(at, column + 2u, scale),
        value(at, column + 3u, scale),
    );
}

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.y;
    var row = token;
    if op.chosen != 0u {
        row = step[step[3] + token * 2u];
    }
    let at = row * op.columns;
    var scale = 1.0;
    //# if BEHIND
    var sum_made = 0.0;
    for (var column = thread; column < op.columns; column += {WORKGROUP}u) {
        let one = made[at + column];
        sum_made = fma(one, one, sum_made);
    }
    let scale_made = root(sum_made, thread);
    for (var column = thread; column < op.columns; column += {WORKGROUP}u) {
        source[at + column] += made[at + column] * scale_made * behind[column];
    }
    // Other threads read what this one wrote.
    storageBarrier();
    workgroupBarrier();
    //# end
    //# if NORM
    var sum = 0.0;
    for (var column = thread; column < op.columns; column += {WORKGROUP}u) {
        let one = source[at + column];
        sum = fma(one, one, sum);
    }
    scale = root(sum, thread);
    //# end
    for (var block = thread; block < op.blocks; block += {WORKGROUP}u) {
        let to = token * op.blocks + block;
        //# for i 8
        let v{i} = four(at, block * 32u + {i}u * 4u, scale);
        //# end
        put_block(to, v0, v1, v2, v3, v4, v5, v6, v7);
    }
}
