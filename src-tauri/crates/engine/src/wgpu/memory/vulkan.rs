//! Memory as Vulkan tells it: its heaps, and the extension `VK_EXT_memory_budget` where a driver has it (Vulkan specification,
//! "Device Memory Properties").
#![expect(unsafe_code, reason = "the library has no question for this, so the driver is asked itself")]

use ash::vk;

use super::Memory;

/// What the driver says of the card's own memory. `None` for an adapter that is not Vulkan's or has no memory of its own, and where
/// nobody says how much is taken.
pub(super) fn ask(adapter: &wgpu::Adapter, own: Option<u64>) -> Option<Memory> {
    // SAFETY: nothing behind the guard is destroyed, and it is dropped before the adapter is.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance();
    let capabilities = adapter.physical_device_capabilities();
    // Whatever is asked of a card must be of its own version as well, not of the instance's alone.
    let version = instance.instance_api_version().min(capabilities.properties().api_version);
    if version < vk::API_VERSION_1_1 {
        return None;
    }
    let tells = capabilities.supports_extension(ash::ext::memory_budget::NAME);
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let mut all = vk::PhysicalDeviceMemoryProperties2::default();
    if tells {
        all = all.push_next(&mut budget);
    }
    // SAFETY: the handle is of this instance, and both are of version 1.1, where the function belongs to the core; both structures are
    // written by the driver and outlive the call; the second one is only there if the card has the extension.
    unsafe { instance.raw_instance().get_physical_device_memory_properties2(adapter.raw_physical_device(), &mut all) };
    let heaps = all.memory_properties;
    let count = (heaps.memory_heap_count as usize).min(heaps.memory_heaps.len());
    let own_heaps = heaps.memory_heaps.iter().take(count).enumerate();
    let local = own_heaps.filter(|(_, heap)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
    // The largest one: a small one besides is the window through which the processor sees the card's memory.
    let (index, heap) = local.max_by_key(|(_, heap)| heap.size)?;
    let granted = budget.heap_budget.get(index).copied().filter(|&granted| tells && granted > 0);
    let used = budget.heap_usage.get(index).copied().filter(|_| granted.is_some());
    Some(Memory { total: heap.size, budget: granted, used: used.or(own)? })
}
