// Which experts a token asks: those of the highest scores, the lower number first of equals, with weights that add up to one. One
// thread for each token.

struct Op {
    experts: u32,
    used: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
// Number and weight of each.
@group(0) @binding(3) var<storage, read_write> routes: array<vec2<u32>>;

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.x * {WORKGROUP}u + thread;
    if token < step[0] {
        let at = token * op.experts;
        var highest = 0.0;
        var total = 0.0;
        for (var n = 0u; n < op.used; n++) {
            var best = 0u;
            var most = -3.4e38;
            for (var expert = 0u; expert < op.experts; expert++) {
                let score = scores[at + expert];
                if score > most {
                    most = score;
                    best = expert;
                }
            }
            // Taken.
            scores[at + best] = -3.4e38;
            if n == 0u {
                highest = most;
            }
            let weight = exp(most - highest);
            total += weight;
            routes[token * op.used + n] = vec2<u32>(best, bitcast<u32>(weight));
        }
        for (var n = 0u; n < op.used; n++) {
            let to = token * op.used + n;
            routes[to].y = bitcast<u32>(bitcast<f32>(routes[to].y) / total);
        }
    }
}
