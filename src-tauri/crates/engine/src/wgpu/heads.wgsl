// Queries, keys and values of one head of one token: offsets added, normed, turned by their position, and brought to where attention
// finds them. One workgroup for each head. Where nothing is added and nothing normed, products do this themselves.

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
// Of queries, then of keys.
@group(0) @binding(4) var<storage, read> weights: array<f32>;
//# end
@group(0) @binding(5) var<storage, read> turns: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> queries: array<f32>;
@group(0) @binding(7) var<storage, read_write> keys: array<u32>;
@group(0) @binding(8) var<storage, read_write> values: array<u32>;

const HALF = {HEAD}u / 2u;

//# if NORM
var<workgroup> partial: array<f32, {WORKGROUP}>;
//# end

fn pair(token: u32, head: u32, index: u32) -> vec2<f32> {
    let at = head * {HEAD}u + index * 2u;
    var found = vec2<f32>(source[token * op.stride + at], source[token * op.stride + at + 1u]);
    //# if OFFSET
    found += vec2<f32>(offsets[at], offsets[at + 1u]);
    //# end
    return found;
}

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
    //# if NORM
    var sum = 0.0;
    for (var i = thread; i < HALF; i += {WORKGROUP}u) {
        let found = pair(token, head, i);
        sum = fma(found.x, found.x, fma(found.y, found.y, sum));
    }
    partial[thread] = sum;
    for (var half = {WORKGROUP}u / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let scale = 1.0 / sqrt(partial[0] / f32({HEAD}u) + op.epsilon);
    //# end
    for (var i = thread; i < HALF; i += {WORKGROUP}u) {
        var found = pair(token, head, i);
        //# if NORM
        let first = select({HEAD}u, 0u, is_query) + i * 2u;
        let normed = found * scale * vec2<f32>(weights[first], weights[first + 1u]);
        found = select(normed, found, is_value);
        //# end
        let turn = turns[position * {TURNED}u + min(i, {TURNED}u - 1u)];
        let rotated = vec2<f32>(fma(found.x, turn.x, -(found.y * turn.y)), fma(found.x, turn.y, found.y * turn.x));
        let turned = select(found, rotated, i < {TURNED}u && !is_value);
        if is_query {
            let to = (token * {HEADS}u + head) * {HEAD}u + i * 2u;
            queries[to] = round_half(turned.x);
            queries[to + 1u] = round_half(turned.y);
        } else if is_value {
            values[place + i] = halves(found.x, found.y);
        } else {
            keys[place + i] = halves(turned.x, turned.y);
        }
    }
}
