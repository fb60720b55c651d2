// Blocks of 32 weights. How their bits lie says narrow.rs: of most types the low four bits in one buffer, everything else in another.

// What a block has besides those bits.
struct Sides {
    // Higher bits: of all values; of six bits those of the first sixteen, and of the others.
    u32 high[2];
    // Of the first sixteen, and of the others.
    float scale, second;
    // Added to each, not multiplied.
    float offset;
};

template <int P> __device__ inline bool has_offset() { return P == NIBBLES || P == Q5_1 || P == Q4_K || P == Q5_K; }
template <int P> __device__ inline bool has_fifths() { return P == Q5_0 || P == Q5_1 || P == Q5_K; }

template <int P> __device__ inline Sides sides_of(const u32 *words, size_t at) {
    Sides found = {};
    if (P == NIBBLES) {
        const u32 both = load(words + at);
        found.scale = low_half(both);
        found.offset = high_half(both);
    } else if (P == BYTES || P == Q4_0) {
        found.scale = from_half(load(reinterpret_cast<const u16 *>(words) + at));
    } else if (P == Q5_0) {
        const u32 *pair = words + at / 2 * 3;
        found.high[0] = load(pair + at % 2);
        const u32 both = load(pair + 2);
        found.scale = at % 2 == 0 ? low_half(both) : high_half(both);
    } else if (P == Q5_1) {
        found.high[0] = load(words + at * 2);
        const u32 both = load(words + at * 2 + 1);
        found.scale = low_half(both);
        found.offset = high_half(both);
    } else {
        const u32 *eight = words + at / 8 * (P == Q4_K ? 5 : P == Q5_K ? 13 : 21);
        const u32 inside = static_cast<u32>(at % 8);
        const u32 of_all = load(eight);
        const u32 own = load(eight + 1 + inside / 2) >> (inside % 2 * 16);
        if (P == Q6_K) {
            found.scale = low_half(of_all) * static_cast<float>(static_cast<i8>(own & 255u));
            found.second = low_half(of_all) * static_cast<float>(static_cast<i8>(own >> 8 & 255u));
            found.high[0] = load(eight + 5 + inside * 2);
            found.high[1] = load(eight + 6 + inside * 2);
            return found;
        }
        found.scale = low_half(of_all) * static_cast<float>(own & 255u);
        found.offset = -(high_half(of_all) * static_cast<float>(own >> 8 & 255u));
        if (P == Q5_K) found.high[0] = load(eight + 5 + inside);
    }
    found.second = found.scale;
    return found;
}

// Four values of a block as signed bytes: of its word of low bits of this number the lower ones, or (half 1) the higher ones.
template <int P> __device__ inline u32 four_of(u32 low_bits, const Sides &sides, u32 number, u32 half) {
    u32 four = low_bits >> (half * 4) & 0x0f0f0f0fu;
    if (has_fifths<P>()) four |= (sides.high[0] >> (number + half * 4) & 0x01010101u) << 4;
    if (P == Q6_K) four |= (sides.high[half] >> (number * 2) & 0x03030303u) << 4;
    // What is taken off each value, byte by byte: nothing is carried, as none has its highest bit.
    const u32 bias = P == Q4_0 ? 128 - 8 : P == Q5_0 ? 128 - 16 : 128 - 32;
    return P == Q4_0 || P == Q5_0 || P == Q6_K ? (four + bias * 0x01010101u) ^ 0x80808080u : four;
}

// One of two values of 16 bits.
template <int P> __device__ inline float lower(u32 word) { return P == BF16 ? as_float(word << 16) : low_half(word); }
template <int P> __device__ inline float upper(u32 word) { return P == BF16 ? as_float(word & 0xffff0000u) : high_half(word); }
