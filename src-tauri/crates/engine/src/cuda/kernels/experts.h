// Which experts a token asks, and what becomes of their answers.

// Those of the highest scores, the lower number first of equals, with weights that add up to one. A warp for each token.
KERNEL route(ARGUMENTS a) {
    const u32 experts = a.numbers[0], used = a.numbers[1], lane = threadIdx.x;
    float *scores = buffer<float>(a, 2) + static_cast<size_t>(blockIdx.x) * experts;
    uint2 *routes = buffer<uint2>(a, 3) + static_cast<size_t>(blockIdx.x) * used;
    float highest = 0.0f, total = 0.0f;
    for (u32 n = 0; n < used; n++) {
        u32 best = 0;
        float most = -3.4e38f;
        for (u32 expert = lane; expert < experts; expert += WARP) {
            if (scores[expert] > most) {
                most = scores[expert];
                best = expert;
            }
        }
        for (u32 apart = 1; apart < WARP; apart *= 2) {
            const float other = __shfl_xor_sync(ALL, most, apart);
            const u32 its = __shfl_xor_sync(ALL, best, apart);
            if (other > most || (other == most && its < best)) {
                most = other;
                best = its;
            }
        }
        if (n == 0) highest = most;
        const float weight = expf(most - highest);
        total += weight;
        if (lane == 0) {
            // Taken.
            scores[best] = -3.4e38f;
            routes[n] = make_uint2(best, as_bits(weight));
        }
        __syncwarp();
    }
    for (u32 n = lane; n < used; n += WARP) routes[n].y = as_bits(as_float(routes[n].y) / total);
}

// Adds experts' answers to the states, by their weights. One thread for each value.
KERNEL combine(ARGUMENTS a) {
    const u32 columns = a.numbers[0], used = a.numbers[1];
    const u32 column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (u32 n = 0; n < used; n++) {
        const size_t slot = static_cast<size_t>(blockIdx.y) * used + n;
        sum = fmaf(buffer<const float>(a, 2)[slot * columns + column], as_float(buffer<const uint2>(a, 1)[slot].y), sum);
    }
    buffer<float>(a, 3)[static_cast<size_t>(blockIdx.y) * columns + column] += sum;
}
