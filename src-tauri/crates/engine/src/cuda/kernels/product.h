// Products of a matrix's rows with the activations of several tokens.
//
// Quants are read in units of 16 bytes, each by one thread, eight threads side by side along a row, so that every sector that comes from
// memory is used whole. Sums run in one order whatever the tile: a thread's units (every eighth of the row) one after another, then
// the eight threads' sums pair by pair. In the kernels for prompts the eight are warps, and what a thread adds up there is the same
// list of numbers in the same order. So a token's result has the same bits alone and among others.

#define SIDE_BY_SIDE 8u

// Units of a block of 32 values.
template <int P> __device__ inline u32 units_of_block() { return P == F32 ? 8 : P == F16 || P == BF16 ? 4 : P == BYTES ? 2 : 1; }

struct Rows {
    // Of the part of the matrix; the number of the first one among the output's; the first one's number in the matrix.
    u32 rows, first, top;
    u32 blocks, stride;
    // How many tokens have an output, and how many are there to be read.
    u32 tokens, readable;
};

__device__ inline Rows rows_of(const Arguments &a) {
    Rows found;
    found.rows = a.numbers[0];
    found.first = a.numbers[1];
    found.blocks = a.numbers[2];
    found.stride = a.numbers[3];
    found.top = 0;
    found.tokens = found.readable = a.count;
    if (a.flags & EXPERTS) {
        // An expert of another part of the matrix: nothing is written then.
        const u32 expert = buffer<const uint2>(a, 7)[blockIdx.y].x - a.numbers[6];
        if (expert >= a.numbers[7]) found.tokens = 0;
        found.top = least(expert, a.numbers[7] - 1) * found.rows;
    }
    return found;
}

// Logits with a cap; anything else as it is.
__device__ inline float limited(const Arguments &a, float value) {
    if (!(a.flags & CAP)) return value;
    const float cap = as_float(a.numbers[6]);
    return cap * tanhf(fmaxf(fminf(value / cap, 10.0f), -10.0f));
}

// What becomes of two neighbouring rows' products with one token.
__device__ inline void finish(const Arguments &a, const Rows &r, u32 row, u32 token, float first, float second) {
    if (row >= r.rows || token >= r.tokens) return;
    const u32 at = r.first + row;
    float *out = buffer<float>(a, 6) + static_cast<size_t>(token) * r.stride;
    if (a.flags & CACHE) {
        const u32 queries = a.numbers[6], keys = a.numbers[7];
        const u32 *step = buffer<const u32>(a, 1);
        const float2 *turns = buffer<const float2>(a, 9);
        const Token about = token_of(step, token);
        const float2 pair = make_float2(first, second);
        const u32 inside = at < queries ? at : at < queries + keys ? at - queries : at - queries - keys;
        const u32 head = inside / a.head, in_head = inside % a.head / 2;
        if (at < queries) {
            const float2 query = rotate(a, turns, about.position, in_head, pair);
            out[at] = round_half(query.x);
            out[at + 1] = round_half(query.y);
            return;
        }
        const size_t to =
            static_cast<size_t>(place(step, about, about.position, a.kv_heads, head)) * (a.head / 2) + in_head;
        if (at < queries + keys) {
            const float2 key = rotate(a, turns, about.position, in_head, pair);
            buffer<u32>(a, 7)[to] = halves(key.x, key.y);
        } else {
            buffer<u32>(a, 8)[to] = halves(first, second);
        }
    } else if (a.flags & ADD) {
        out[at] += first;
        if (row + 1 < r.rows) out[at + 1] += second;
    } else {
        out[at] = limited(a, first);
        if (row + 1 < r.rows) out[at + 1] = limited(a, second);
    }
}

// A unit of a row: as it is, or of types of fewer bits than eight the first sixteen values of a block and the others.
struct Unit {
    uint4 low, high;
    Sides sides;
};

template <int P> __device__ inline Unit unit_of(const Arguments &a, size_t row, u32 blocks, u32 unit) {
    Unit found = {};
    const uint4 q = load(buffer<const uint4>(a, 2) + row * blocks * units_of_block<P>() + unit);
    found.low = q;
    if (P == F32 || P == F16 || P == BF16) return found;
    found.sides = sides_of<P>(buffer<const u32>(a, 3), row * blocks + unit / units_of_block<P>());
    if (P == BYTES) return found;
    const Sides &s = found.sides;
    found.low = make_uint4(four_of<P>(q.x, s, 0, 0), four_of<P>(q.y, s, 1, 0), four_of<P>(q.z, s, 2, 0), four_of<P>(q.w, s, 3, 0));
    found.high = make_uint4(four_of<P>(q.x, s, 0, 1), four_of<P>(q.y, s, 1, 1), four_of<P>(q.z, s, 2, 1), four_of<P>(q.w, s, 3, 1));
    return found;
}

template <int P, int TOKENS> __device__ inline void product(const Arguments &a) {
    const Rows r = rows_of(a);
    const u32 lane = threadIdx.x % SIDE_BY_SIDE;
    const u32 row = (blockIdx.x * (blockDim.x / SIDE_BY_SIDE) + threadIdx.x / SIDE_BY_SIDE) * 2;
    const u32 first_token = blockIdx.y * TOKENS;
    const u32 shared_by = a.flags & EXPERTS ? a.shared_by : 1;
    const size_t rows[2] = {r.top + least(row, r.rows - 1), r.top + least(row + 1, r.rows - 1)};
    float sums[2][TOKENS] = {};
    const u32 units = r.blocks * units_of_block<P>();
#pragma unroll(TOKENS == 1 ? 4 : 1)
    for (u32 unit = lane; unit < units; unit += SIDE_BY_SIDE) {
        const Unit of_rows[2] = {unit_of<P>(a, rows[0], r.blocks, unit), unit_of<P>(a, rows[1], r.blocks, unit)};
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            const size_t token = least(first_token + t, r.readable - 1) / shared_by;
            if (P == F32 || P == F16 || P == BF16) {
                const float4 *words = buffer<const float4>(a, 4) + token * r.blocks * 8 + unit * (P == F32 ? 1 : 2);
                const float4 low = load(words);
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    const uint4 q = of_rows[n].low;
                    float sum = sums[n][t];
                    if (P == F32) {
                        sum = fmaf(as_float(q.x), low.x, sum);
                        sum = fmaf(as_float(q.y), low.y, sum);
                        sum = fmaf(as_float(q.z), low.z, sum);
                        sum = fmaf(as_float(q.w), low.w, sum);
                    } else {
                        const float4 high = load(words + 1);
                        sum = fmaf(lower<P>(q.x), low.x, sum);
                        sum = fmaf(upper<P>(q.x), low.y, sum);
                        sum = fmaf(lower<P>(q.y), low.z, sum);
                        sum = fmaf(upper<P>(q.y), low.w, sum);
                        sum = fmaf(lower<P>(q.z), high.x, sum);
                        sum = fmaf(upper<P>(q.z), high.y, sum);
                        sum = fmaf(lower<P>(q.w), high.z, sum);
                        sum = fmaf(upper<P>(q.w), high.w, sum);
                    }
                    sums[n][t] = sum;
                }
            } else {
                const u32 block = unit / units_of_block<P>();
                const float2 part = load(buffer<const float2>(a, 5) + token * r.blocks + block);
                const uint4 *words = buffer<const uint4>(a, 4) + token * r.blocks * 2;
                const uint4 low = load(words + (P == BYTES ? unit : unit * 2));
                const uint4 high = P == BYTES ? low : load(words + unit * 2 + 1);
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    const Unit &u = of_rows[n];
                    float sum = sums[n][t];
                    if (has_offset<P>()) sum = fmaf(u.sides.offset, part.y, sum);
                    if (P == BYTES) {
                        sum = fmaf(u.sides.scale * part.x, static_cast<float>(dot16(u.low, low, 0)), sum);
                    } else if (P == Q6_K) {
                        sum = fmaf(u.sides.scale * part.x, static_cast<float>(dot16(u.low, low, 0)), sum);
                        sum = fmaf(u.sides.second * part.x, static_cast<float>(dot16(u.high, high, 0)), sum);
                    } else {
                        const int whole = dot16(u.high, high, dot16(u.low, low, 0));
                        sum = fmaf(u.sides.scale * part.x, static_cast<float>(whole), sum);
                    }
                    sums[n][t] = sum;
                }
            }
        }
    }
    // Every thread gets every sum, and each finishes one token.
    float mine[2] = {};
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
#pragma unroll
        for (int n = 0; n < 2; n++) {
            float sum = sums[n][t];
#pragma unroll
            for (u32 apart = 1; apart < SIDE_BY_SIDE; apart *= 2) sum += __shfl_xor_sync(ALL, sum, apart);
            if (lane == static_cast<u32>(t)) mine[n] = sum;
        }
    }
    if (lane < TOKENS) finish(a, r, row, first_token + lane, mine[0], mine[1]);
}

#define PRODUCTS(name, P)                                                                                                                  \
    KERNEL product_##name##_1(ARGUMENTS a) { product<P, 1>(a); }                                                                     \
    KERNEL product_##name##_4(ARGUMENTS a) { product<P, 4>(a); }                                                                     \
    KERNEL product_##name##_8(ARGUMENTS a) { product<P, 8>(a); }
PRODUCTS(f32, F32)
PRODUCTS(f16, F16)
PRODUCTS(nibbles, NIBBLES)
PRODUCTS(bytes, BYTES)
PRODUCTS(bf16, BF16)
PRODUCTS(q4_0, Q4_0)
PRODUCTS(q5_0, Q5_0)
PRODUCTS(q5_1, Q5_1)
PRODUCTS(q4_k, Q4_K)
PRODUCTS(q5_k, Q5_K)
PRODUCTS(q6_k, Q6_K)

// For prompts: a tile of 32 rows and 32 tokens, multiplied by tensor cores. Whole numbers are exact in whatever order they are added,
// so only the sums over units need one, and each of the eight warps adds up every eighth unit of all 1024 sums.
#define TILE 32u
// One more, so that threads that write rows side by side meet different banks.
#define TILE_APART 33u

template <int P> __device__ inline void prompt_product(const Arguments &a) {
    __shared__ float partial[SIDE_BY_SIDE * TILE * TILE_APART];
    const Rows r = rows_of(a);
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 first_row = blockIdx.x * TILE, first_token = blockIdx.y * TILE;
    const u32 units = r.blocks * units_of_block<P>();
    const u32 word = lane % 4;
    float sums[4][4][2] = {};
#pragma unroll 1
    for (u32 unit = warp; unit < units; unit += SIDE_BY_SIDE) {
        u32 quants[4];
        Sides sides[4];
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            const size_t row = least(first_row + i * 8 + lane / 4, r.rows - 1);
            quants[i] = load(buffer<const u32>(a, 2) + (row * units + unit) * 4 + word);
            sides[i] = sides_of<P>(buffer<const u32>(a, 3), row * r.blocks + unit / units_of_block<P>());
        }
        // Halves that have scales of their own one after another, otherwise both at once.
#pragma unroll
        for (u32 half = 0; half < (P == Q6_K ? 2 : 1); half++) {
            int whole[4][4][2] = {};
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                const size_t token = least(first_token + j * 8 + lane / 4, r.readable - 1);
                const u32 *words = buffer<const u32>(a, 4) + token * r.blocks * 8 + unit * (P == BYTES ? 4 : 8) + word;
                const u32 first = load(words + half * 4);
                const u32 second = P == BYTES || P == Q6_K ? 0 : load(words + 4);
#pragma unroll
                for (u32 i = 0; i < 4; i++) {
                    const u32 of_row = P == BYTES ? quants[i] : four_of<P>(quants[i], sides[i], word, half);
                    multiply_8x8(whole[i][j][0], whole[i][j][1], of_row, first);
                    if (P != BYTES && P != Q6_K) {
                        multiply_8x8(whole[i][j][0], whole[i][j][1], four_of<P>(quants[i], sides[i], word, 1), second);
                    }
                }
            }
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
#pragma unroll
                for (u32 n = 0; n < 2; n++) {
                    const size_t token = least(first_token + j * 8 + word * 2 + n, r.readable - 1);
                    const u32 block = unit / units_of_block<P>();
                    const float2 part = load(buffer<const float2>(a, 5) + token * r.blocks + block);
#pragma unroll
                    for (u32 i = 0; i < 4; i++) {
                        float sum = sums[i][j][n];
                        if (has_offset<P>()) sum = fmaf(sides[i].offset, part.y, sum);
                        const float scale = half == 0 ? sides[i].scale : sides[i].second;
                        sums[i][j][n] = fmaf(scale * part.x, static_cast<float>(whole[i][j][n]), sum);
                    }
                }
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
#pragma unroll
            for (u32 n = 0; n < 2; n++) {
                const u32 at = (j * 8 + word * 2 + n) * TILE_APART + i * 8 + lane / 4;
                partial[warp * TILE * TILE_APART + at] = sums[i][j][n];
            }
        }
    }
    __syncthreads();
#pragma unroll 1
    for (u32 item = threadIdx.x; item < TILE / 2 * TILE; item += blockDim.x) {
        const u32 row = item % (TILE / 2) * 2, token = item / (TILE / 2);
        float both[2];
        for (u32 n = 0; n < 2; n++) {
            const float *s = partial + token * TILE_APART + row + n;
            const u32 w = TILE * TILE_APART;
            both[n] = ((s[0] + s[w]) + (s[2 * w] + s[3 * w])) + ((s[4 * w] + s[5 * w]) + (s[6 * w] + s[7 * w]));
        }
        finish(a, r, first_row + row, first_token + token, both[0], both[1]);
    }
}

KERNEL product_nibbles_32(ARGUMENTS a) { prompt_product<NIBBLES>(a); }
KERNEL product_bytes_32(ARGUMENTS a) { prompt_product<BYTES>(a); }
KERNEL product_q4_0_32(ARGUMENTS a) { prompt_product<Q4_0>(a); }
KERNEL product_q5_0_32(ARGUMENTS a) { prompt_product<Q5_0>(a); }
KERNEL product_q5_1_32(ARGUMENTS a) { prompt_product<Q5_1>(a); }
KERNEL product_q4_k_32(ARGUMENTS a) { prompt_product<Q4_K>(a); }
KERNEL product_q5_k_32(ARGUMENTS a) { prompt_product<Q5_K>(a); }
KERNEL product_q6_k_32(ARGUMENTS a) { prompt_product<Q6_K>(a); }
