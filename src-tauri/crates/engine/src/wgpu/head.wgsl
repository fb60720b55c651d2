// One head of one token as the product left it. Whoever includes this declares `source`, where the token's queries, keys and values
// lie one after another, and what else is asked for: `offsets`, `weights` of norms (of queries, then of keys), `turns`; `op` has
// `stride`, the values of one token, and `epsilon`.

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

// What a head's values are multiplied with by its norm. The whole workgroup asks together.
fn norm_of(token: u32, head: u32, thread: u32) -> f32 {
    //# if NORM
    var sum = 0.0;
    for (var i = thread; i < HALF; i += {WORKGROUP}u) {
        let found = pair(token, head, i);
        sum = fma(found.x, found.x, fma(found.y, found.y, sum));
    }
    // Nobody writes before all have read the last head's.
    workgroupBarrier();
    partial[thread] = sum;
    for (var half = {WORKGROUP}u / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    return 1.0 / sqrt(partial[0] / f32({HEAD}u) + op.epsilon);
    //# end
    //# if !NORM
    return 1.0;
    //# end
}

// A pair of a query's or key's values: offset, normed, and turned by its position.
fn turned(token: u32, head: u32, i: u32, scale: f32, position: u32) -> vec2<f32> {
    var found = pair(token, head, i);
    //# if NORM
    let first = select({HEAD}u, 0u, head < {HEADS}u) + i * 2u;
    found = found * scale * vec2<f32>(weights[first], weights[first + 1u]);
    //# end
    let turn = turns[position * {TURNED}u + min(i, {TURNED}u - 1u)];
    let rotated = vec2<f32>(fma(found.x, turn.x, -(found.y * turn.y)), fma(found.x, turn.y, found.y * turn.x));
    return select(found, rotated, i < {TURNED}u);
}
