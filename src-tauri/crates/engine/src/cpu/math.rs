//! The arithmetic of everything but matrices, in one fixed order of operations.
//!
//! Each function rounds and sums exactly as llama.cpp's CPU backend does on a machine with AVX-512 (its widest, and so the
//! one that most servers run): sums run in lanes, and the lanes are folded in halves. Greedy answers of small quantised models
//! depend on the last bit of it, since one activation rounded differently is soon a different token. As the order is written
//! out and never left to the compiler, every machine computes the same bits, however wide its registers are.

#![allow(clippy::inline_always, reason = "bodies must become part of the functions that have wider instructions")]
#![expect(unsafe_code, reason = "functions compiled for AVX2 are called after asking for it")]

/// Which instructions are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Whatever the target has at least.
    Portable,
    /// x86 with AVX2, fused multiply-add and 16-bit floats.
    #[cfg(target_arch = "x86_64")]
    Avx2(Has),
    /// The same with products of bytes in registers of 256 bits (AVX-VNNI).
    #[cfg(target_arch = "x86_64")]
    AvxVnni(Has),
    /// AVX-512 with its products of bytes (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512(Has),
}

/// That this machine has the instructions of a level. Only [`Level::all`] makes it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Has(());

impl Level {
    /// Those that this machine has, the best one last.
    pub(super) fn all() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                levels.push(Self::Avx2(Has(())));
                if has!("avxvnni") {
                    levels.push(Self::AvxVnni(Has(())));
                }
                if has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq") && has!("avx512vnni") {
                    levels.push(Self::Avx512(Has(())));
                }
            }
        }
        levels
    }

    /// The best one that this machine has.
    pub(super) fn detect() -> Self {
        Self::all().pop().unwrap_or(Self::Portable)
    }
}

/// Declares a function whose one body is compiled for any machine, for AVX2 and for AVX-512, and chosen by level.
macro_rules! leveled {
    ($(#[$note:meta])* fn $name:ident($($arg:ident: $kind:ty),*) $(-> $out:ty)? $body:block) => {
        $(#[$note])*
        pub(super) fn $name(level: Level, $($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $kind),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn wide($($arg: $kind),*) $(-> $out)? {
                body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            fn wider($($arg: $kind),*) $(-> $out)? {
                body($($arg),*)
            }
            match level {
                Level::Portable => body($($arg),*),
                // SAFETY: this level exists only where the machine has these instructions.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(_) | Level::AvxVnni(_) => unsafe { wide($($arg),*) },
                // SAFETY: likewise.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(_) => unsafe { wider($($arg),*) },
            }
        }
    };
}

/// Lanes of a dot product: four registers of sixteen.
pub(super) const LANES: usize = 64;

/// Rounds to what a 16-bit float can hold (ties to even).
#[inline(always)]
pub(super) fn round_f16(value: f32) -> f32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let sign = bits & 0x8000_0000;
    let normal = f32::from_bits((magnitude + 0xfff + ((magnitude >> 13) & 1)) & 0xffff_e000);
    // Below the smallest normal 16-bit float the spacing is 2^-24, which is that of 32-bit floats at 0.5.
    let small = (f32::from_bits(magnitude) + 0.5) - 0.5;
    let rounded = if magnitude < 0x3880_0000 { small } else { normal };
    let rounded = if rounded > 65504.0 { f32::INFINITY } else { rounded };
    let rounded = if magnitude > 0x7f80_0000 { f32::NAN } else { rounded };
    f32::from_bits(rounded.to_bits() | sign)
}

/// The bits of a 16-bit float to its value. Infinity becomes a number beyond the type's range, which no sane model has.
#[inline(always)]
pub(super) fn widen_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) << 16))
}

/// `e^x` to about one unit in the last place: the polynomial of ARM's optimized routines, as llama.cpp uses it.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
    const LN_2_HIGH: f32 = f32::from_bits(0x3f31_7200);
    const LN_2_LOW: f32 = f32::from_bits(0x35bf_be8e);
    let shifted = x.mul_add(LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let b = (-n).mul_add(LN_2_LOW, (-n).mul_add(LN_2_HIGH, x));
    let u = b * b;
    let high = f32::from_bits(0x3c07_2010).mul_add(b, f32::from_bits(0x3d2b_9f17));
    let middle = f32::from_bits(0x3e2a_af33).mul_add(b, f32::from_bits(0x3eff_fedb));
    let low = f32::from_bits(0x3f7f_fff6).mul_add(b, 1.0);
    let j = high.mul_add(u, middle).mul_add(u, low);
    // 2^n in two steps, neither of which leaves the exponents that exist.
    let whole = n.clamp(-200.0, 200.0) as i32;
    let half = whole / 2;
    let power = |exponent: i32| f32::from_bits(((exponent + 127) as u32) << 23);
    let result = j * power(half) * power(whole - half);
    let result = if n > 192.0 { f32::INFINITY } else { result };
    if n < -192.0 { 0.0 } else { result }
}

/// Adds lanes up: the upper half onto the lower, again and again.
#[inline(always)]
pub(super) fn fold<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

leveled! {
    /// The dot product of two equally long lists.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let (a_blocks, a_rest) = a.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
            }
        }
        let mut sum = f64::from(fold(lanes));
        for (a, b) in a_rest.iter().zip(b_rest) {
            sum += f64::from(a * b);
        }
        sum as f32
    }
}

leveled! {
    /// The dot product with numbers kept in 16 bits.
    fn dot_f16(bits: &[u16], b: &[f32]) -> f32 {
        let (a_blocks, a_rest) = bits.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                lanes[lane] = widen_f16(a[lane]).mul_add(b[lane], lanes[lane]);
            }
        }
        let mut sum = f64::from(fold(lanes));
        for (&a, b) in a_rest.iter().zip(b_rest) {
            sum += f64::from(widen_f16(a) * b);
        }
        sum as f32
    }
}

/// The bits of a bfloat16 to its value.
#[inline(always)]
pub(super) fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

leveled! {
    /// The dot product with bfloat16 numbers.
    fn dot_bf16(bits: &[u16], b: &[f32]) -> f32 {
        let (a_blocks, a_rest) = bits.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = [0.0_f32; LANES];
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                lanes[lane] = widen_bf16(a[lane]).mul_add(b[lane], lanes[lane]);
            }
        }
        let mut sum = f64::from(fold(lanes));
        for (&a, b) in a_rest.iter().zip(b_rest) {
            sum += f64::from(widen_bf16(a) * b);
        }
        sum as f32
    }
}

leveled! {
    /// Adds up to [`LANES`] lists of `size` values, one after another in `lanes`, in halves; the first is the result. Only the
    /// first `used` are not zero.
    fn fold_lanes(lanes: &mut [f32], size: usize, used: usize) {
        let mut half = LANES / 2;
        while half > 0 {
            if half < used {
                let (lower, upper) = lanes.split_at_mut(half * size);
                for (sum, value) in lower.iter_mut().zip(upper.iter()) {
                    *sum += value;
                }
            }
            half /= 2;
        }
    }
}

leveled! {
    /// RMSNorm: `x / sqrt(mean(x^2) + epsilon) * weight`, into `out`.
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let mut sum = 0.0_f64;
        for value in x {
            sum += f64::from(value * value);
        }
        let mean = (sum / x.len() as f64) as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((out, value), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = value * scale * weight;
        }
    }
}

leveled! {
    /// SwiGLU: `silu(gate) * up`, into `gate`.
    fn swiglu(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(0.0 - *gate)) * up;
        }
    }
}

/// The hyperbolic tangent, by `e^x`.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    // Beyond this it is 1 in 32 bits.
    let x = x.clamp(-10.0, 10.0);
    let power = exp(2.0 * x);
    (power - 1.0) / (power + 1.0)
}

/// `cap * tanh(x / cap)`: as it is near zero, and never beyond the cap.
pub(super) fn capped(x: f32, cap: f32) -> f32 {
    cap * tanh(x / cap)
}

leveled! {
    /// GeGLU: `gelu(gate) * up`, into `gate`, with `gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
    fn geglu(gate: &mut [f32], up: &[f32]) {
        const ROOT: f32 = 0.797_884_6;
        for (gate, up) in gate.iter_mut().zip(up) {
            let x = *gate;
            let inner = ROOT * x * (1.0 + 0.044_715 * x * x);
            *gate = 0.5 * x * (1.0 + tanh(inner)) * up;
        }
    }
}

leveled! {
    /// Softmax over `scores * scale`, in place, each result rounded to 16 bits. The length must be a multiple of 16; what is
    /// not to be attended to is negative infinity.
    fn softmax(scores: &mut [f32], scale: f32) {
        let (blocks, _) = scores.as_chunks_mut::<16>();
        let mut lanes = [f32::NEG_INFINITY; 16];
        for block in blocks.iter_mut() {
            for (score, highest) in block.iter_mut().zip(&mut lanes) {
                *score *= scale;
                *highest = if *score > *highest { *score } else { *highest };
            }
        }
        let highest = lanes.into_iter().fold(f32::NEG_INFINITY, |highest, lane| if lane > highest { lane } else { highest });
        let mut sum = 0.0_f64;
        for block in blocks.iter_mut() {
            for score in block.iter_mut() {
                *score = exp(*score - highest);
            }
        }
        for block in blocks.iter() {
            sum += f64::from(fold(*block));
        }
        let share = (1.0 / sum) as f32;
        for score in scores.iter_mut() {
            *score = round_f16(*score * share);
        }
    }
}

leveled! {
    /// Rounds every value to 16 bits.
    fn round_in_place(values: &mut [f32]) {
        for value in values {
            *value = round_f16(*value);
        }
    }
}

leveled! {
    /// Rounds every value to 16 bits, into `out`.
    fn round_all_f16(values: &[f32], out: &mut [f32]) {
        for (out, &value) in out.iter_mut().zip(values) {
            *out = round_f16(value);
        }
    }
}

/// Blocks of 32 values as signed bytes `q`, scales `d`, and `s`, the scale times the sum of the bytes: ggml's Q8_1 (and Q8_0,
/// which has no `s`). Scales are rounded to 16 bits; sums once rounded, and once as they are with the rounded scale. Of each four
/// bytes, -128 times their sum goes to `fours`.
pub(super) fn quantise(level: Level, values: &[f32], into: &mut Blocks<'_>) {
    let values = values.as_chunks::<32>().0;
    match level {
        Level::Portable => {
            for (block, values) in values.iter().enumerate() {
                let mut largest = 0.0_f32;
                for value in values {
                    let magnitude = value.abs();
                    largest = if magnitude > largest { magnitude } else { largest };
                }
                let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
                let q: [i8; 32] = values.map(|value| (value * inverse).round_ties_even() as i32 as i8);
                into.quants[block] = q;
                for (four, q) in into.fours[block].iter_mut().zip(q.as_chunks::<4>().0) {
                    *four = -128 * q.iter().map(|&q| i32::from(q)).sum::<i32>();
                }
                into.finish(block, largest, q.iter().map(|&q| i32::from(q)).sum());
            }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(has) | Level::AvxVnni(has) | Level::Avx512(has) => super::x86::forms::quantise(has, values, into),
    }
}

/// Where [`quantise`] puts blocks: as many of everything.
pub(super) struct Blocks<'a> {
    pub(super) quants: &'a mut [[i8; 32]],
    pub(super) fours: &'a mut [[i32; 8]],
    pub(super) scales: &'a mut [f32],
    pub(super) rounded: &'a mut [f32],
    pub(super) exact: &'a mut [f32],
}

impl Blocks<'_> {
    /// Sets what follows from a block's largest magnitude and the sum of its quants.
    #[inline(always)]
    pub(super) fn finish(&mut self, block: usize, largest: f32, sum: i32) {
        let scale = largest / 127.0;
        let rounded = round_f16(scale);
        self.scales[block] = rounded;
        self.rounded[block] = round_f16(scale * sum as f32);
        self.exact[block] = rounded * sum as f32;
    }
}

leveled! {
    /// Adds `weight * more` to a list.
    fn add_weighted(list: &mut [f32], weight: f32, more: &[f32]) {
        for (value, more) in list.iter_mut().zip(more) {
            *value = more.mul_add(weight, *value);
        }
    }
}

leveled! {
    /// Rotates pairs of neighbouring values of one head by angles that grow with the position (RoPE as GGUF's llama weights are laid
    /// out for). `turn` has the cosine and sine of each pair.
    fn rotate(head: &mut [f32], turn: &[(f32, f32)]) {
        for (pair, &(cosine, sine)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turn) {
            let [a, b] = *pair;
            *pair = [a.mul_add(cosine, -(b * sine)), a.mul_add(sine, b * cosine)];
        }
    }
}
