// Attention of several heads, which share keys and values, of one token or of several that follow each other in their sequence.
//
// Positions are worked off page by page, and pages slice by slice: a slice is so many positions from a multiple of that number on. In
// a page first a thread for each position finds the scores, then a thread for each pair of a head's values adds up. What a slice gave
// is merged with what slices before it gave. So the order of a row's sums depends on nothing but its position, whether one workgroup
// does all slices or one workgroup does each and a kernel of its own merges them.

struct Op {
    scale: f32,
    // How many tokens are attended to, the newest included.
    window: u32,
    // Scores come nowhere near more than this.
    cap: f32,
    // Slices that a row has room for.
    slices: u32,
    epsilon: f32,
    // Values that one token has: of all queries, keys and values.
    stride: u32,
    // Positions of a slice.
    slice: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
//# if RAW
// As the product left it.
@group(0) @binding(2) var<storage, read> source: array<f32>;
//# if FOURS
@group(0) @binding(3) var<storage, read_write> keys: array<vec4<u32>>;
//# end
//# if !FOURS
@group(0) @binding(3) var<storage, read_write> keys: array<u32>;
//# end
@group(0) @binding(4) var<storage, read_write> values: array<u32>;
@group(0) @binding(8) var<storage, read> turns: array<vec2<f32>>;
//# if OFFSET
@group(0) @binding(9) var<storage, read> offsets: array<f32>;
//# end
//# if NORM
@group(0) @binding(10) var<storage, read> weights: array<f32>;
//# end
//# end
//# if !RAW
@group(0) @binding(2) var<storage, read> queries: array<vec2<f32>>;
//# if FOURS
@group(0) @binding(3) var<storage, read> keys: array<vec4<u32>>;
//# end
//# if !FOURS
@group(0) @binding(3) var<storage, read> keys: array<u32>;
//# end
@group(0) @binding(4) var<storage, read> values: array<u32>;

const HALF = {HEAD}u / 2u;
//# end
//# if SPLIT
// Of each row, head and slice the sums, then the highest score and the total weight.
@group(0) @binding(5) var<storage, read_write> partials: array<vec2<f32>>;
//# end
//# if !SPLIT
//# if FUSED
@group(0) @binding(6) var<storage, read_write> words: array<vec4<u32>>;
//# if Q8
@group(0) @binding(7) var<storage, read_write> parts: array<vec2<f32>>;
//# end
//# end
//# if !FUSED
@group(0) @binding(5) var<storage, read_write> out: array<vec2<f32>>;
//# end
//# end

const LOWEST = -3.0e38;

var<workgroup> query: array<vec2<f32>, {QUERY_SIZE}>;
// Of each query and position of a page the score, then the weight.
var<workgroup> scores: array<f32, {SCORES_SIZE}>;
// Of each query the highest score of the slice so far, and what sums so far are multiplied with.
var<workgroup> highest: array<f32, {QUERIES}>;
var<workgroup> shrink: array<f32, {QUERIES}>;

@compute @workgroup_size({WORKGROUP})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = group.y;
    //# if SPLIT
    // As many slices as the longest row has in this step.
    let slices = groups.x / ({HEADS}u / {GROUP}u);
    let first_head = group.x / slices * {GROUP}u;
    //# end
    //# if !SPLIT
    let first_head = group.x * {GROUP}u;
    //# end
    let kv_head = first_head / ({HEADS}u / {KV_HEADS}u);
    let at = 8u + first_row * 4u;
    let table = step[at + 2u];
    //# if TILED
    // Of rows that follow each other every so many-th begins a tile.
    let place = step[at + 3u];
    if place % {ROWS}u != 0u {
        return;
    }
    var rows = 1u;
    for (var next = 1u; next < {ROWS}u; next++) {
        if first_row + next < step[0] && step[at + next * 4u + 3u] == place + next {
            rows = next + 1u;
        }
    }
    //# end
    //# if !TILED
    let rows = 1u;
    //# end
    // Tokens that the first row attends to end here, those of the next ones one further each.
    let count = step[at + 1u] + 1u;
    let longest = count + rows - 1u;
    let start = count - min(count, op.window);
    //# if SPLIT
    let slice = start / op.slice + group.x % slices;
    let begin = max(start, slice * op.slice);
    let end = min(longest, (slice + 1u) * op.slice);
    if begin >= end {
        return;
    }
    //# end
    //# if !SPLIT
    let begin = start;
    let end = longest;
    //# end

    //# if RAW
    for (var n = 0u; n < {GROUP}u; n++) {
        let scale = norm_of(first_row, first_head + n, thread);
        for (var i = thread; i < HALF; i += {WORKGROUP}u) {
            let found = turned(first_row, first_head + n, i, scale, count - 1u);
            query[n * HALF + i] = vec2<f32>(round_half(found.x), round_half(found.y));
        }
    }
    if end == count {
        // The newest token's key and value, which nobody but this workgroup reads in this step.
        let newest = ((step[table + (count - 1u) / 32u] * {KV_HEADS}u + kv_head) * 32u + (count - 1u) % 32u) * HALF;
        let scale = norm_of(first_row, {HEADS}u + kv_head, thread);
        //# if FOURS
        for (var i = thread; i < HALF / 4u; i += {WORKGROUP}u) {
            var four = vec4<u32>(0u);
            for (var j = 0u; j < 4u; j++) {
                let found = turned(first_row, {HEADS}u + kv_head, i * 4u + j, scale, count - 1u);
                four[j] = halves(found.x, found.y);
            }
            keys[newest / 4u + i] = four;
        }
        //# end
        //# if !FOURS
        for (var i = thread; i < HALF; i += {WORKGROUP}u) {
            let found = turned(first_row, {HEADS}u + kv_head, i, scale, count - 1u);
            keys[newest + i] = halves(found.x, found.y);
        }
        //# end
        for (var i = thread; i < HALF; i += {WORKGROUP}u) {
            let found = pair(first_row, {HEADS}u + {KV_HEADS}u + kv_head, i);
            values[newest + i] = halves(found.x, found.y);
        }
    }
    storageBarrier();
    //# end
    //# if !RAW
    for (var i = thread; i < {QUERIES}u * HALF; i += {WORKGROUP}u) {
        let row = first_row + min(i / HALF / {GROUP}u, rows - 1u);
        query[i] = queries[(row * {HEADS}u + first_head + i / HALF % {GROUP}u) * HALF + i % HALF];
    }
    //# end
    for (var i = thread; i < {QUERIES}u; i += {WORKGROUP}u) {
        highest[i] = LOWEST;
    }
    workgroupBarrier();

    // This thread's position of a page, and which queries' scores it finds; its pairs of values, and of which queries.
    let lane = thread % {LANES}u;
    let part = thread / {LANES}u;
    let column = thread % {COLUMNS}u;
    let share = thread / {COLUMNS}u;
    //# for n QUERIES_EACH
    var top_{n} = LOWEST;
    var whole_{n} = 0.0;
    var total_{n} = 0.0;
    let mine_{n} = min(share + {n}u * {SHARES}u, {QUERIES}u - 1u);
    //# for s SHARE
    var all_{n}_{s} = vec2<f32>(0.0);
    var sum_{n}_{s} = vec2<f32>(0.0);
    //# end
    //# end

    for (var page = begin / 32u; page * 32u < end; page++) {
        let first = page * 32u;
        let entry = (step[table + page] * {KV_HEADS}u + kv_head) * 32u * HALF;
        for (var p = lane; p < 32u; p += {LANES}u) {
            let position = first + p;
            //# for n SCORES_EACH
            var product_{n} = vec2<f32>(0.0);
            let asked_{n} = part + {n}u * {PARTS}u;
            let from_{n} = min(asked_{n}, {QUERIES}u - 1u) * HALF;
            //# end
            if position >= begin && position < end {
                let base = entry + p * HALF;
                //# if FOURS
                for (var i = 0u; i < HALF / 4u; i++) {
                    let four = keys[base / 4u + i];
                    let a = unpack2x16float(four.x);
                    let b = unpack2x16float(four.y);
                    let c = unpack2x16float(four.z);
                    let d = unpack2x16float(four.w);
                    //# for n SCORES_EACH
                    product_{n} = fma(a, query[from_{n} + i * 4u], product_{n});
                    product_{n} = fma(b, query[from_{n} + i * 4u + 1u], product_{n});
                    product_{n} = fma(c, query[from_{n} + i * 4u + 2u], product_{n});
                    product_{n} = fma(d, query[from_{n} + i * 4u + 3u], product_{n});
                    //# end
                }
                //# end
                //# if !FOURS
                for (var i = 0u; i < HALF; i++) {
                    let a = unpack2x16float(keys[base + i]);
                    //# for n SCORES_EACH
                    product_{n} = fma(a, query[from_{n} + i], product_{n});
                    //# end
                }
                //# end
            }
            //# for n SCORES_EACH
            if asked_{n} < {QUERIES}u {
                // A row of a tile that is not full is the last one again.
                let beyond = min(asked_{n} / {GROUP}u, rows - 1u);
                let last = count + beyond;
                var score = (product_{n}.x + product_{n}.y) * op.scale;
                //# if CAP
                score = op.cap * tanh(clamp(score / op.cap, -10.0, 10.0));
                //# end
                let visible = position < min(last, end) && position >= max(begin, last - min(last, op.window));
                scores[asked_{n} * 32u + p] = select(LOWEST, score, visible);
            }
            //# end
        }
        workgroupBarrier();
        for (var q = thread; q < {QUERIES}u; q += {WORKGROUP}u) {
            let before = highest[q];
            var most = before;
            for (var i = 0u; i < 32u; i++) {
                most = max(most, scores[q * 32u + i]);
            }
            highest[q] = most;
            shrink[q] = exp(before - most);
        }
        workgroupBarrier();
        for (var i = thread; i < {QUERIES}u * 32u; i += {WORKGROUP}u) {
            let score = scores[i];
            scores[i] = select(0.0, exp(score - highest[i / 32u]), score > LOWEST);
        }
        workgroupBarrier();
        //# for n QUERIES_EACH
        let less_{n} = shrink[mine_{n}];
        var added_{n} = 0.0;
        //# for s SHARE
        sum_{n}_{s} *= less_{n};
        //# end
        //# end
        for (var i = max(begin, first) - first; i < min(end - first, 32u); i++) {
            //# for s SHARE
            let pair_{s} = unpack2x16float(values[entry + i * HALF + min(column + {s}u * {COLUMNS}u, HALF - 1u)]);
            //# end
            //# for n QUERIES_EACH
            let weight_{n} = scores[mine_{n} * 32u + i];
            added_{n} += weight_{n};
            //# for s SHARE
            sum_{n}_{s} = fma(vec2<f32>(weight_{n}), pair_{s}, sum_{n}_{s});
            //# end
            //# end
        }
        //# for n QUERIES_EACH
        total_{n} = fma(total_{n}, less_{n}, added_{n});
        //# end
        //# if !SPLIT
        let next = first + 32u;
        if next % op.slice == 0u || next >= end {
            //# for n QUERIES_EACH
            {
                let most = highest[mine_{n}];
                let high = max(top_{n}, most);
                let old = exp(top_{n} - high);
                let more = exp(most - high);
                whole_{n} = fma(whole_{n}, old, total_{n} * more);
                total_{n} = 0.0;
                top_{n} = high;
                //# for s SHARE
                all_{n}_{s} = fma(all_{n}_{s}, vec2<f32>(old), sum_{n}_{s} * more);
                sum_{n}_{s} = vec2<f32>(0.0);
                //# end
            }
            //# end
            workgroupBarrier();
            for (var q = thread; q < {QUERIES}u; q += {WORKGROUP}u) {
                highest[q] = LOWEST;
            }
        }
        //# end
        workgroupBarrier();
    }

    //# if SPLIT
    //# for n QUERIES_EACH
    if share + {n}u * {SHARES}u < {QUERIES}u {
        let row = (first_row * {HEADS}u + first_head + mine_{n}) * op.slices + group.x % slices;
        //# for s SHARE
        if column + {s}u * {COLUMNS}u < HALF {
            partials[row * (HALF + 1u) + column + {s}u * {COLUMNS}u] = sum_{n}_{s};
        }
        //# end
        if column == 0u {
            partials[row * (HALF + 1u) + HALF] = vec2<f32>(highest[mine_{n}], total_{n});
        }
    }
    //# end
    //# end
    //# if !SPLIT
    //# for n QUERIES_EACH
    if share + {n}u * {SHARES}u < {QUERIES}u && mine_{n} / {GROUP}u < rows {
        //# for s SHARE
        if column + {s}u * {COLUMNS}u < HALF {
            //# if FUSED
            // The query has served; what was found takes its place.
            query[mine_{n} * HALF + column + {s}u * {COLUMNS}u] = all_{n}_{s} / whole_{n};
            //# end
            //# if !FUSED
            let to = ((first_row + mine_{n} / {GROUP}u) * {HEADS}u + first_head + mine_{n} % {GROUP}u) * HALF;
            out[to + column + {s}u * {COLUMNS}u] = all_{n}_{s} / whole_{n};
            //# end
        }
        //# end
    }
    //# end
    //# if FUSED
    workgroupBarrier();
    for (var block = thread; block < rows * {GROUP}u * HALF / 16u; block += {WORKGROUP}u) {
        let head = block / (HALF / 16u);
        let to = ((first_row + head / {GROUP}u) * {HEADS}u + first_head + head % {GROUP}u) * HALF / 16u + block % (HALF / 16u);
        //# for i 8
        let v{i} = vec4<f32>(query[block * 16u + {2i}u], query[block * 16u + {2i+1}u]);
        //# end
        put_block(to, v0, v1, v2, v3, v4, v5, v6, v7);
    }
    //# end
    //# end
}
