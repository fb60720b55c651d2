// A block of 32 values in the form that the next matrix is multiplied with. Whoever includes this declares `words`, and `parts` where
// the form has scales.

//# if Q8
fn bytes(values: vec4<i32>) -> u32 {
    let b = vec4<u32>(values) & vec4<u32>(255u);
    return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
}
//# end

fn put_block(
    to: u32,
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
    v5: vec4<f32>,
    v6: vec4<f32>,
    v7: vec4<f32>,
) {
    //# if F32
    //# for i 8
    words[to * 8u + {i}u] = bitcast<vec4<u32>>(v{i});
    //# end
    //# end
    //# if F16
    //# for i 8
    words[to * 8u + {i}u] = bitcast<vec4<u32>>(
        vec4<f32>(round_half(v{i}.x), round_half(v{i}.y), round_half(v{i}.z), round_half(v{i}.w)));
    //# end
    //# end
    //# if Q8
    var most = vec4<f32>(0.0);
    //# for i 8
    most = max(most, abs(v{i}));
    //# end
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    let inverse = select(127.0 / largest, 0.0, largest == 0.0);
    var total = vec4<i32>(0);
    //# for i 8
    let q{i} = vec4<i32>(round(v{i} * inverse));
    total += q{i};
    //# end
    words[to * 2u] = vec4<u32>(bytes(q0), bytes(q1), bytes(q2), bytes(q3));
    words[to * 2u + 1u] = vec4<u32>(bytes(q4), bytes(q5), bytes(q6), bytes(q7));
    let unit = largest / 127.0;
    let whole = f32(total.x + total.y + total.z + total.w);
    parts[to] = vec2<f32>(round_half(unit), round_half(unit * whole));
    //# end
}
