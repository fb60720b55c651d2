// Numbers in few bits. Every kernel's text begins with this.

// Rounds to what a 16-bit float can hold, ties to even. The language leaves open which way its own conversion rounds, and answers
// of small models depend on it.
fn round_half(value: f32) -> f32 {
    let bits = bitcast<u32>(value);
    let magnitude = bits & 0x7fffffffu;
    let normal = bitcast<f32>((magnitude + 0xfffu + ((magnitude >> 13u) & 1u)) & 0xffffe000u);
    // Below the smallest normal 16-bit float they are 2^-24 apart. Times a power of two and back is exact.
    let small = round(bitcast<f32>(magnitude) * 16777216.0) * 5.9604644775390625e-8;
    let rounded = min(select(normal, small, magnitude < 0x38800000u), 65504.0);
    return bitcast<f32>(bitcast<u32>(rounded) | (bits & 0x80000000u));
}

// Two values as 16-bit floats in one word.
fn halves(a: f32, b: f32) -> u32 {
    return pack2x16float(vec2<f32>(round_half(a), round_half(b)));
}

//# if SIXTEEN
// Two values of a matrix.
fn widened(word: u32) -> vec2<f32> {
    //# if BF16
    return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
    //# end
    //# if !BF16
    return unpack2x16float(word);
    //# end
}
//# end
