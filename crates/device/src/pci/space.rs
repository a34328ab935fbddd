//! The configuration space of a function: 256 bytes, which of their bits can be written, and where
//! the capabilities are.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

use core::mem::offset_of;

use ringway_spec::DeviceId;
use ringway_spec::pci::config::{self, Command, Status};
use ringway_spec::pci::msix::{CONTROL_ENABLE, CONTROL_FUNCTION_MASK};
use ringway_spec::pci::{
    Capability, Capability64, CapabilityType, NotifyCapability, PciCfgCapability, VENDOR,
    VendorCapability, af,
};
use zerocopy::IntoBytes;

use super::Unfit;
use super::identity::Identity;
use super::layout::{Bar, BarKind, Layout, Modern, NOTIFY_MULTIPLIER, SharedPlace};
use super::sriov::Kind;
use crate::front::load;
use crate::parts::Interface;

/// Bytes of configuration space, and which of them the driver may change.
pub(super) struct Space {
    bytes: [u8; config::SIZE],
    writable: [u8; config::SIZE],
    /// Where the MSI-X capability's control word is, if there is one.
    msix_control: Option<usize>,
    /// Where the window capability is, if there is one.
    window: Option<usize>,
    /// Where a reset of the function is asked for, and by which bit.
    pub(super) reset_control: Option<(usize, u8)>,
    /// Where the offset of the next capability goes, and where it would be.
    link: usize,
    free: usize,
}

/// Where the driver points the window at the BARs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) bar: u8,
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// Offset of the data in the window capability.
const WINDOW_DATA: usize = size_of::<Capability>();

impl Space {
    /// What a function is first, with so many vectors.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if there is no PCI device id for it, or no room for its capabilities.
    pub(super) fn new(
        id: DeviceId,
        interface: Interface,
        vectors: u16,
        layout: &Layout,
        kind: Kind,
    ) -> Result<Self, Unfit> {
        let mut space = Self {
            bytes: [0; config::SIZE],
            writable: [0; config::SIZE],
            msix_control: None,
            window: None,
            reset_control: None,
            link: config::CAPABILITIES_POINTER,
            free: config::CAPABILITIES_START,
        };
        space.put_header(id, interface)?;
        for bar in &layout.bars {
            space.put_bar(bar);
        }
        if let Some(capability) = layout.msix(vectors) {
            let at = space.add(config::CAPABILITY_MSIX, capability.as_bytes())?;
            let control = at.saturating_add(2);
            let writable = CONTROL_ENABLE | CONTROL_FUNCTION_MASK;
            space.allow(control, &writable.to_le_bytes());
            space.msix_control = Some(control);
        }
        match kind {
            Kind::Alone => space.add_reset()?,
            Kind::Physical | Kind::Virtual => space.add_express()?,
        }
        if let Some(modern) = &layout.modern {
            space.add_modern(modern)?;
        }
        Ok(space)
    }

    /// Adds a capability of the vendor's own, with `data`, behind the others.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if the vendor is virtio, or there is no room.
    pub(super) fn add_vendor(&mut self, vendor: u16, data: &[u8]) -> Result<(), Unfit> {
        if vendor == VENDOR {
            return Err(Unfit::Vendor);
        }
        let head = size_of::<VendorCapability>();
        let mut bytes = [0; config::SIZE];
        // A slice is far smaller than what can be counted, and a capability is of whole words.
        let end = head.saturating_add(data.len()).next_multiple_of(4);
        let no_room = self.no_room(end);
        let capability = VendorCapability {
            cap_len: u8::try_from(end).map_err(|_| no_room)?,
            cfg_type: CapabilityType::VENDOR_CFG,
            vendor_id: vendor.into(),
            ..VendorCapability::default()
        };
        let all = capability.as_bytes().iter().chain(data);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        let bytes = bytes.get(..end).ok_or(no_room)?;
        self.add(config::CAPABILITY_VENDOR, bytes)?;
        Ok(())
    }

    /// Reads the bytes at `offset`, all within.
    pub(super) fn read(&self, offset: usize, into: &mut [u8]) {
        for (to, from) in into.iter_mut().zip(self.bytes.iter().skip(offset)) {
            *to = *from;
        }
    }

    /// Writes what can be written of the bytes at `offset`.
    pub(super) fn write(&mut self, offset: usize, from: &[u8]) {
        let space = self.bytes.iter_mut().zip(&self.writable).skip(offset);
        for ((to, mask), from) in space.zip(from) {
            *to = *to & !mask | from & mask;
        }
    }

    /// Whether what is written at `offset` asks for a reset of the function.
    pub(super) fn is_reset(&self, offset: usize, from: &[u8]) -> bool {
        self.reset_control.is_some_and(|(at, bit)| {
            let written = at.checked_sub(offset).and_then(|at| from.get(at));
            written.is_some_and(|byte| byte & bit != 0)
        })
    }

    /// Forgets what the driver wrote: all of it is 0 at first.
    pub(super) fn reset(&mut self) {
        for (byte, mask) in self.bytes.iter_mut().zip(&self.writable) {
            *byte &= !mask;
        }
    }

    /// Sets the bit that says that the function wants to assert its pin.
    pub(super) fn set_interrupt(&mut self, wanted: bool) {
        let bit = Status::INTERRUPT.bits() as u8;
        if let Some(byte) = self.bytes.get_mut(config::STATUS) {
            *byte = *byte & !bit | if wanted { bit } else { 0 };
        }
    }

    pub(super) fn command(&self) -> Command {
        Command::from_bits_truncate(self.load16(config::COMMAND))
    }

    /// The control word of MSI-X; 0 if there is none.
    pub(super) fn msix_control(&self) -> u16 {
        self.msix_control.map_or(0, |at| self.load16(at))
    }

    /// The address that the driver gave to a BAR.
    pub(super) fn base(&self, bar: &Bar) -> u64 {
        let half = |index| config::bar(index).map_or(0, |at| u64::from(self.load32(at)));
        let mask = match bar.kind {
            BarKind::Ports => config::BAR_IO_MASK,
            BarKind::Memory32 | BarKind::Memory64 | BarKind::Prefetchable => {
                config::BAR_MEMORY_MASK
            }
        };
        let low = half(bar.index) & u64::from(mask);
        match bar.kind.is_wide() {
            true => half(bar.index.saturating_add(1)) << 32 | low,
            false => low,
        }
    }

    /// Where the window points, if an access of `len` bytes at `offset` meets its data, and it
    /// points at what can be accessed (§4.1.4.9.2).
    pub(super) fn window(&self, offset: usize, len: usize) -> Option<Window> {
        let window = self.window?;
        let data = window.saturating_add(WINDOW_DATA);
        if offset < data || offset.saturating_add(len) > data.saturating_add(4) {
            return None;
        }
        let offset = self.load32(window.saturating_add(8));
        let len = self.load32(window.saturating_add(12));
        let aligned = matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len);
        aligned.then(|| Window {
            bar: self.load32(window.saturating_add(4)) as u8,
            offset: offset.into(),
            len: len as usize,
        })
    }

    /// The data of the window.
    pub(super) fn window_data(&self) -> [u8; 4] {
        self.window.map_or([0; 4], |window| {
            self.load32(window.saturating_add(WINDOW_DATA))
                .to_le_bytes()
        })
    }

    /// Fills the data of the window.
    pub(super) fn set_window_data(&mut self, data: &[u8]) {
        if let Some(window) = self.window {
            self.put(window.saturating_add(WINDOW_DATA), data);
        }
    }

    fn put_header(&mut self, id: DeviceId, interface: Interface) -> Result<(), Unfit> {
        let identity = Identity::of(id, interface)?;
        self.put(config::VENDOR_ID, &VENDOR.to_le_bytes());
        self.put(config::DEVICE_ID, &identity.device.to_le_bytes());
        self.put(config::REVISION_ID, &[identity.revision]);
        self.put(config::SUBSYSTEM_VENDOR_ID, &VENDOR.to_le_bytes());
        self.put(config::SUBSYSTEM_ID, &identity.subsystem.to_le_bytes());
        self.put(config::CLASS_CODE, &identity.class);
        // INTA#.
        self.put(config::INTERRUPT_PIN, &[1]);
        let command = Command::BUS_MASTER | Command::INTX_DISABLE;
        self.allow(config::COMMAND, &command.bits().to_le_bytes());
        self.allow(config::INTERRUPT_LINE, &[0xff]);
        Ok(())
    }

    fn put_bar(&mut self, bar: &Bar) {
        let Some(at) = config::bar(bar.index) else {
            return;
        };
        // Its size is a power of two: an address is what is above.
        let address = !bar.size.wrapping_sub(1);
        let (kind, decodes) = match bar.kind {
            BarKind::Ports => (config::BAR_IO, Command::IO),
            BarKind::Memory32 => (0, Command::MEMORY),
            BarKind::Memory64 => (config::BAR_64, Command::MEMORY),
            BarKind::Prefetchable => (config::BAR_64 | config::BAR_PREFETCHABLE, Command::MEMORY),
        };
        self.put(at, &kind.to_le_bytes());
        if bar.kind.is_wide() {
            self.allow(at, &address.to_le_bytes());
        } else {
            self.allow(at, &(address as u32).to_le_bytes());
        }
        // What it has none of, it does not answer to.
        if let Some(allowed) = self.writable.get_mut(config::COMMAND) {
            *allowed |= decodes.bits() as u8;
        }
    }

    /// Adds what says that the function can be reset alone.
    fn add_reset(&mut self) -> Result<(), Unfit> {
        let capability = af::Capability {
            length: size_of::<af::Capability>() as u8,
            capabilities: af::CAN_RESET | af::CAN_TELL_PENDING,
            ..af::Capability::default()
        };
        let at = self.add(config::CAPABILITY_AF, capability.as_bytes())?;
        let control = at.saturating_add(offset_of!(af::Capability, control));
        self.reset_control = Some((control, af::CONTROL_RESET));
        Ok(())
    }

    /// Adds what locates the structures of virtio (§4.1.4).
    fn add_modern(&mut self, modern: &Modern) -> Result<(), Unfit> {
        for (cfg_type, place) in [
            (CapabilityType::COMMON_CFG, modern.common),
            (CapabilityType::ISR_CFG, modern.isr),
            (CapabilityType::DEVICE_CFG, modern.device),
        ] {
            let capability = place.capability(cfg_type, size_of::<Capability>());
            self.add(config::CAPABILITY_VENDOR, capability.as_bytes())?;
        }
        let notify = NotifyCapability {
            cap: modern
                .notify
                .capability(CapabilityType::NOTIFY_CFG, size_of::<NotifyCapability>()),
            notify_off_multiplier: NOTIFY_MULTIPLIER.into(),
        };
        self.add(config::CAPABILITY_VENDOR, notify.as_bytes())?;
        let window = PciCfgCapability {
            cap: Capability {
                cap_len: size_of::<PciCfgCapability>() as u8,
                cfg_type: CapabilityType::PCI_CFG,
                ..Capability::default()
            },
            ..PciCfgCapability::default()
        };
        let at = self.add(config::CAPABILITY_VENDOR, window.as_bytes())?;
        // Its bar, offset, length and data.
        self.allow(at.saturating_add(4), &[0xff]);
        self.allow(at.saturating_add(8), &[0xff; 12]);
        self.window = Some(at);
        for place in &modern.shared {
            self.add(config::CAPABILITY_VENDOR, shared(place).as_bytes())?;
        }
        Ok(())
    }

    /// That `bytes` do not go into what is left.
    fn no_room(&self, bytes: usize) -> Unfit {
        let left = config::SIZE.saturating_sub(self.free);
        Unfit::NoRoom { bytes, left }
    }

    /// Adds a capability, and says where it is.
    pub(super) fn add(&mut self, id: u8, bytes: &[u8]) -> Result<usize, Unfit> {
        let at = self.free;
        let end = at.checked_add(bytes.len());
        let end = end.filter(|end| *end <= config::SIZE);
        let end = end.ok_or(self.no_room(bytes.len()))?;
        self.put(at, bytes);
        self.put(at, &[id, 0]);
        self.put(
            config::STATUS,
            &Status::CAPABILITIES_LIST.bits().to_le_bytes(),
        );
        // They end at 256 at most.
        self.put(self.link, &[at as u8]);
        self.link = at.saturating_add(1);
        self.free = end.next_multiple_of(4);
        Ok(at)
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }

    /// Lets the driver change these bits.
    pub(super) fn allow(&mut self, at: usize, bits: &[u8]) {
        for (to, from) in self.writable.iter_mut().skip(at).zip(bits) {
            *to = *from;
        }
    }

    fn load16(&self, at: usize) -> u16 {
        self.load32(at) as u16
    }

    fn load32(&self, at: usize) -> u32 {
        load(self.bytes.get(at..).unwrap_or_default())
    }
}

/// What locates a shared memory region (§4.1.4.7).
fn shared(place: &SharedPlace) -> Capability64 {
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let [offset, offset_hi] = halves(place.offset);
    let [length, length_hi] = halves(place.length);
    Capability64 {
        cap: Capability {
            cap_len: size_of::<Capability64>() as u8,
            cfg_type: CapabilityType::SHARED_MEMORY_CFG,
            bar: place.bar,
            id: place.id,
            offset: offset.into(),
            length: length.into(),
            ..Capability::default()
        },
        offset_hi: offset_hi.into(),
        length_hi: length_hi.into(),
    }
}
