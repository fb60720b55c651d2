//! Which cards there are (DXGI), where they sit and how hot they are (the kernel's graphics part), who drives them and whether
//! they sleep (the device manager).
#![expect(unsafe_code, reason = "Windows' interfaces are C and COM")]

use windows::Wdk::Graphics::Direct3D::{
    D3DKMT_ADAPTER_PERFDATA, D3DKMT_ADAPTERADDRESS, D3DKMT_CLOSEADAPTER, D3DKMT_OPENADAPTERFROMLUID,
    D3DKMT_QUERYADAPTERINFO, D3DKMTCloseAdapter, D3DKMTOpenAdapterFromLuid, D3DKMTQueryAdapterInfo,
    KMTQAITYPE_ADAPTERADDRESS, KMTQAITYPE_ADAPTERPERFDATA, KMTQUERYADAPTERINFOTYPE,
};
use windows::Win32::Devices::DeviceAndDriverInstallation::{
    DIGCF_PRESENT, GUID_DEVCLASS_DISPLAY, HDEVINFO, SETUP_DI_REGISTRY_PROPERTY, SP_DEVINFO_DATA, SPDRP_ADDRESS,
    SPDRP_BUSNUMBER, SPDRP_DEVICE_POWER_DATA, SPDRP_SERVICE, SetupDiDestroyDeviceInfoList, SetupDiEnumDeviceInfo,
    SetupDiGetClassDevsW, SetupDiGetDeviceRegistryPropertyW,
};
use windows::Win32::Foundation::LUID;
use windows::Win32::Graphics::Dxgi::{
    CreateDXGIFactory1, DXGI_ADAPTER_DESC1, DXGI_ADAPTER_FLAG_SOFTWARE, IDXGIAdapter1, IDXGIDevice, IDXGIFactory1,
};
use windows::Win32::System::Power::{PowerDeviceD0, PowerDeviceUnspecified};
use windows::core::{Interface as _, PCWSTR};

use crate::card::{GpuId, PciAddress};

/// Most cards that are listed.
const MOST_CARDS: u32 = 64;

/// A card's name until the machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Luid {
    high: i32,
    low: u32,
}

impl Luid {
    /// As the counters' names have it.
    pub(super) fn halves(self) -> (u32, u32) {
        (self.high as u32, self.low)
    }

    fn of(luid: LUID) -> Self {
        Self { high: luid.HighPart, low: luid.LowPart }
    }

    fn raw(self) -> LUID {
        LUID { LowPart: self.low, HighPart: self.high }
    }
}

/// A card as Windows lists it.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub(super) id: GpuId,
    pub(super) luid: Luid,
    pub(super) vendor: u16,
    pub(super) device: u16,
    pub(super) revision: Option<u8>,
    pub(super) name: Option<String>,
    /// Bytes.
    pub(super) dedicated: u64,
    /// Bytes.
    pub(super) shared: u64,
    /// The driver's service: `nvlddmkm`, `amdkmdag`, `igfxn`…
    pub(super) driver: Option<String>,
    pub(super) driver_version: Option<String>,
    pub(super) drives_screen: bool,
    pub(super) is_asleep: bool,
    /// Whether there is another card: then this one may be switched off.
    pub(super) has_twin: bool,
}

/// What the device manager knows of a place.
#[derive(Debug)]
struct Device {
    bus: u32,
    device: u32,
    function: u32,
    service: Option<String>,
    is_asleep: bool,
}

/// All cards but software ones.
pub(super) fn list() -> Vec<Adapter> {
    // SAFETY: a call without conditions; the factory frees itself.
    let Ok(factory) = (unsafe { CreateDXGIFactory1::<IDXGIFactory1>() }) else { return Vec::new() };
    let devices = devices();
    let mut found: Vec<Adapter> = Vec::new();
    for index in 0..MOST_CARDS {
        // SAFETY: the factory is alive; past the last card comes an error.
        let Ok(adapter) = (unsafe { factory.EnumAdapters1(index) }) else { break };
        // SAFETY: the adapter is alive.
        let Ok(description) = (unsafe { adapter.GetDesc1() }) else { continue };
        let is_software = description.Flags & (DXGI_ADAPTER_FLAG_SOFTWARE.0 as u32) != 0;
        // Windows' own renderer says it is software in later versions only.
        let is_basic = description.VendorId == 0x1414 && description.DeviceId == 0x8c;
        if !is_software && !is_basic {
            let one = describe(&adapter, &description, &devices);
            // Some drivers list a card once per way to it.
            if !found.iter().any(|known| known.id == one.id) {
                found.push(one);
            }
        }
    }
    let has_twin = found.len() > 1;
    for adapter in &mut found {
        adapter.has_twin = has_twin;
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found
}

fn describe(adapter: &IDXGIAdapter1, description: &DXGI_ADAPTER_DESC1, devices: &[Device]) -> Adapter {
    let luid = Luid::of(description.AdapterLuid);
    let place = place(luid);
    let device = place.and_then(|place| {
        devices
            .iter()
            .find(|it| (it.bus, it.device, it.function) == (place.BusNumber, place.DeviceNumber, place.FunctionNumber))
    });
    let address = place.and_then(|place| {
        Some(PciAddress {
            domain: 0,
            bus: u8::try_from(place.BusNumber).ok()?,
            device: u8::try_from(place.DeviceNumber).ok().filter(|it| *it <= 31)?,
            function: u8::try_from(place.FunctionNumber).ok().filter(|it| *it <= 7)?,
        })
    });
    // Virtual cards have no place of their own. Their numbers stay, their luid does not.
    let fallback = || {
        GpuId::Device(format!("{:04x}-{:04x}-{:08x}", description.VendorId, description.DeviceId, description.SubSysId))
    };
    Adapter {
        id: address.map_or_else(fallback, GpuId::Pci),
        luid,
        vendor: description.VendorId as u16,
        device: description.DeviceId as u16,
        revision: u8::try_from(description.Revision).ok(),
        name: text(&description.Description),
        dedicated: description.DedicatedVideoMemory as u64,
        shared: description.SharedSystemMemory as u64,
        driver: device.and_then(|it| it.service.clone()),
        driver_version: driver_version(adapter),
        // SAFETY: the adapter is alive; an error means it has no output.
        drives_screen: unsafe { adapter.EnumOutputs(0) }.is_ok(),
        is_asleep: device.is_some_and(|it| it.is_asleep),
        has_twin: false,
    }
}

/// Four numbers of 16 bits each, as the device manager shows them.
fn driver_version(adapter: &IDXGIAdapter1) -> Option<String> {
    // SAFETY: the adapter is alive, and the interface's name is a constant.
    let version = unsafe { adapter.CheckInterfaceSupport(&IDXGIDevice::IID) }.ok()? as u64;
    Some(format!("{}.{}.{}.{}", version >> 48, (version >> 32) & 0xffff, (version >> 16) & 0xffff, version & 0xffff))
}

fn place(luid: Luid) -> Option<D3DKMT_ADAPTERADDRESS> {
    let mut place = D3DKMT_ADAPTERADDRESS::default();
    query(luid, KMTQAITYPE_ADAPTERADDRESS, &mut place).then_some(place)
}

/// Degrees Celsius; `None` where the driver does not tell (it then says 0).
pub(super) fn temperature(luid: Luid) -> Option<f32> {
    let mut data = D3DKMT_ADAPTER_PERFDATA::default();
    let told = query(luid, KMTQAITYPE_ADAPTERPERFDATA, &mut data);
    // In tenths of a degree.
    (told && data.Temperature > 0).then_some(data.Temperature as f32 / 10.0)
}

/// Asks the kernel about a card. `T` must be what `what` answers with.
fn query<T>(luid: Luid, what: KMTQUERYADAPTERINFOTYPE, answer: &mut T) -> bool {
    let mut open = D3DKMT_OPENADAPTERFROMLUID { AdapterLuid: luid.raw(), hAdapter: 0 };
    // SAFETY: `open` is read and written during the call only.
    if unsafe { D3DKMTOpenAdapterFromLuid(&raw mut open) }.is_err() {
        return false;
    }
    let mut question = D3DKMT_QUERYADAPTERINFO {
        hAdapter: open.hAdapter,
        Type: what,
        pPrivateDriverData: (&raw mut *answer).cast(),
        PrivateDriverDataSize: size_of::<T>() as u32,
    };
    // SAFETY: the data pointed to is `T`, as long as is said, and alive; both callers pass plain numbers.
    let told = unsafe { D3DKMTQueryAdapterInfo(&raw mut question) }.is_ok();
    let close = D3DKMT_CLOSEADAPTER { hAdapter: open.hAdapter };
    // SAFETY: opened above, closed once.
    let _ = unsafe { D3DKMTCloseAdapter(&raw const close) };
    told
}

fn devices() -> Vec<Device> {
    let class = GUID_DEVCLASS_DISPLAY;
    // SAFETY: the class outlives the call; the other conditions are left out.
    let set = unsafe { SetupDiGetClassDevsW(Some(&raw const class), PCWSTR::null(), None, DIGCF_PRESENT) };
    let Ok(set) = set else { return Vec::new() };
    let mut found = Vec::new();
    for index in 0..MOST_CARDS {
        let mut data = SP_DEVINFO_DATA { cbSize: size_of::<SP_DEVINFO_DATA>() as u32, ..SP_DEVINFO_DATA::default() };
        // SAFETY: the set is open and `data` says its size, as is asked for.
        if unsafe { SetupDiEnumDeviceInfo(set, index, &raw mut data) }.is_err() {
            break;
        }
        let number = |what| {
            property(set, &data, what).and_then(|bytes| Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)))
        };
        let (Some(bus), Some(address)) = (number(SPDRP_BUSNUMBER), number(SPDRP_ADDRESS)) else { continue };
        // The second number of the power data is the state the device was last put into. Reading it asks the system, not the card.
        let power = property(set, &data, SPDRP_DEVICE_POWER_DATA);
        let state = power.and_then(|bytes| Some(i32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?)));
        let service = property(set, &data, SPDRP_SERVICE).and_then(|bytes| {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            text(&units)
        });
        found.push(Device {
            bus,
            device: address >> 16,
            function: address & 0xffff,
            service,
            is_asleep: state.is_some_and(|state| state != PowerDeviceD0.0 && state != PowerDeviceUnspecified.0),
        });
    }
    // SAFETY: the set is ours and not used any more.
    let _ = unsafe { SetupDiDestroyDeviceInfoList(set) };
    found
}

fn property(set: HDEVINFO, data: &SP_DEVINFO_DATA, what: SETUP_DI_REGISTRY_PROPERTY) -> Option<Vec<u8>> {
    let mut buffer = vec![0_u8; 512];
    let mut needed = 0_u32;
    // SAFETY: set and device are alive; the buffer's length goes with it.
    unsafe {
        SetupDiGetDeviceRegistryPropertyW(set, &raw const *data, what, None, Some(&mut buffer), Some(&raw mut needed))
    }
    .ok()?;
    buffer.truncate(needed as usize);
    Some(buffer)
}

/// A text that ends at the first zero.
fn text(units: &[u16]) -> Option<String> {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    crate::parse::line(&String::from_utf16_lossy(units.get(..end)?)).ok()
}
