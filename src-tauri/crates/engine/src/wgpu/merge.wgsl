// What the slices of one head of one token gave, merged from the first to the last: as attention does where it works off all of them
// by itself. One workgroup for each head.

struct Op {
    scale: f32,
    window: u32,
    cap: f32,
    slices: u32,
    epsilon: f32,
    stride: u32,
    slice: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> partials: array<vec2<f32>>;
//# if FUSED
@group(0) @binding(6) var<storage, read_write> words: array<vec4<u32>>;
//# if Q8
@group(0) @binding(7) var<storage, read_write> parts: array<vec2<f32>>;
//# end
//# end
//# if !FUSED
@group(0) @binding(5) var<storage, read_write> out: array<vec2<f32>>;
//# end

const HALF = {HEAD}u / 2u;

//# if FUSED
var<workgroup> found: array<vec2<f32>, {HALF}>;
//# end

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let count = step[8u + group.y * 4u + 1u] + 1u;
    let start = count - min(count, op.window);
    let slices = (count - 1u) / op.slice - start / op.slice + 1u;
    let head = group.y * {HEADS}u + group.x;
    for (var column = thread; column < HALF; column += {WORKGROUP}u) {
        var top = -3.0e38;
        var whole = 0.0;
        var sums = vec2<f32>(0.0);
        for (var slice = 0u; slice < slices; slice++) {
            let at = (head * op.slices + slice) * (HALF + 1u);
            let about = partials[at + HALF];
            let high = max(top, about.x);
            let old = exp(top - high);
            let more = exp(about.x - high);
            whole = fma(whole, old, about.y * more);
            sums = fma(sums, vec2<f32>(old), partials[at + column] * more);
            top = high;
        }
        //# if FUSED
        found[column] = sums / whole;
        //# end
        //# if !FUSED
        out[head * HALF + column] = sums / whole;
        //# end
    }
    //# if FUSED
    workgroupBarrier();
    for (var block = thread; block < HALF / 16u; block += {WORKGROUP}u) {
        //# for i 8
        let v{i} = vec4<f32>(found[block * 16u + {2i}u], found[block * 16u + {2i+1}u]);
        //# end
        put_block(head * HALF / 16u + block, v0, v1, v2, v3, v4, v5, v6, v7);
    }
    //# end
}
