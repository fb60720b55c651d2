// States of a batch's tokens: rows of the embedding, widened. One thread for each block of 32 values.

struct Op {
    // Rows of this part of the matrix, and the number of its first one.
    rows: u32,
    first: u32,
    blocks: u32,
    columns: u32,
    // What values are multiplied with.
    scale: f32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> quants: array<vec4<u32>>;
//# if SCALED
//# if WIDE
@group(0) @binding(3) var<storage, read> scales: array<vec4<u32>>;
//# end
//# if !WIDE
@group(0) @binding(3) var<storage, read> scales: array<u32>;
//# end
//# end
@group(0) @binding(4) var<storage, read_write> states: array<f32>;

fn put(at: u32, column: u32, values: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if column + i < op.columns {
            states[at + column + i] = values[i] * op.scale;
        }
    }
}

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = step[8u + group.y * 4u];
    let row = token - op.first;
    if token < op.first || row >= op.rows {
        return;
    }
    let at = group.y * op.columns;
    for (var block = thread; block < op.blocks; block += {WORKGROUP}u) {
        let base = row * op.blocks + block;
        //# if F32
        for (var i = 0u; i < 8u; i++) {
            put(at, block * 32u + i * 4u, bitcast<vec4<f32>>(quants[base * 8u + i]));
        }
        //# end
        //# if F16
        for (var i = 0u; i < 4u; i++) {
            let word = quants[base * 4u + i];
            put(at, block * 32u + i * 8u, vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y)));
            put(at, block * 32u + i * 8u + 4u, vec4<f32>(unpack2x16float(word.z), unpack2x16float(word.w)));
        }
        //# end
        //# if NIBBLES
        let scale = unpack2x16float(scales[base]);
        let word = quants[base];
        for (var i = 0u; i < 4u; i++) {
            let low = vec4<f32>(unpack4xU8(word[i] & 0x0f0f0f0fu));
            let high = vec4<f32>(unpack4xU8((word[i] >> 4u) & 0x0f0f0f0fu));
            put(at, block * 32u + i * 4u, fma(low, vec4<f32>(scale.x), vec4<f32>(scale.y)));
            put(at, block * 32u + 16u + i * 4u, fma(high, vec4<f32>(scale.x), vec4<f32>(scale.y)));
        }
        //# end
        //# if BYTES
        let pair = unpack2x16float(scales[base >> 1u]);
        let scale = select(pair.x, pair.y, (base & 1u) == 1u);
        for (var i = 0u; i < 8u; i++) {
            let word = quants[base * 2u + i / 4u][i % 4u];
            put(at, block * 32u + i * 4u, vec4<f32>(unpack4xI8(word)) * scale);
        }
        //# end
        //# if WIDE
        let scale = bitcast<vec4<f32>>(scales[base]);
        for (var i = 0u; i < 8u; i++) {
            let word = quants[base * 2u + i / 4u][i % 4u];
            let factor = select(scale.y, scale.x, i < 4u);
            put(at, block * 32u + i * 4u, fma(vec4<f32>(unpack4xI8(word)), vec4<f32>(factor), vec4<f32>(scale.z)));
        }
        //# end
    }
}
