// Blocks of 32 weights as signed bytes with what they are multiplied with. Whoever includes this declares `quants` and `scales`; how
// they lie says `narrow.rs`.

fn block_at(at: u32) -> Block {
    var found: Block;
    //# if BYTES
    found.a = quants[at * 2u];
    found.b = quants[at * 2u + 1u];
    //# end
    //# if !BYTES
    let low_bits = quants[at];
    found.a = low_bits & vec4<u32>(0x0f0f0f0fu);
    found.b = (low_bits >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    //# end
    //# if FIFTHS
    //# if Q5_0
    let fifths = scales[(at >> 1u) * 3u + (at & 1u)];
    //# end
    //# if Q5_1
    let fifths = scales[at * 2u];
    //# end
    //# if SUPER
    let fifths = scales[(at >> 3u) * {SUPER}u + 5u + (at & 7u)];
    //# end
    found.a |= ((vec4<u32>(fifths) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
    found.b |= ((vec4<u32>(fifths) >> vec4<u32>(4u, 5u, 6u, 7u)) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
    //# end
    //# if HALVES
    let high = (at >> 3u) * {SUPER}u + 5u + (at & 7u) * 2u;
    found.a |= ((vec4<u32>(scales[high]) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
    found.b |= ((vec4<u32>(scales[high + 1u]) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u)) << vec4<u32>(4u);
    //# end
    //# if BIAS
    // What is taken off each value, byte by byte: nothing is carried, as none has its highest bit.
    found.a = (found.a + vec4<u32>({BIAS}u)) ^ vec4<u32>(0x80808080u);
    found.b = (found.b + vec4<u32>({BIAS}u)) ^ vec4<u32>(0x80808080u);
    //# end
    //# if NIBBLES
    let both = unpack2x16float(scales[at]);
    found.scale = both.x;
    found.offset = both.y;
    //# end
    //# if Q5_1
    let both = unpack2x16float(scales[at * 2u + 1u]);
    found.scale = both.x;
    found.offset = both.y;
    //# end
    //# if PAIRED
    let pair = unpack2x16float(scales[(at >> 1u) * {PAIRED}u + {PAIRED}u - 1u]);
    found.scale = select(pair.x, pair.y, (at & 1u) == 1u);
    //# end
    //# if SUPER
    let head = (at >> 3u) * {SUPER}u;
    let shared_by_all = unpack2x16float(scales[head]);
    let own = scales[head + 1u + ((at & 7u) >> 1u)] >> ((at & 1u) * 16u);
    //# if HALVES
    found.scale = shared_by_all.x * signed(own, 0u);
    found.second = shared_by_all.x * signed(own, 1u);
    //# end
    //# if !HALVES
    found.scale = shared_by_all.x * f32(own & 255u);
    found.offset = -(shared_by_all.y * f32((own >> 8u) & 255u));
    //# end
    //# end
    return found;
}
