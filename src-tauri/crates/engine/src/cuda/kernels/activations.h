// States of tokens, and activations made from them.

// Rows of the embedding, widened: a warp for each block of 32 values, a thread for each value.
template <int P> __device__ inline void embed(const Arguments &a) {
    const u32 rows = a.numbers[0], first = a.numbers[1], blocks = a.numbers[2], columns = a.numbers[3];
    const float scale_all = as_float(a.numbers[4]);
    const u32 id = token_of(buffer<const u32>(a, 1), blockIdx.y).id;
    const u32 row = id - first;
    if (id < first || row >= rows) return;
    const u32 lane = threadIdx.x % WARP;
    float *states = buffer<float>(a, 4) + static_cast<size_t>(blockIdx.y) * columns;
    for (u32 block = threadIdx.x / WARP; block < blocks; block += blockDim.x / WARP) {
        const size_t base = static_cast<size_t>(row) * blocks + block;
        float value;
        if (P == F32) {
            value = buffer<const float>(a, 2)[base * 32 + lane];
        } else if (P == F16 || P == BF16) {
            value = lower<P>(load(buffer<const u16>(a, 2) + base * 32 + lane));
        } else {
            const Sides sides = sides_of<P>(buffer<const u32>(a, 3), base);
            i8 quant;
            if (P == BYTES) {
                quant = buffer<const i8>(a, 2)[base * 32 + lane];
            } else {
                const u32 number = lane % 16 / 4;
                const u32 four = four_of<P>(load(buffer<const u32>(a, 2) + base * 4 + number), sides, number, lane / 16);
                quant = static_cast<i8>(four >> (lane % 4 * 8) & 255u);
            }
            value = fmaf(static_cast<float>(quant), lane < 16 ? sides.scale : sides.second, sides.offset);
        }
        const u32 column = block * 32 + lane;
        if (column < columns) states[column] = value * scale_all;
    }
}

KERNEL embed_f32(ARGUMENTS a) { embed<F32>(a); }
KERNEL embed_f16(ARGUMENTS a) { embed<F16>(a); }
KERNEL embed_nibbles(ARGUMENTS a) { embed<NIBBLES>(a); }
KERNEL embed_bytes(ARGUMENTS a) { embed<BYTES>(a); }
KERNEL embed_bf16(ARGUMENTS a) { embed<BF16>(a); }
KERNEL embed_q4_0(ARGUMENTS a) { embed<Q4_0>(a); }
KERNEL embed_q5_0(ARGUMENTS a) { embed<Q5_0>(a); }
KERNEL embed_q5_1(ARGUMENTS a) { embed<Q5_1>(a); }
KERNEL embed_q4_k(ARGUMENTS a) { embed<Q4_K>(a); }
KERNEL embed_q5_k(ARGUMENTS a) { embed<Q5_K>(a); }
KERNEL embed_q6_k(ARGUMENTS a) { embed<Q6_K>(a); }

// Normed, gated or as they are, in the form that the next matrix is multiplied with. One block of threads for each token, a warp for
// each 32 values.
__device__ inline float one_over_root(float sum, u32 columns, float epsilon) {
    return 1.0f / sqrtf(sum / static_cast<float>(columns) + epsilon);
}

__device__ inline float gated(const Arguments &a, float gate) {
    if (a.flags & GELU) {
        const float inner = fmaxf(fminf(0.7978846f * gate * (1.0f + 0.044715f * gate * gate), 10.0f), -10.0f);
        return 0.5f * gate * (1.0f + tanhf(inner));
    }
    return gate / (1.0f + expf(-gate));
}

template <int FORM> __device__ inline void prepare(const Arguments &a) {
    __shared__ float partial[WARP];
    const u32 columns = a.numbers[0], blocks = a.numbers[1];
    const float epsilon = as_float(a.numbers[3]);
    const u32 *step = buffer<const u32>(a, 1);
    const u32 token = blockIdx.y;
    // Or the token behind which something is wanted.
    const u32 row = a.numbers[2] != 0 ? step[step[3] + token * 2] : token;
    float *source = buffer<float>(a, 2) + static_cast<size_t>(row) * columns * (a.flags & GATE ? 2 : 1);
    if (a.flags & BEHIND) {
        // What a part of the layer gave is normed and added before anything else.
        const float *made = buffer<const float>(a, 6) + static_cast<size_t>(row) * columns;
        const float *behind = buffer<const float>(a, 7);
        float sum = 0.0f;
        for (u32 column = threadIdx.x; column < columns; column += blockDim.x) sum = fmaf(made[column], made[column], sum);
        const float scale = one_over_root(block_sum(sum, partial), columns, epsilon);
        for (u32 column = threadIdx.x; column < columns; column += blockDim.x) {
            source[column] += made[column] * scale * behind[column];
        }
        __syncthreads();
    }
    float scale = 1.0f;
    if (a.flags & NORM) {
        float sum = 0.0f;
        for (u32 column = threadIdx.x; column < columns; column += blockDim.x) sum = fmaf(source[column], source[column], sum);
        scale = one_over_root(block_sum(sum, partial), columns, epsilon);
    }
    const float *weights = buffer<const float>(a, 3);
    for (u32 block = threadIdx.x / WARP; block < blocks; block += blockDim.x / WARP) {
        const u32 column = block * 32 + threadIdx.x % WARP;
        float value = 0.0f;
        if (column < columns) {
            if (a.flags & NORM) {
                value = source[column] * scale * weights[column];
            } else if (a.flags & GATE) {
                value = gated(a, source[column]) * source[columns + column];
            } else {
                value = source[column];
            }
        }
        put(static_cast<Form>(FORM), buffer<u32>(a, 4), buffer<float2>(a, 5), token * blocks + block, value);
    }
}

KERNEL prepare_f32(ARGUMENTS a) { prepare<FORM_F32>(a); }
KERNEL prepare_f16(ARGUMENTS a) { prepare<FORM_F16>(a); }
KERNEL prepare_q8(ARGUMENTS a) { prepare<FORM_Q8>(a); }
