//! Cooperative matrices: which of them a card has that kernels can use, and what must be asked for to use them.
#![expect(unsafe_code, reason = "the library wants a word from whoever uses what it calls experimental")]

/// What kernels with cooperative matrices need.
const FEATURES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// Side of the square matrices that kernels can use, the larger if there are two. Four subgroups must fit into a workgroup.
pub(super) fn side(adapter: &wgpu::Adapter) -> Option<u32> {
    let threads = adapter.get_info().subgroup_max_size.checked_mul(4)?;
    if !adapter.features().contains(FEATURES) || threads > adapter.limits().max_compute_invocations_per_workgroup {
        return None;
    }
    let known = adapter.cooperative_matrix_properties();
    let has = |side: &u32| {
        known.iter().any(|one| {
            [one.m_size, one.n_size, one.k_size] == [*side; 3]
                && one.ab_type == wgpu::CooperativeScalarType::F16
                && one.cr_type == wgpu::CooperativeScalarType::F32
        })
    };
    [16, 8].into_iter().find(has)
}

/// Features to open a card with that has them.
pub(super) fn wanted() -> (wgpu::Features, wgpu::ExperimentalFeatures) {
    // SAFETY: what is experimental among them is cooperative matrices alone. The one kernel that uses them is part of this program, reads
    // and writes within arrays that its workgroup shares, by numbers that follow from its cut alone, in control flow that all of its
    // threads go together, and is compared with the processor on the card before anything is computed with it.
    (FEATURES, unsafe { wgpu::ExperimentalFeatures::enabled() })
}
