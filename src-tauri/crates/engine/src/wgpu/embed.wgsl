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
@group(0) @binding(3) var<storage, read> scales: array<u32>;
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
        //# if SIXTEEN
        for (var i = 0u; i < 4u; i++) {
            let word = quants[base * 4u + i];
            put(at, block * 32u + i * 8u, vec4<f32>(widened(word.x), widened(word.y)));
            put(at, block * 32u + i * 8u + 4u, vec4<f32>(widened(word.z), widened(word.w)));
        }
        //# end
        //# if SCALED
        let found = block_at(base);
        //# if OFFSET
        let offset = found.offset;
        //# end
        //# if !OFFSET
        let offset = 0.0;
        //# end
        //# if HALVES
        let second = found.second;
        //# end
        //# if !HALVES
        let second = found.scale;
        //# end
        for (var i = 0u; i < 4u; i++) {
            let a = vec4<f32>(unpack4xI8(found.a[i]));
            let b = vec4<f32>(unpack4xI8(found.b[i]));
            put(at, block * 32u + i * 4u, fma(a, vec4<f32>(found.scale), vec4<f32>(offset)));
            put(at, block * 32u + 16u + i * 4u, fma(b, vec4<f32>(second), vec4<f32>(offset)));
        }
        //# end
    }
}
