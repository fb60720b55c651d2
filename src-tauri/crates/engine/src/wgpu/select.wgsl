// The likeliest tokens behind each row that wants any. In two rounds: first of every slice of the vocabulary, then of all slices'
// likeliest. A workgroup finds one after another: each thread offers the best of what is its, the best offer wins, and its thread
// looks for its next.
//
// Of equal logits the lower id comes first; what is no number is never found.

struct Op {
    vocabulary: u32,
    // Logits of one slice, and how many slices there are.
    slice: u32,
    slices: u32,
    // Rows that results have room for.
    rows: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
//# if FIRST
@group(0) @binding(2) var<storage, read> logits: array<f32>;
// Of each row and slice the likeliest: id and logit's bits.
@group(0) @binding(3) var<storage, read_write> found: array<vec2<u32>>;
// Of each row and slice the highest logit, and the sum of all exponentials relative to it.
@group(0) @binding(4) var<storage, read_write> sums: array<vec2<f32>>;
//# end
//# if !FIRST
@group(0) @binding(2) var<storage, read> found: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> sums: array<vec2<f32>>;
// One id for each row; then for each row the logarithm of the sum and the likeliest.
@group(0) @binding(4) var<storage, read_write> results: array<u32>;
//# end

const NONE = 0xffffffffu;
const LOWEST = -3.4028235e38;

struct Offer {
    logit: f32,
    id: u32,
}

var<workgroup> offers: array<Offer, {WORKGROUP}>;
//# if FIRST
var<workgroup> partial: array<f32, {WORKGROUP}>;
//# end

fn before(a: Offer, b: Offer) -> bool {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

fn offer(row: u32, slice: u32, at: u32) -> Offer {
    //# if FIRST
    let id = slice * op.slice + at;
    return Offer(logits[row * op.vocabulary + id], id);
    //# end
    //# if !FIRST
    let one = found[row * op.slices * 64u + at];
    return Offer(bitcast<f32>(one.y), one.x);
    //# end
}

// The best of this thread's that comes after another, or after nothing.
fn best_after(row: u32, slice: u32, thread: u32, count: u32, last: Offer) -> Offer {
    var best = Offer(LOWEST, NONE);
    for (var at = thread; at < count; at += {WORKGROUP}u) {
        let one = offer(row, slice, at);
        if one.id != NONE && one.logit >= LOWEST && (last.id == NONE || before(last, one)) && (best.id == NONE || before(one, best)) {
            best = one;
        }
    }
    return best;
}

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.y;
    let slice = group.x;
    // 1 or 64.
    let wanted = step[step[3] + row * 2u + 1u];
    //# if FIRST
    let count = min(op.slice, op.vocabulary - slice * op.slice);
    //# end
    //# if !FIRST
    let count = op.slices * 64u;
    //# end
    var mine = best_after(row, slice, thread, count, Offer(0.0, NONE));
    var highest = LOWEST;
    for (var n = 0u; n < wanted; n++) {
        offers[thread] = mine;
        for (var half = {WORKGROUP}u / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if thread < half {
                let other = offers[thread + half];
                if other.id != NONE && (offers[thread].id == NONE || before(other, offers[thread])) {
                    offers[thread] = other;
                }
            }
        }
        workgroupBarrier();
        let winner = offers[0];
        workgroupBarrier();
        if n == 0u {
            highest = winner.logit;
        }
        if mine.id == winner.id && mine.id != NONE {
            if wanted > 1u {
                mine = best_after(row, slice, thread, count, winner);
            }
            //# if FIRST
            found[(row * op.slices + slice) * 64u + n] = vec2<u32>(winner.id, bitcast<u32>(winner.logit));
            //# end
            //# if !FIRST
            if n == 0u {
                results[row] = winner.id;
            }
            results[op.rows + row * 129u + 1u + n * 2u] = winner.id;
            results[op.rows + row * 129u + 2u + n * 2u] = bitcast<u32>(winner.logit);
            //# end
        } else if winner.id == NONE && thread == 0u {
            //# if FIRST
            found[(row * op.slices + slice) * 64u + n] = vec2<u32>(NONE, 0u);
            //# end
            //# if !FIRST
            if n == 0u {
                results[row] = 0u;
            }
            results[op.rows + row * 129u + 1u + n * 2u] = NONE;
            //# end
        }
    }
    //# if FIRST
    // One is wanted of each slice: the others must not be taken for found.
    if thread == 0u {
        for (var n = wanted; n < 64u; n++) {
            found[(row * op.slices + slice) * 64u + n] = vec2<u32>(NONE, 0u);
        }
    }
    if wanted > 1u {
        var sum = 0.0;
        for (var at = thread; at < count; at += {WORKGROUP}u) {
            let one = offer(row, slice, at);
            if one.logit >= LOWEST {
                sum += exp(one.logit - highest);
            }
        }
        partial[thread] = sum;
        workgroupBarrier();
        if thread == 0u {
            var total = 0.0;
            for (var i = 0u; i < {WORKGROUP}u; i++) {
                total += partial[i];
            }
            sums[row * op.slices + slice] = vec2<f32>(highest, total);
        }
    }
    //# end
    //# if !FIRST
    if wanted > 1u && thread == 0u {
        var total = 0.0;
        for (var i = 0u; i < op.slices; i++) {
            let one = sums[row * op.slices + i];
            total = fma(one.y, exp(one.x - highest), total);
        }
        results[op.rows + row * 129u] = bitcast<u32>(highest + log(total));
    }
    //# end
}
