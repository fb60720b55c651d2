//! Memory as Windows tells it (`IDXGIAdapter3::QueryVideoMemoryInfo`): its budget counts what other programs have.
#![expect(unsafe_code, reason = "Windows' interfaces are COM")]

use windows::Win32::Graphics::Dxgi::{DXGI_MEMORY_SEGMENT_GROUP_LOCAL, DXGI_QUERY_VIDEO_MEMORY_INFO};

use super::Memory;

/// What Windows grants of the card's own memory. `None` for an adapter that is not DirectX's: Vulkan asks for itself.
pub(super) fn ask(adapter: &wgpu::Adapter) -> Option<Memory> {
    // SAFETY: nothing behind the guard is destroyed, and it is dropped before the adapter is.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Dx12>() }?;
    let card = adapter.raw_adapter();
    let mut info = DXGI_QUERY_VIDEO_MEMORY_INFO::default();
    // SAFETY: the interface lives as long as the guard, and the structure is written during the call.
    unsafe { card.QueryVideoMemoryInfo(0, DXGI_MEMORY_SEGMENT_GROUP_LOCAL, &raw mut info) }.ok()?;
    // SAFETY: as above; it only reads.
    let description = unsafe { card.GetDesc() }.ok()?;
    let dedicated = description.DedicatedVideoMemory as u64;
    // Cards within the processor have next to nothing of their own and live on what they share.
    let total = dedicated.max(info.Budget);
    (total > 0).then_some(Memory { total, budget: Some(info.Budget), used: info.CurrentUsage })
}
