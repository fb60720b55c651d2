// What every kernel begins with: its arguments, numbers in few bits, and what the threads of a warp do together.
//
// Compiled twice: by NVRTC for cards, and, with EMULATED, by a C++ compiler for the processor, where tests run every kernel
// (emulator.h). Sums are written out with fmaf and never contracted by a compiler, so both ways round alike.

#ifdef EMULATED
#include "emulator.h"
#else
#define KERNEL extern "C" __global__ void
#define ARGUMENTS const Arguments
#endif

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef signed char i8;

// The same for every kernel. Numbers and buffers are numbered as in the plan.
struct Arguments {
    u32 numbers[8];
    // Of a head; heads; heads of keys and values; turned pairs of a head; experts a token asks; slots that share activations; flags;
    // how many there are of what the kernel runs over.
    u32 head, heads, kv_heads, turned, used, shared_by, flags, count;
    void *buffers[10];
};

enum Flags {
    ADD = 1, CACHE = 2, EXPERTS = 4, CAP = 8, NORM = 16, BEHIND = 32, GATE = 64, GELU = 128, OFFSET = 256, FUSED_F32 = 512,
    FUSED_F16 = 1024, FUSED_Q8 = 2048
};

enum Packing { F32, F16, BF16, NIBBLES, BYTES, Q4_0, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K };
enum Form { FORM_F32, FORM_F16, FORM_Q8 };

// Tokens of a page of the cache, and threads of a warp.
#define PAGE 32u
#define WARP 32u
#define ALL 0xffffffffu

template <typename T> __device__ inline T *buffer(const Arguments &a, u32 number) { return static_cast<T *>(a.buffers[number]); }

__device__ inline float as_float(u32 bits) { return __uint_as_float(bits); }
__device__ inline u32 as_bits(float value) { return __float_as_uint(value); }
__device__ inline u32 least(u32 a, u32 b) { return a < b ? a : b; }

#ifndef EMULATED
// Through the cache for what nobody writes while the kernel runs.
__device__ inline uint4 load(const uint4 *from) {
    uint4 v;
    asm("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}
__device__ inline u32 load(const u32 *from) {
    u32 v;
    asm("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(from));
    return v;
}
__device__ inline u16 load(const u16 *from) {
    u16 v;
    asm("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(from));
    return v;
}
__device__ inline float2 load(const float2 *from) {
    float2 v;
    asm("ld.global.nc.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(from));
    return v;
}
__device__ inline float4 load(const float4 *from) {
    float4 v;
    asm("ld.global.nc.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(from));
    return v;
}

// Four signed bytes times four, added up. The intrinsic of that name is left unresolved by NVRTC.
__device__ inline int dot4(u32 a, u32 b, int sum) {
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
    return sum;
}

__device__ inline float from_half(u32 bits) {
    float value;
    asm("{ .reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(bits));
    return value;
}
// To the nearest, of two as near to the even one.
__device__ inline u32 to_half(float value) {
    u32 bits;
    asm("{ .reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.u32.u16 %0, h; }" : "=r"(bits) : "f"(value));
    return bits;
}

// Products of 8 rows with 8 columns of 16 signed bytes: a thread has four bytes of row and of column `lane / 4`, and gets the
// sums of that row with columns `lane % 4 * 2` and the next.
__device__ inline void multiply_8x8(int &c0, int &c1, u32 a, u32 b) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+r"(c0), "+r"(c1)
                 : "r"(a), "r"(b));
}
#endif

// Rounded to what a 16-bit float holds, never to infinity.
__device__ inline u32 half_bits(float value) { return to_half(fmaxf(fminf(value, 65504.0f), -65504.0f)); }
__device__ inline float round_half(float value) { return from_half(half_bits(value)); }
__device__ inline u32 halves(float a, float b) { return half_bits(a) | (half_bits(b) << 16); }
__device__ inline float low_half(u32 word) { return from_half(word & 0xffffu); }
__device__ inline float high_half(u32 word) { return from_half(word >> 16); }

__device__ inline int dot16(uint4 a, uint4 b, int sum) {
    return dot4(a.w, b.w, dot4(a.z, b.z, dot4(a.y, b.y, dot4(a.x, b.x, sum))));
}

// Every thread of the warp gets the result; always in this order.
__device__ inline float warp_sum(float value) {
    for (u32 apart = 1; apart < WARP; apart *= 2) value += __shfl_xor_sync(ALL, value, apart);
    return value;
}
__device__ inline int warp_sum(int value) {
    for (u32 apart = 1; apart < WARP; apart *= 2) value += __shfl_xor_sync(ALL, value, apart);
    return value;
}
__device__ inline float warp_most(float value) {
    for (u32 apart = 1; apart < WARP; apart *= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, apart));
    return value;
}

// The same of a block of whole warps; `partial` has a place for each.
__device__ inline float block_sum(float value, float *partial) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0.0f;
    for (u32 warp = 0; warp < blockDim.x / WARP; warp++) sum += partial[warp];
    // Nobody writes the next one before all have read this one.
    __syncthreads();
    return sum;
}

// One value of a block of 32, each of them by one thread of a warp, in the form that the next matrix is multiplied with.
__device__ inline void put(Form form, u32 *words, float2 *parts, u32 block, float value) {
    const u32 lane = threadIdx.x % WARP;
    if (form == FORM_Q8) {
        const float largest = warp_most(fabsf(value));
        const float inverse = largest == 0.0f ? 0.0f : 127.0f / largest;
        const int quant = static_cast<int>(rintf(value * inverse));
        const float total = static_cast<float>(warp_sum(quant));
        reinterpret_cast<i8 *>(words)[block * 32 + lane] = static_cast<i8>(quant);
        if (lane == 0) {
            const float unit = largest / 127.0f;
            parts[block] = make_float2(round_half(unit), round_half(unit * total));
        }
    } else {
        words[block * 32 + lane] = as_bits(form == FORM_F16 ? round_half(value) : value);
    }
}

// What a step says of a token: its id, its position, and where the numbers of its sequence's pages begin.
struct Token {
    u32 id, position, table;
};
__device__ inline Token token_of(const u32 *step, u32 token) {
    const u32 *row = step + 8 + token * 4;
    Token found = {row[0], row[1], row[2]};
    return found;
}

// Number of the place of a head of a position in the cache, in heads.
__device__ inline u32 place(const u32 *step, Token token, u32 position, u32 kv_heads, u32 head) {
    const u32 page = step[token.table + position / PAGE];
    return (page * kv_heads + head) * PAGE + position % PAGE;
}

// A pair of neighbouring values turned by the angle of a position.
__device__ inline float2 rotate(const Arguments &a, const float2 *turns, u32 position, u32 pair, float2 value) {
    if (pair >= a.turned) return value;
    const float2 turn = load(turns + static_cast<size_t>(position) * a.turned + pair);
    return make_float2(fmaf(value.x, turn.x, -(value.y * turn.y)), fmaf(value.x, turn.y, value.y * turn.x));
}
