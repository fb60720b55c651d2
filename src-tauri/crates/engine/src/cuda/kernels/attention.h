// Queries, keys and values brought to where attention finds them, and attention itself.

// Offsets added, normed, turned by their position. A warp for each head of each token. Where nothing is added and nothing normed,
// products do this themselves.
KERNEL heads(ARGUMENTS a) {
    const u32 *step = buffer<const u32>(a, 1);
    const u32 token = blockIdx.y, head = blockIdx.x, half = a.head / 2;
    const bool is_query = head < a.heads, is_value = head >= a.heads + a.kv_heads;
    const u32 inside = is_query ? head : is_value ? head - a.heads - a.kv_heads : head - a.heads;
    const Token about = token_of(step, token);
    const float *source = buffer<const float>(a, 2) + static_cast<size_t>(token) * a.numbers[1] + head * a.head;
    const float *offsets = buffer<const float>(a, 3) + head * a.head;
    // Of queries, then of keys.
    const float *weights = buffer<const float>(a, 4) + (is_query ? 0 : a.head);
    float scale = 1.0f;
    if (a.flags & NORM) {
        float sum = 0.0f;
        for (u32 at = threadIdx.x; at < a.head; at += WARP) {
            const float value = source[at] + (a.flags & OFFSET ? offsets[at] : 0.0f);
            sum = fmaf(value, value, sum);
        }
        scale = one_over_root(warp_sum(sum), a.head, as_float(a.numbers[0]));
    }
    const size_t to = static_cast<size_t>(is_query ? 0 : place(step, about, about.position, a.kv_heads, inside)) * half;
    for (u32 pair = threadIdx.x; pair < half; pair += WARP) {
        float2 value = make_float2(source[2 * pair], source[2 * pair + 1]);
        if (a.flags & OFFSET) value = make_float2(value.x + offsets[2 * pair], value.y + offsets[2 * pair + 1]);
        if ((a.flags & NORM) && !is_value) {
            value = make_float2(value.x * scale * weights[2 * pair], value.y * scale * weights[2 * pair + 1]);
        }
        if (is_value) {
            buffer<u32>(a, 8)[to + pair] = halves(value.x, value.y);
            continue;
        }
        value = rotate(a, buffer<const float2>(a, 5), about.position, pair, value);
        if (is_query) {
            float *out = buffer<float>(a, 6) + (static_cast<size_t>(token) * a.heads + head) * a.head + 2 * pair;
            out[0] = round_half(value.x);
            out[1] = round_half(value.y);
        } else {
            buffer<u32>(a, 7)[to + pair] = halves(value.x, value.y);
        }
    }
}

#define MAX_HEAD 256u
#define LOWEST (-3.0e38f)
// Warps that share one head of one token: each takes every so manieth page.
#define ATTENTION_WARPS 4u

// Attention of one head of one token over its sequence's pages. Of a page a thread has a position while scores are computed, and
// pairs of the head's values, every 32nd, while values are added up. PAIRS is how many of those, at most.
template <int PAIRS> __device__ inline void attend(const Arguments &a) {
    __shared__ float query[MAX_HEAD];
    __shared__ float gathered[ATTENTION_WARPS][MAX_HEAD];
    __shared__ float highest_of[ATTENTION_WARPS], total_of[ATTENTION_WARPS];
    const u32 *step = buffer<const u32>(a, 1);
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 token = blockIdx.y, head = blockIdx.x, half = a.head / 2;
    const float scale = as_float(a.numbers[0]), cap = as_float(a.numbers[2]);
    const Token about = token_of(step, token);
    const u32 end = about.position + 1, begin = end - least(end, a.numbers[1]);
    const u32 kv_head = head / (a.heads / a.kv_heads);
    const size_t at = (static_cast<size_t>(token) * a.heads + head) * a.head;
    for (u32 i = threadIdx.x; i < a.head; i += blockDim.x) query[i] = buffer<const float>(a, 2)[at + i];
    __syncthreads();
    float highest = LOWEST, total = 0.0f;
    float2 sums[PAIRS] = {};
    for (u32 page = begin / PAGE + (warp + ATTENTION_WARPS - begin / PAGE % ATTENTION_WARPS) % ATTENTION_WARPS; page * PAGE < end;
         page += ATTENTION_WARPS) {
        const u32 first = page * PAGE, position = first + lane;
        const size_t entries = place(step, about, first, a.kv_heads, kv_head);
        const bool seen = position >= begin && position < end;
        float score = LOWEST;
        if (seen) {
            const u32 *key = buffer<const u32>(a, 3) + (entries + lane) * half;
            float x = 0.0f, y = 0.0f;
            if (a.head % 8 == 0) {
                for (u32 i = 0; i < half; i += 4) {
                    // Keys of this step were written by a kernel before this one, so they are read like constants.
                    const uint4 four = load(reinterpret_cast<const uint4 *>(key + i));
                    const float *q = query + 2 * i;
                    x = fmaf(low_half(four.x), q[0], x);
                    y = fmaf(high_half(four.x), q[1], y);
                    x = fmaf(low_half(four.y), q[2], x);
                    y = fmaf(high_half(four.y), q[3], y);
                    x = fmaf(low_half(four.z), q[4], x);
                    y = fmaf(high_half(four.z), q[5], y);
                    x = fmaf(low_half(four.w), q[6], x);
                    y = fmaf(high_half(four.w), q[7], y);
                }
            } else {
                for (u32 i = 0; i < half; i++) {
                    const u32 pair = load(key + i);
                    x = fmaf(low_half(pair), query[2 * i], x);
                    y = fmaf(high_half(pair), query[2 * i + 1], y);
                }
            }
            score = (x + y) * scale;
            if (a.flags & CAP) score = cap * tanhf(fmaxf(fminf(score / cap, 10.0f), -10.0f));
        }
        const float most = fmaxf(highest, warp_most(score));
        const float weight = seen ? expf(score - most) : 0.0f;
        const float shrink = expf(highest - most);
        highest = most;
        total = fmaf(total, shrink, warp_sum(weight));
#pragma unroll
        for (int n = 0; n < PAIRS; n++) sums[n] = make_float2(sums[n].x * shrink, sums[n].y * shrink);
        const u32 from = begin > first ? begin - first : 0, to = least(PAGE, end - first);
        const u32 *values = buffer<const u32>(a, 4) + entries * half;
        for (u32 i = from; i < to; i++) {
            const float share = __shfl_sync(ALL, weight, i);
#pragma unroll
            for (int n = 0; n < PAIRS; n++) {
                const u32 pair = lane + n * WARP;
                if (pair < half) {
                    const u32 both = load(values + i * half + pair);
                    sums[n] = make_float2(fmaf(share, low_half(both), sums[n].x), fmaf(share, high_half(both), sums[n].y));
                }
            }
        }
    }
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        const u32 pair = lane + n * WARP;
        if (pair < half) {
            gathered[warp][2 * pair] = sums[n].x;
            gathered[warp][2 * pair + 1] = sums[n].y;
        }
    }
    if (lane == 0) {
        highest_of[warp] = highest;
        total_of[warp] = total;
    }
    __syncthreads();
    float most = LOWEST, all = 0.0f, shares[ATTENTION_WARPS];
    for (u32 w = 0; w < ATTENTION_WARPS; w++) most = fmaxf(most, highest_of[w]);
    for (u32 w = 0; w < ATTENTION_WARPS; w++) {
        shares[w] = expf(highest_of[w] - most);
        all = fmaf(total_of[w], shares[w], all);
    }
    // A head of whole blocks takes the form of the next matrix at once; others leave what they found as it is.
    const bool fused = a.flags & (FUSED_F32 | FUSED_F16 | FUSED_Q8);
    for (u32 i = threadIdx.x; i < a.head; i += blockDim.x) {
        float sum = 0.0f;
        for (u32 w = 0; w < ATTENTION_WARPS; w++) sum = fmaf(gathered[w][i], shares[w], sum);
        const float value = sum / all;
        if (fused) {
            const Form form = a.flags & FUSED_Q8 ? FORM_Q8 : a.flags & FUSED_F16 ? FORM_F16 : FORM_F32;
            put(form, buffer<u32>(a, 6), buffer<float2>(a, 7), static_cast<u32>((at + i) / 32), value);
        } else {
            buffer<float>(a, 5)[at + i] = value;
        }
    }
}

KERNEL attention_64(ARGUMENTS a) { attend<1>(a); }
KERNEL attention_128(ARGUMENTS a) { attend<2>(a); }
KERNEL attention_256(ARGUMENTS a) { attend<4>(a); }
