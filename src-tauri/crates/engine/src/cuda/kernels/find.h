// What is found among logits.

// Takes penalties off. One thread for each.
KERNEL penalise(ARGUMENTS a) {
    const u32 *step = buffer<const u32>(a, 1);
    const u32 number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= a.count) return;
    const u32 *penalty = step + step[4] + number * 3;
    buffer<float>(a, 2)[static_cast<size_t>(penalty[0]) * a.numbers[0] + penalty[1]] -= as_float(penalty[2]);
}

// Makes logits of tokens that may not be chosen negative infinity. One thread for each logit, one row of blocks for each mask.
// Not called `mask`: the assembler of NVRTC 12.1 dies of a kernel of that name.
KERNEL forbid(ARGUMENTS a) {
    const u32 *step = buffer<const u32>(a, 1);
    const u32 token = blockIdx.x * blockDim.x + threadIdx.x;
    if (token >= a.numbers[0]) return;
    const u32 *words = step + step[5] + blockIdx.y * a.numbers[1];
    if ((words[1 + token / 32] >> token % 32 & 1) == 0) {
        buffer<u32>(a, 2)[static_cast<size_t>(words[0]) * a.numbers[0] + token] = 0xff800000u;
    }
}

// The likeliest tokens behind each row that wants any, in two rounds: of every slice of the vocabulary, then of all slices' likeliest.
// Each thread offers the best of what is its, the best offer wins, and its thread looks for its next. Of equal logits the lower id
// comes first; what is no number is never found.
#define NONE 0xffffffffu
#define LOWEST_LOGIT (-3.4028235e38f)
#define CANDIDATES 64u

struct Offer {
    float logit;
    u32 id;
};

__device__ inline bool before(Offer a, Offer b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }
__device__ inline Offer better(Offer a, Offer b) { return b.id != NONE && (a.id == NONE || before(b, a)) ? b : a; }

template <bool FIRST> __device__ inline Offer offer(const Arguments &a, u32 row, u32 slice, u32 at) {
    Offer found;
    if (FIRST) {
        found.id = slice * a.numbers[1] + at;
        found.logit = buffer<const float>(a, 2)[static_cast<size_t>(row) * a.numbers[0] + found.id];
    } else {
        const uint2 one = buffer<const uint2>(a, 2)[static_cast<size_t>(row) * a.numbers[2] * CANDIDATES + at];
        found.id = one.x;
        found.logit = as_float(one.y);
    }
    return found;
}

// The best of this thread's that comes after another, or after nothing.
template <bool FIRST> __device__ inline Offer best_after(const Arguments &a, u32 row, u32 slice, u32 count, Offer last) {
    Offer best = {LOWEST_LOGIT, NONE};
#pragma unroll 1
    for (u32 at = threadIdx.x; at < count; at += blockDim.x) {
        const Offer one = offer<FIRST>(a, row, slice, at);
        if (one.id != NONE && one.logit >= LOWEST_LOGIT && (last.id == NONE || before(last, one))) best = better(best, one);
    }
    return best;
}

template <bool FIRST> __device__ inline void select(const Arguments &a) {
    __shared__ float logits[WARP];
    __shared__ u32 ids[WARP];
    const u32 *step = buffer<const u32>(a, 1);
    const u32 row = blockIdx.y, slice = blockIdx.x, vocabulary = a.numbers[0], slices = a.numbers[2];
    const u32 wanted = step[step[3] + row * 2 + 1];
    const u32 count = FIRST ? least(a.numbers[1], vocabulary - slice * a.numbers[1]) : slices * CANDIDATES;
    uint2 *found = buffer<uint2>(a, 3) + (static_cast<size_t>(row) * slices + slice) * CANDIDATES;
    u32 *results = buffer<u32>(a, 4);
    u32 *of_row = results + a.numbers[3] + static_cast<size_t>(row) * (1 + 2 * CANDIDATES);
    const Offer nothing = {0.0f, NONE};
    Offer mine = best_after<FIRST>(a, row, slice, count, nothing);
    float highest = LOWEST_LOGIT;
    for (u32 n = 0; n < wanted; n++) {
        Offer winner = mine;
        for (u32 apart = 1; apart < WARP; apart *= 2) {
            Offer other;
            other.logit = __shfl_xor_sync(ALL, winner.logit, apart);
            other.id = __shfl_xor_sync(ALL, winner.id, apart);
            winner = better(winner, other);
        }
        if (threadIdx.x % WARP == 0) {
            logits[threadIdx.x / WARP] = winner.logit;
            ids[threadIdx.x / WARP] = winner.id;
        }
        __syncthreads();
        for (u32 warp = 0; warp < blockDim.x / WARP; warp++) {
            const Offer other = {logits[warp], ids[warp]};
            winner = better(winner, other);
        }
        __syncthreads();
        if (n == 0) highest = winner.id == NONE ? LOWEST_LOGIT : winner.logit;
        if (mine.id == winner.id && mine.id != NONE) {
            if (wanted > 1) mine = best_after<FIRST>(a, row, slice, count, winner);
            if (FIRST) {
                found[n] = make_uint2(winner.id, as_bits(winner.logit));
            } else {
                if (n == 0) results[row] = winner.id;
                of_row[1 + n * 2] = winner.id;
                of_row[2 + n * 2] = as_bits(winner.logit);
            }
        } else if (winner.id == NONE && threadIdx.x == 0) {
            if (FIRST) {
                found[n] = make_uint2(NONE, 0);
            } else {
                if (n == 0) results[row] = 0;
                of_row[1 + n * 2] = NONE;
            }
        }
    }
    if (FIRST) {
        // What was not wanted of a slice must not be taken for found.
        for (u32 n = wanted + threadIdx.x; n < CANDIDATES; n += blockDim.x) found[n] = make_uint2(NONE, 0);
        if (wanted > 1) {
            float sum = 0.0f;
            for (u32 at = threadIdx.x; at < count; at += blockDim.x) {
                const Offer one = offer<true>(a, row, slice, at);
                if (one.logit >= LOWEST_LOGIT) sum += expf(one.logit - highest);
            }
            sum = block_sum(sum, logits);
            if (threadIdx.x == 0) buffer<float2>(a, 4)[static_cast<size_t>(row) * slices + slice] = make_float2(highest, sum);
        }
    } else if (wanted > 1 && threadIdx.x == 0) {
        float total = 0.0f;
        for (u32 i = 0; i < slices; i++) {
            const float2 one = buffer<const float2>(a, 3)[static_cast<size_t>(row) * slices + i];
            total = fmaf(one.y, expf(one.x - highest), total);
        }
        of_row[0] = as_bits(highest + logf(total));
    }
}

KERNEL select_first(ARGUMENTS a) { select<true>(a); }
KERNEL select_second(ARGUMENTS a) { select<false>(a); }
