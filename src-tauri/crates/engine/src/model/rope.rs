//! Angles by which pairs of a head's values are rotated (RoPE).

use super::Parameters;

/// How one kind of layer rotates.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    size: usize,
    base: f32,
    divisor: f32,
    /// What each pair's angle is divided by besides; empty: nothing.
    factors: Vec<f32>,
}

/// Rotations of layers that attend to all tokens, and of those with a window.
#[derive(Clone, Debug)]
pub(crate) struct Ropes {
    pub(crate) all: Rope,
    /// `None` where no layer has a window.
    pub(crate) window: Option<Rope>,
}

impl Ropes {
    pub(crate) fn new(p: &Parameters, factors: Vec<f32>) -> Self {
        let all = Rope { size: p.rope_size, base: p.rope_base, divisor: p.rope_divisor, factors };
        // Positions near each other need no stretching.
        let window = p.window.map(|window| Rope::plain(p.rope_size, window.rope_base));
        Self { all, window }
    }
}

impl Rope {
    /// With nothing but frequencies: so many values are rotated, by this base.
    pub(crate) fn plain(size: usize, base: f32) -> Self {
        Self { size, base, divisor: 1.0, factors: Vec::new() }
    }

    /// Cosine and sine of each pair at a position, into `out`. Angles come from one another by multiplication, as in ggml.
    pub(crate) fn turns(&self, position: u32, out: &mut Vec<(f32, f32)>) {
        let step = self.base.powf(-2.0 / self.size as f32);
        let mut angle = position as f32;
        out.clear();
        for pair in 0..self.size / 2 {
            let factor = self.factors.get(pair).copied().unwrap_or(1.0);
            let turned = angle / factor / self.divisor;
            out.push((turned.cos(), turned.sin()));
            angle *= step;
        }
    }
}
