// Which experts a token asks: those of the highest scores, the lower number first of equals, with weights that add up to one. Every
// workgroup of their products finds them for itself, which takes less than a kernel that does it once.

var<workgroup> of_experts: array<f32, {COUNT}>;
// Number and score of each, from the highest.
var<workgroup> chosen: array<vec2<u32>, {USED}>;

// All threads ask together.
fn choose(token: u32, thread: u32) {
    for (var expert = thread; expert < {COUNT}u; expert += {WORKGROUP}u) {
        of_experts[expert] = expert_scores[token * {COUNT}u + expert];
    }
    workgroupBarrier();
    for (var expert = thread; expert < {COUNT}u; expert += {WORKGROUP}u) {
        let score = of_experts[expert];
        var before = 0u;
        for (var other = 0u; other < {COUNT}u; other++) {
            let its = of_experts[other];
            before += u32(its > score || (its == score && other < expert));
        }
        if before < {USED}u {
            chosen[before] = vec2<u32>(expert, bitcast<u32>(score));
        }
    }
    workgroupBarrier();
}

//# if COMBINED
// The weight of the answer of the expert of this place.
fn weight_of(place: u32) -> f32 {
    let highest = bitcast<f32>(chosen[0].y);
    var total = 0.0;
    for (var n = 0u; n < {USED}u; n++) {
        total += exp(bitcast<f32>(chosen[n].y) - highest);
    }
    return exp(bitcast<f32>(chosen[place].y) - highest) / total;
}
//# end
