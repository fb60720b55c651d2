// Makes logits of tokens that may not be chosen negative infinity. One thread for each logit, one row of workgroups for each mask.

struct Op {
    vocabulary: u32,
    // Words of one mask: the number of its result, then its bits.
    words: u32,
}

@group(0) @binding(0) var<uniform> op: Op;
@group(0) @binding(1) var<storage, read> step: array<u32>;
// Their bits: not every compiler keeps infinities as they are.
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;

@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.x * {WORKGROUP}u + thread;
    if token >= op.vocabulary {
        return;
    }
    let at = step[5] + group.y * op.words;
    if ((step[at + 1u + token / 32u] >> (token % 32u)) & 1u) == 0u {
        logits[step[at] * op.vocabulary + token] = 0xff800000u;
    }
}
