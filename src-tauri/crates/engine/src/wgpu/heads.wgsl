// Queries, keys and values of one head of one token: offsets added, normed, turned by their position, and brought to where attention
// finds them. One workgroup for each head. Where nothing is added and nothing normed, products do this themselves; where every
// sequence has a single token, attention does.

struct Op {
    epsilon: f32,
    // Values that one token has: of all queries, keys and values.
    stride: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> source: array<f32>;
//# if OFFSET
@group(0) @binding(3) var<storage, read> offsets: array<f32>;
//# end
//# if NORM
@group(0) @binding(4) var<storage, read> weights: array<f32>;
//# end
@group(0) @binding(5) var<storage, read> turns: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> queries: array<f32>;
@group(0) @binding(7) var<storage, read_write> keys: array<u32>;
@group(0) @binding(8) var<storage, read_write> values: array<u32>;

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.y;
    let head = group.x;
    let is_query = head < {HEADS}u;
    let is_value = head >= {HEADS}u + {KV_HEADS}u;
    let inside = select(select(head - {HEADS}u, head - {HEADS}u - {KV_HEADS}u, is_value), head, is_query);
    let position = step[8u + token * 4u + 1u];
    let page = step[step[8u + token * 4u + 2u] + position / 32u];
    let place = ((page * {KV_HEADS}u + inside) * 32u + position % 32u) * HALF;
    let scale = norm_of(token, head, thread);
    for (var i = thread; i < HALF; i += {WORKGROUP}u) {
        let plain = pair(token, head, i);
        let found = turned(token, head, i, scale, position);
        if is_query {
            let to = (token * {HEADS}u + head) * {HEAD}u + i * 2u;
            queries[to] = round_half(found.x);
            queries[to + 1u] = round_half(found.y);
        } else if is_value {
            values[place + i] = halves(plain.x, plain.y);
        } else {
            keys[place + i] = halves(found.x, found.y);
        }
    }
}
