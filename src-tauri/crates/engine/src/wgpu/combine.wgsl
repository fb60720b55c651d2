// Adds the answers of the experts that a token asked to its state, by their weights. One thread for each value.

struct Op {
    columns: u32,
    used: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> routes: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> answers: array<f32>;
@group(0) @binding(3) var<storage, read_write> states: array<f32>;

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = group.x * {WORKGROUP}u + thread;
    if column < op.columns {
        var sum = 0.0;
        for (var n = 0u; n < op.used; n++) {
            let slot = group.y * op.used + n;
            sum = fma(answers[slot * op.columns + column], bitcast<f32>(routes[slot].y), sum);
        }
        states[group.y * op.columns + column] += sum;
    }
}
