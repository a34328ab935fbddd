//! The machine as drivers see it: the operating system's side, as one value.
#![expect(
    unsafe_code,
    reason = "the contract of a platform is an unsafe trait; nothing unsafe is done here"
)]

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use ringway_driver::error::{PlatformError, TransportError};
use ringway_driver::interrupt::{Handler, Processors, Signal};
use ringway_driver::pages::Pages;
use ringway_driver::pci::{Address, ConfigAccess, ConfigWindow, Exclusion, Target};
use ringway_driver::platform::{
    self, Direction, Leak, Message, Registers, Segments, Trust, ends_by,
};
use ringway_driver::registers::DirectOrWindow;
use ringway_ring::driver::Memory;
use ringway_spec::{F, Features};

use crate::bus::{Bus, Space};
use crate::engine::{Engine, Inline, Step};
use crate::interrupts::Controller;
use crate::iommu::Iommu;
use crate::layout::{PCI_HIGH, PCI_LOW};
use crate::sync::lock;

/// A machine, for the drivers on it: memory for devices, registers, interrupts, time. A cheap
/// handle.
///
/// It outlives its [`Machine`](crate::Machine): then nothing answers any more, as if all devices
/// had been pulled out.
#[derive(Clone)]
pub struct Platform(Arc<Parts>);

/// Which registers of PCI functions a machine can map. The others are reached through the windows
/// that functions have in configuration space (§4.1.4.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All.
    #[default]
    Everywhere,
    /// Those below 4 GiB, as with addresses of 32 bits.
    Low,
    /// None.
    Nowhere,
}

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) trust: Trust,
    pub(crate) reach: Reach,
    /// Held by who uses a window in configuration space.
    pub(crate) alone: Mutex<()>,
    pub(crate) ram: Arc<Pages>,
    pub(crate) iommu: Arc<Iommu>,
    pub(crate) bus: Bus,
    pub(crate) controller: Arc<Controller<Handler<Platform>>>,
    pub(crate) engine: Arc<Engine<Handler<Platform>>>,
    pub(crate) leaked: Leaked,
}

/// What drivers kept from everybody.
#[derive(Debug, Default)]
pub(crate) struct Leaked {
    queues: AtomicUsize,
    buffers: AtomicUsize,
}

impl Platform {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }

    /// Makes something happen on an [inline](crate::Run::Inline) machine: serves a queue or
    /// delivers an interrupt, if there is any. For an executor that has nothing to do until a
    /// future is woken. `None` on others: on a threaded one, things happen by themselves.
    pub fn step(&self) -> Option<Step> {
        self.inline().map(Inline::advance)
    }

    /// Looks at each queue of a [polled](crate::Run::Polled) machine once, and delivers what
    /// interrupts there are. Says whether there was anything to do. `None` on other machines.
    pub fn look(&self) -> Option<bool> {
        match &*self.0.engine {
            Engine::Polled(polled) => Some(polled.poll()),
            Engine::Threaded(_) | Engine::Inline(_) => None,
        }
    }

    /// Bytes of RAM that somebody has, in whole pages.
    pub fn ram_used(&self) -> u64 {
        self.0.ram.used()
    }

    /// How many buffers are [mapped](platform::Platform::map) at the moment, with
    /// [`Trust::Revoked`].
    pub fn mapped(&self) -> usize {
        self.0.iommu.mapped()
    }

    /// Memory that drivers said they keep from everybody, since a device did not confirm its reset.
    pub fn leak(&self) -> Leak {
        Leak {
            queues: self.0.leaked.queues.load(Ordering::Relaxed),
            buffers: self.0.leaked.buffers.load(Ordering::Relaxed),
        }
    }

    fn window(&self, space: Space, address: u64, len: u64) -> Option<Window> {
        let there = self.0.bus.has_registers(space, address, len);
        let in_reach = match self.0.reach {
            Reach::Everywhere => true,
            Reach::Low => address < PCI_HIGH.start,
            Reach::Nowhere => address < PCI_LOW.start && space == Space::Memory,
        };
        Some(Window::Direct(Direct {
            platform: self.clone(),
            space,
            address,
            len: usize::try_from(len).ok().filter(|_| there && in_reach)?,
        }))
    }

    pub(crate) fn inline(&self) -> Option<&Inline<Handler<Self>>> {
        match &*self.0.engine {
            Engine::Inline(inline) => Some(inline),
            Engine::Threaded(_) | Engine::Polled(_) => None,
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform")
            .field("trust", &self.0.trust)
            .field("engine", &self.0.engine)
            .finish_non_exhaustive()
    }
}

// SAFETY: the devices of a machine are in this program. They reach memory through the views that
// `Iommu` gives them, which are of RAM alone; and RAM came from `Shared::allocate`, so whatever
// they do, and whenever, is an atomic access to memory that the program has no reference to. Beyond
// that:
// - `dma` gives out pages of RAM that nobody else has until the last handle to them is dropped
//   (`Pages::take`), and RAM is at `RAM_BASE` in every view: the bytes are where `Memory::address`
//   says.
// - `map` looks the bytes up in RAM by their address in the program (`Pages::find`), refuses others,
//   and reports where views have exactly those: by their offset in RAM, or, with `Revoked`, the
//   region made of them (`Iommu::map`).
// - `unmap` returns when no view that has the region is in use (`Iommu::unmap`). The bytes were
//   handed out by `dma`, and so stay the device's at the address that `dma` said; nobody ever has a
//   reference to them.
unsafe impl platform::Platform for Platform {
    type Registers = Window;

    fn trust(&self) -> Trust {
        self.0.trust
    }

    fn required_features(&self) -> Features {
        match self.0.trust {
            Trust::Revoked => F::ACCESS_PLATFORM,
            Trust::Trusted | Trust::Pool => Features::NONE,
        }
    }

    fn dma(&self, len: usize, align: usize, last: u64) -> Result<Memory, PlatformError> {
        self.0.engine.asked();
        let memory = self.0.ram.take(len, align);
        memory
            .filter(|memory| ends_by(memory, last))
            .ok_or(PlatformError::NoMemory(len))
    }

    fn map(
        &self,
        at: NonNull<u8>,
        len: usize,
        _direction: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<(), PlatformError> {
        self.0.engine.asked();
        let memory = self.0.ram.find(at, len);
        let Memory { shared, address } = memory.ok_or(PlatformError::NotReachable)?;
        if self.0.trust != Trust::Revoked {
            return segments.push(address, len);
        }
        let mapped = self.0.iommu.map(shared);
        let address = mapped.ok_or(PlatformError::NoMemory(len))?;
        segments
            .push(address, len)
            .inspect_err(|_| self.0.iommu.unmap(address))
    }

    fn unmap(&self, _at: NonNull<u8>, _len: usize, _direction: Direction, first: u64) {
        self.0.engine.asked();
        if self.0.trust == Trust::Revoked {
            self.0.iommu.unmap(first);
        }
    }

    fn registers(&self, address: u64, len: u64) -> Result<Window, PlatformError> {
        self.window(Space::Memory, address, len)
            .ok_or(PlatformError::NotMapped(address))
    }

    fn ports(&self, base: u32, len: u32) -> Result<Window, PlatformError> {
        self.window(Space::Ports, base.into(), len.into())
            .ok_or(PlatformError::NoPorts(base))
    }

    fn config_window(&self, target: Target) -> Option<Window> {
        Some(Window::Window(ConfigWindow::new(self.clone(), target)))
    }

    fn message(&self, handler: Handler<Self>) -> Option<Message> {
        self.0.controller.provide(handler)
    }

    fn line(&self, line: u32, handler: Handler<Self>) -> bool {
        self.0.controller.connect(line, handler)
    }

    fn disconnect(&self, handler: &Handler<Self>) {
        self.0.controller.disconnect(handler);
    }

    fn set_affinity(
        &self,
        handler: &Handler<Self>,
        processors: &Processors,
    ) -> Result<(), PlatformError> {
        let bound = self.0.controller.bind(handler, processors);
        bound.then_some(()).ok_or(PlatformError::NoAffinity)
    }

    fn affinity(&self, handler: &Handler<Self>) -> Result<Processors, PlatformError> {
        let bound = self.0.controller.bound(handler);
        bound.ok_or(PlatformError::NoAffinity)
    }

    fn now(&self) -> Duration {
        self.0.engine.now()
    }

    fn relax(&self) {
        self.0.engine.relax();
    }

    fn wait(&self, signal: &Signal, seen: u32) {
        self.0.engine.wait(&self.0.controller, signal, seen);
    }

    fn leaked(&self, leak: Leak) {
        let Leaked { queues, buffers } = &self.0.leaked;
        queues.fetch_add(leak.queues, Ordering::Relaxed);
        buffers.fetch_add(leak.buffers, Ordering::Relaxed);
    }
}

impl ConfigAccess for Platform {
    fn read32(&self, at: Address, offset: u16) -> u32 {
        self.0.engine.asked();
        self.0.bus.config_read(at, offset)
    }

    fn write32(&self, at: Address, offset: u16, value: u32) {
        self.0.engine.asked();
        self.0.bus.config_write(at, offset, value);
    }
}

impl Exclusion for Platform {
    fn alone<T>(&self, what: impl FnOnce() -> T) -> T {
        let _held = lock(&self.0.alone);
        self.0.engine.uninterrupted(what)
    }
}

/// A window of device registers: of memory, of I/O ports, or behind configuration space.
pub type Window = DirectOrWindow<Direct, Platform>;

/// Registers in memory, or behind I/O ports.
#[derive(Clone)]
pub struct Direct {
    platform: Platform,
    space: Space,
    address: u64,
    len: usize,
}

impl Direct {
    /// The bus address of an access, if it is within and aligned.
    fn at<const N: usize>(&self, offset: usize) -> Result<u64, TransportError> {
        let address = self.address.wrapping_add(offset as u64);
        let last = self.len.checked_sub(N);
        let within = last.is_some_and(|last| offset <= last);
        if !within || !address.is_multiple_of(N as u64) {
            return Err(TransportError::Range { offset, len: N });
        }
        Ok(address)
    }

    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], TransportError> {
        let address = self.at::<N>(offset)?;
        let Parts { engine, bus, .. } = self.platform.parts();
        engine.asked();
        let mut bytes = [0; N];
        bus.read(self.space, address, &mut bytes);
        Ok(bytes)
    }

    fn write<const N: usize>(&self, offset: usize, bytes: [u8; N]) -> Result<(), TransportError> {
        let address = self.at::<N>(offset)?;
        let Parts { engine, bus, .. } = self.platform.parts();
        engine.asked();
        bus.write(self.space, address, &bytes);
        Ok(())
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            space,
            address,
            len,
            ..
        } = self;
        write!(f, "Direct({space:?}, {address:#x}, {len} bytes)")
    }
}

impl Registers for Direct {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let within = offset.checked_add(len).is_some_and(|end| end <= self.len);
        within.then(|| Self {
            platform: self.platform.clone(),
            space: self.space,
            address: self.address + offset as u64,
            len,
        })
    }

    fn read8(&self, offset: usize) -> Result<u8, TransportError> {
        self.read(offset).map(u8::from_le_bytes)
    }

    fn read16(&self, offset: usize) -> Result<u16, TransportError> {
        self.read(offset).map(u16::from_le_bytes)
    }

    fn read32(&self, offset: usize) -> Result<u32, TransportError> {
        self.read(offset).map(u32::from_le_bytes)
    }

    fn write8(&self, offset: usize, value: u8) -> Result<(), TransportError> {
        self.write(offset, value.to_le_bytes())
    }

    fn write16(&self, offset: usize, value: u16) -> Result<(), TransportError> {
        self.write(offset, value.to_le_bytes())
    }

    fn write32(&self, offset: usize, value: u32) -> Result<(), TransportError> {
        self.write(offset, value.to_le_bytes())
    }
}
