// Attention of one head of one token over its sequence's pages. One workgroup for each; positions are worked off in runs of as many
// as there are threads: first a thread for each position, then a thread for each pair of the head's values. Where heads are whole
// blocks, what is found takes the form of the next matrix at once.

struct Op {
    scale: f32,
    // How many tokens are attended to, the newest included.
    window: u32,
    // Scores come nowhere near more than this.
    cap: f32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read> queries: array<vec2<f32>>;
//# if FOURS
@group(0) @binding(3) var<storage, read> keys: array<vec4<u32>>;
//# end
//# if !FOURS
@group(0) @binding(3) var<storage, read> keys: array<u32>;
//# end
@group(0) @binding(4) var<storage, read> values: array<u32>;
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

var<workgroup> query: array<vec2<f32>, {HALF}>;
var<workgroup> scores: array<f32, {WORKGROUP}>;

// Number of the head's entry of a position, in entries.
fn entry(table: u32, head: u32, position: u32) -> u32 {
    let page = step[table + position / 32u];
    return (page * {KV_HEADS}u + head) * 32u + position % 32u;
}

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = 8u + group.y * 4u;
    let count = step[row + 1u] + 1u;
    let table = step[row + 2u];
    let at = (group.y * {HEADS}u + group.x) * HALF;
    let head = group.x / ({HEADS}u / {KV_HEADS}u);
    for (var i = thread; i < HALF; i += {WORKGROUP}u) {
        query[i] = queries[at + i];
    }
    workgroupBarrier();
    var highest = -3.0e38;
    var total = 0.0;
    //# for n SHARE
    var sum_{n} = vec2<f32>(0.0);
    //# end
    for (var first = count - min(count, op.window); first < count; first += {WORKGROUP}u) {
        let position = first + thread;
        var score = -3.0e38;
        if position < count {
            var product = vec2<f32>(0.0);
            let base = entry(table, head, position) * HALF;
            //# if FOURS
            for (var i = 0u; i < HALF / 4u; i++) {
                let four = keys[base / 4u + i];
                product = fma(unpack2x16float(four.x), query[i * 4u], product);
                product = fma(unpack2x16float(four.y), query[i * 4u + 1u], product);
                product = fma(unpack2x16float(four.z), query[i * 4u + 2u], product);
                product = fma(unpack2x16float(four.w), query[i * 4u + 3u], product);
            }
            //# end
            //# if !FOURS
            for (var i = 0u; i < HALF; i++) {
                product = fma(unpack2x16float(keys[base + i]), query[i], product);
            }
            //# end
            score = (product.x + product.y) * op.scale;
            //# if CAP
            score = op.cap * tanh(clamp(score / op.cap, -10.0, 10.0));
            //# end
        }
        scores[thread] = score;
        workgroupBarrier();
        var most = highest;
        for (var i = 0u; i < {WORKGROUP}u; i++) {
            most = max(most, scores[i]);
        }
        workgroupBarrier();
        scores[thread] = select(0.0, exp(score - most), position < count);
        workgroupBarrier();
        let shrink = exp(highest - most);
        highest = most;
        total *= shrink;
        //# for n SHARE
        sum_{n} *= shrink;
        //# end
        let last = min({WORKGROUP}u, count - first);
        for (var i = 0u; i < last; i++) {
            let weight = scores[i];
            let base = entry(table, head, first + i) * HALF;
            total += weight;
            //# for n SHARE
            if thread + {n}u * {WORKGROUP}u < HALF {
                let pair = unpack2x16float(values[base + thread + {n}u * {WORKGROUP}u]);
                sum_{n} = fma(vec2<f32>(weight), pair, sum_{n});
            }
            //# end
        }
        workgroupBarrier();
    }
    //# for n SHARE
    if thread + {n}u * {WORKGROUP}u < HALF {
        //# if FUSED
        // The query has served; what was found takes its place.
        query[thread + {n}u * {WORKGROUP}u] = sum_{n} / total;
        //# end
        //# if !FUSED
        out[at + thread + {n}u * {WORKGROUP}u] = sum_{n} / total;
        //# end
    }
    //# end
    //# if FUSED
    workgroupBarrier();
    for (var block = thread; block < HALF / 16u; block += {WORKGROUP}u) {
        //# for i 8
        let v{i} = vec4<f32>(query[block * 16u + {2i}u], query[block * 16u + {2i+1}u]);
        //# end
        put_block(at / 16u + block, v0, v1, v2, v3, v4, v5, v6, v7);
    }
    //# end
}
