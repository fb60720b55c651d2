// A card made of a processor, for tests: every thread of a block is a fiber, and warps and barriers are waited for as on a card.
//
// Blocks run one after another, threads of a block in turns: each until it waits for its warp or its block. What is shared by a block
// is static and belongs to the thread of the system that runs the block.

#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define KERNEL extern "C" __attribute__((visibility("default"))) void
#define ARGUMENTS const Arguments &
#define __device__
#define __shared__ static thread_local

struct uint2 {
    unsigned x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct float2 {
    float x, y;
};
struct float4 {
    float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
template <typename To, typename From> inline To bits_of(From from) {
    To to;
    static_assert(sizeof(to) == sizeof(from), "as many bits");
    std::memcpy(&to, &from, sizeof(to));
    return to;
}
inline float __uint_as_float(unsigned bits) { return bits_of<float>(bits); }
inline unsigned __float_as_uint(float value) { return bits_of<unsigned>(value); }

namespace emulator {

constexpr unsigned MOST_THREADS = 1024, STACK = 64 * 1024;

struct Index {
    unsigned x, y, z;
};

// What a warp's or a block's threads wait for: until as many have come as there are.
struct Meeting {
    unsigned arrived, generation;
};

struct Fiber {
    Index thread;
    void *stack;
    bool done;
};

struct Card {
    Fiber fibers[MOST_THREADS];
    // Two words that each thread of a warp brings, and what all of them brought last.
    std::uint64_t brought[MOST_THREADS], shown[MOST_THREADS];
    Meeting warps[MOST_THREADS / 32], block;
    Index block_index, block_size, grid_size;
    unsigned current, threads;
    unsigned long events;
    void *scheduler;
    void (*kernel)(const void *);
    const void *arguments;
    char *stacks;
};

inline thread_local Card *card = nullptr;

// One for each thread of the system, kept for its next kernel.
struct Kept {
    Card *made = nullptr;
    Card *card() {
        if (made == nullptr) {
            made = static_cast<Card *>(std::calloc(1, sizeof(Card)));
            made->stacks = static_cast<char *>(std::malloc(static_cast<std::size_t>(MOST_THREADS) * STACK));
        }
        return made;
    }
    ~Kept() {
        if (made != nullptr) std::free(made->stacks);
        std::free(made);
    }
};
inline thread_local Kept kept;

// Saves what a function must keep, changes stacks, and goes on where the other one left.
extern "C" void change_stacks(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.globl change_stacks\n.hidden change_stacks\n.type change_stacks,@function\nchange_stacks:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
#else
#error "the emulator knows how to change stacks on x86-64 only"
#endif

inline void pause() { change_stacks(&card->fibers[card->current].stack, card->scheduler); }

inline void begin() {
    reinterpret_cast<void (*)(const void *)>(card->kernel)(card->arguments);
    card->fibers[card->current].done = true;
    card->events++;
    pause();
}

inline void meet(Meeting &meeting, unsigned members, unsigned first, bool brings) {
    const unsigned generation = meeting.generation;
    card->events++;
    if (++meeting.arrived == members) {
        meeting.arrived = 0;
        meeting.generation++;
        if (brings) std::memcpy(card->shown + first, card->brought + first, 32 * sizeof(std::uint64_t));
        return;
    }
    while (meeting.generation == generation) pause();
}

// Brings something to the warp and returns what its threads brought.
inline const std::uint64_t *exchange(std::uint64_t value) {
    const unsigned me = card->current, first = me / 32 * 32;
    card->brought[me] = value;
    meet(card->warps[me / 32], 32, first, true);
    return card->shown + first;
}

// Runs one block; false if its threads wait for one another for ever.
inline bool run_block() {
    const unsigned threads = card->threads;
    std::memset(card->warps, 0, sizeof(card->warps));
    std::memset(&card->block, 0, sizeof(card->block));
    for (unsigned n = 0; n < threads; n++) {
        Fiber &fiber = card->fibers[n];
        fiber.thread = {n, 0, 0};
        fiber.done = false;
        // Six registers, where to go on, and a place for where it would return to, which it does not: there a function expects
        // the stack to be eight bytes off a multiple of sixteen.
        auto *top = reinterpret_cast<std::uintptr_t *>(card->stacks + static_cast<std::size_t>(n + 1) * STACK) - 3;
        top[0] = 0;
        top[-1] = reinterpret_cast<std::uintptr_t>(&begin);
        for (int i = 2; i <= 7; i++) top[-i] = 0;
        fiber.stack = top - 7;
    }
    for (;;) {
        const unsigned long events = card->events;
        bool left = false;
        for (unsigned n = 0; n < threads; n++) {
            if (card->fibers[n].done) continue;
            card->current = n;
            change_stacks(&card->scheduler, card->fibers[n].stack);
            left |= !card->fibers[n].done;
        }
        if (!left) return true;
        if (events == card->events) return false;
    }
}

} // namespace emulator

#define threadIdx (emulator::card->fibers[emulator::card->current].thread)
#define blockIdx (emulator::card->block_index)
#define blockDim (emulator::card->block_size)
#define gridDim (emulator::card->grid_size)

// Starts a kernel and waits for it. 0: done; 1: its threads wait for one another for ever; 2: no such grid.
extern "C" __attribute__((visibility("default"))) int emulate(void (*kernel)(const void *), unsigned x, unsigned y, unsigned threads,
                                                              const void *arguments) {
    using namespace emulator;
    if (threads == 0 || threads > MOST_THREADS || threads % 32 != 0 || x == 0 || y == 0 || y > 65535) return 2;
    Card *mine = kept.card();
    mine->kernel = kernel;
    mine->arguments = arguments;
    mine->threads = threads;
    mine->block_size = {threads, 1, 1};
    mine->grid_size = {x, y, 1};
    card = mine;
    bool done = true;
    for (unsigned at = 0; done && at < y; at++) {
        for (unsigned across = 0; done && across < x; across++) {
            mine->block_index = {across, at, 0};
            done = run_block();
        }
    }
    card = nullptr;
    return done ? 0 : 1;
}

inline void __syncthreads() { emulator::meet(emulator::card->block, emulator::card->threads, 0, false); }
inline void __syncwarp() { emulator::exchange(0); }

inline unsigned __shfl_sync(unsigned, unsigned value, unsigned from) { return static_cast<unsigned>(emulator::exchange(value)[from % 32]); }
inline unsigned __shfl_xor_sync(unsigned mask, unsigned value, unsigned apart) {
    return __shfl_sync(mask, value, threadIdx.x % 32 ^ apart);
}
inline float __shfl_sync(unsigned mask, float value, unsigned from) {
    return __uint_as_float(__shfl_sync(mask, __float_as_uint(value), from));
}
inline float __shfl_xor_sync(unsigned mask, float value, unsigned apart) {
    return __uint_as_float(__shfl_xor_sync(mask, __float_as_uint(value), apart));
}
inline int __shfl_xor_sync(unsigned mask, int value, unsigned apart) {
    return static_cast<int>(__shfl_xor_sync(mask, static_cast<unsigned>(value), apart));
}

template <typename T> inline T load(const T *from) { return *from; }

inline int dot4(unsigned a, unsigned b, int sum) {
    for (int i = 0; i < 4; i++) sum += static_cast<std::int8_t>(a >> 8 * i) * static_cast<std::int8_t>(b >> 8 * i);
    return sum;
}

inline float from_half(unsigned bits) { return static_cast<float>(bits_of<_Float16>(static_cast<std::uint16_t>(bits))); }
inline unsigned to_half(float value) { return bits_of<std::uint16_t>(static_cast<_Float16>(value)); }

inline void multiply_8x8(int &c0, int &c1, unsigned a, unsigned b) {
    const std::uint64_t *all = emulator::exchange(static_cast<std::uint64_t>(b) << 32 | a);
    const unsigned lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
    for (unsigned k = 0; k < 4; k++) {
        const unsigned of_row = static_cast<unsigned>(all[row * 4 + k]);
        c0 = dot4(of_row, static_cast<unsigned>(all[column * 4 + k] >> 32), c0);
        c1 = dot4(of_row, static_cast<unsigned>(all[(column + 1) * 4 + k] >> 32), c1);
    }
}
