// What is read of a block of 32 weights.

struct Block {
    // The first sixteen values, four to a word, and the others.
    a: vec4<u32>,
    b: vec4<u32>,
    scale: f32,
    //# if HALVES
    // Of the others.
    second: f32,
    //# end
    //# if OFFSET
    offset: f32,
    //# end
}

//# if HALVES
fn signed(word: u32, at: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), at * 8u, 8u));
}
//# end
