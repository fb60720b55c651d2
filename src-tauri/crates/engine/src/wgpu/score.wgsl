// Scores of experts: products of the router's rows with normed states. What is normed takes the form of the experts' matrices on the
// way. Workgroups side by side share a token's experts and blocks; each of them norms for itself.

struct Op {
    columns: u32,
    blocks: u32,
    experts: u32,
    epsilon: f32,
    // Workgroups side by side.
    groups: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> source: array<f32>;
//# if F32
@group(0) @binding(2) var<storage, read> router: array<vec4<f32>>;
//# end
//# if SIXTEEN
@group(0) @binding(2) var<storage, read> router: array<vec2<u32>>;
//# end
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> words: array<vec4<u32>>;
//# if OUT_Q8
@group(0) @binding(5) var<storage, read_write> parts: array<vec2<f32>>;
//# end
@group(0) @binding(6) var<storage, read_write> scores: array<f32>;

var<workgroup> partial: array<vec4<f32>, {WORKGROUP}>;

// The sum of what all threads have.
fn added(share: vec4<f32>, thread: u32) -> vec4<f32> {
    partial[thread] = share;
    for (var half = {WORKGROUP}u / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            partial[thread] += partial[thread + half];
        }
    }
    workgroupBarrier();
    let sum = partial[0];
    // Nobody writes the next sum before all have read this one.
    workgroupBarrier();
    return sum;
}

fn normed(at: u32, wanted: u32, scale: f32) -> f32 {
    let column = min(wanted, op.columns - 1u);
    return select(0.0, source[at + column] * scale * weights[column], wanted < op.columns);
}

fn four(at: u32, column: u32, scale: f32) -> vec4<f32> {
    return vec4<f32>(
        normed(at, column, scale),
        normed(at, column + 1u, scale),
        normed(at, column + 2u, scale),
        normed(at, column + 3u, scale),
    );
}

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.y;
    let at = token * op.columns;
    var sum = 0.0;
    for (var column = thread; column < op.columns; column += {WORKGROUP}u) {
        let one = source[at + column];
        sum = fma(one, one, sum);
    }
    let scale = 1.0 / sqrt(added(vec4<f32>(sum), thread).x / f32(op.columns) + op.epsilon);
    for (var block = thread * op.groups + group.x; block < op.blocks; block += {WORKGROUP}u * op.groups) {
        //# for i 8
        let v{i} = four(at, block * 32u + {i}u * 4u, scale);
        //# end
        put_block(token * op.blocks + block, v0, v1, v2, v3, v4, v5, v6, v7);
    }
    //# for r 4
    let row_{r} = min(group.x * 4u + {r}u, op.experts - 1u) * op.blocks * 8u;
    var sums_{r} = vec4<f32>(0.0);
    //# end
    for (var place = thread; place < op.blocks * 8u; place += {WORKGROUP}u) {
        var values = four(at, place * 4u, scale);
        //# if F16
        values = vec4<f32>(round_half(values.x), round_half(values.y), round_half(values.z), round_half(values.w));
        //# end
        //# for r 4
        //# if F32
        sums_{r} = fma(router[row_{r} + place], values, sums_{r});
        //# end
        //# if SIXTEEN
        let pairs_{r} = router[row_{r} + place];
        sums_{r} = fma(vec4<f32>(widened(pairs_{r}.x), widened(pairs_{r}.y)), values, sums_{r});
        //# end
        //# end
    }
    var shares = vec4<f32>(0.0);
    //# for r 4
    shares[{r}] = (sums_{r}.x + sums_{r}.y) + (sums_{r}.z + sums_{r}.w);
    //# end
    let found = added(shares, thread);
    let expert = group.x * 4u + thread;
    if thread < 4u && expert < op.experts {
        scores[token * op.experts + expert] = found[thread];
    }
}
