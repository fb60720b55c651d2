// Takes penalties off logits. One thread for each.

struct Op {
    vocabulary: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= step[2] {
        return;
    }
    let at = step[4] + id.x * 3u;
    logits[step[at] * op.vocabulary + step[at + 1u]] -= bitcast<f32>(step[at + 2u]);
}
