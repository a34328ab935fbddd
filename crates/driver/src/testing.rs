//! What the tests of this crate stand on: a platform whose registers, interrupts, memory and clock
//! are in the hands of the test.
#![expect(
    unsafe_code,
    reason = "a platform, and what owns memory for devices, are unsafe traits"
)]

use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::vec;
use std::vec::Vec;

use ringway_ring::driver::Memory;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::{Backing, Shared};
use ringway_spec::Features;

use crate::dma::{Buffer, Raw};
use crate::error::{PlatformError, TransportError};
use crate::interrupt::Handler;
use crate::pci::{self, ConfigAccess, Exclusion};
use crate::platform::{
    ANYWHERE, Direction, Leak, Message, Platform, Registers, Segments, Trust, ends_by,
};
use crate::registers::DirectOrWindow;

/// Where the 4096 bytes of configuration space of the first PCI function are among the spaces.
pub(crate) const CONFIG_SPACES: u64 = 1 << 40;

/// Where the spaces have the configuration space of the function at `at`.
pub(crate) fn config_space(at: pci::Address) -> u64 {
    CONFIG_SPACES + (u64::from(at.routing_id()) << 12)
}

/// Where the first I/O port is among the spaces.
const PORT_SPACE: u64 = 1 << 41;

/// Where I/O port `port` is among the spaces.
pub(crate) fn port(port: u32) -> u64 {
    PORT_SPACE + u64::from(port)
}

/// Where memory begins that is to end by some address.
const LOW: u64 = 1 << 20;

/// A register access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read { at: u64, width: u8, value: u32 },
    Write { at: u64, width: u8, value: u32 },
}

impl Access {
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// Where, among the spaces; relative to its own where a space is told.
    pub(crate) fn at(&self) -> u64 {
        match self {
            Self::Read { at, .. } | Self::Write { at, .. } => *at,
        }
    }
}

/// What a space does after each access: it changes its bytes.
type Behaviour = Box<dyn FnMut(&mut [u8], Access) + Send>;

/// Registers: bytes, at an address, that keep what is written to them unless their behaviour
/// changes it.
struct Space {
    start: u64,
    state: Mutex<(Vec<u8>, Behaviour)>,
    log: Arc<Mutex<Vec<Access>>>,
}

/// A platform for one test. Device addresses are those of the program.
#[derive(Clone)]
pub(crate) struct TestPlatform(Arc<Inner>);

struct Inner {
    trust: Trust,
    required: Mutex<Features>,
    spaces: Mutex<BTreeMap<u64, Arc<Space>>>,
    log: Arc<Mutex<Vec<Access>>>,
    windows: Mutex<Vec<(u64, u64)>>,
    milliseconds: AtomicU64,
    allocations: Mutex<Vec<Weak<Allocation>>>,
    /// Where the next memory begins that is to end by some address.
    low: AtomicU64,
    /// What is not mapped, wherever it is.
    unmapped: Mutex<Range<u64>>,
    uses_windows: AtomicBool,
    /// Whether somebody does something alone.
    alone: AtomicBool,
    mapped: Mutex<Vec<(NonNullSend, usize)>>,
    unmaps: AtomicUsize,
    leaked: Mutex<Leak>,
    messages_max: AtomicUsize,
    messages: Mutex<Vec<(Message, Handler<TestPlatform>)>>,
    lines: Mutex<Vec<(u32, Handler<TestPlatform>)>>,
    /// Handlers that run now.
    running: Mutex<Vec<Handler<TestPlatform>>>,
    /// One of them has ended.
    ended: Condvar,
    /// Who is told of a handler that is disconnected, before it is waited for.
    disconnecting: Mutex<Option<Told>>,
}

/// Who is told of something that happens to a platform.
type Told = Box<dyn FnMut(&TestPlatform) + Send>;

impl TestPlatform {
    /// No registers, no limit on messages, no time gone by.
    pub(crate) fn new(trust: Trust) -> Self {
        Self(Arc::new(Inner {
            trust,
            required: Mutex::default(),
            spaces: Mutex::default(),
            log: Arc::default(),
            windows: Mutex::default(),
            milliseconds: AtomicU64::new(0),
            allocations: Mutex::default(),
            low: AtomicU64::new(LOW),
            unmapped: Mutex::default(),
            uses_windows: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            mapped: Mutex::default(),
            unmaps: AtomicUsize::new(0),
            leaked: Mutex::default(),
            messages_max: AtomicUsize::new(usize::MAX),
            messages: Mutex::default(),
            lines: Mutex::default(),
            running: Mutex::default(),
            ended: Condvar::new(),
            disconnecting: Mutex::default(),
        }))
    }

    /// Puts registers at `address`, which begin as `bytes`. After each access, `behaviour` is told
    /// of it, by its offset from `address`, and may change them.
    pub(crate) fn place(
        &self,
        address: u64,
        bytes: Vec<u8>,
        behaviour: impl FnMut(&mut [u8], Access) + Send + 'static,
    ) {
        let space = Space {
            start: address,
            state: Mutex::new((bytes, Box::new(behaviour))),
            log: Arc::clone(&self.0.log),
        };
        self.0
            .spaces
            .lock()
            .unwrap()
            .insert(address, Arc::new(space));
    }

    /// The bytes at `address`, without an access.
    pub(crate) fn peek<const N: usize>(&self, address: u64) -> [u8; N] {
        let registers = self.window(address, N as u64).unwrap();
        let state = registers.space.state.lock().unwrap();
        state.0[registers.from..][..N].try_into().unwrap()
    }

    /// Changes the bytes at `address`, without an access.
    pub(crate) fn poke(&self, address: u64, bytes: &[u8]) {
        let registers = self.window(address, bytes.len() as u64).unwrap();
        let mut state = registers.space.state.lock().unwrap();
        state.0[registers.from..][..bytes.len()].copy_from_slice(bytes);
    }

    /// The accesses since this was last asked.
    pub(crate) fn take_log(&self) -> Vec<Access> {
        core::mem::take(&mut self.0.log.lock().unwrap())
    }

    /// Address and length of each window that was mapped since this was last asked.
    pub(crate) fn take_windows(&self) -> Vec<(u64, u64)> {
        core::mem::take(&mut self.0.windows.lock().unwrap())
    }

    fn window(&self, address: u64, len: u64) -> Option<SpaceRegisters> {
        let spaces = self.0.spaces.lock().unwrap();
        let (start, space) = spaces.range(..=address).next_back()?;
        let whole = SpaceRegisters {
            space: Arc::clone(space),
            from: 0,
            len: space.state.lock().unwrap().0.len(),
        };
        whole.slice((address - start) as usize, len as usize)
    }

    /// What a device can reach now: memory for devices that is still held, and buffers that are
    /// mapped. To be dropped before they are.
    pub(crate) fn device_map(&self) -> Map {
        let allocations = self.0.allocations.lock().unwrap();
        let allocated = allocations
            .iter()
            .filter_map(Weak::upgrade)
            .map(|allocation| (allocation.address, Shared::new(allocation)));
        let mapped = self.0.mapped.lock().unwrap();
        let mapped = mapped.iter().map(|(at, len)| {
            // SAFETY: who mapped the bytes keeps them until they are unmapped, and does not touch
            // them.
            let memory = unsafe { Shared::from_raw_parts(at.0, *len) };
            (at.0.addr().get() as u64, memory)
        });
        let regions = allocated
            .chain(mapped)
            .map(|(start, memory)| Region { start, memory });
        Map::new(regions.collect()).unwrap()
    }

    /// How many pieces of memory for devices are still held by anybody.
    pub(crate) fn allocations(&self) -> usize {
        let allocations = self.0.allocations.lock().unwrap();
        allocations
            .iter()
            .filter(|allocation| allocation.strong_count() != 0)
            .count()
    }

    /// Devices are of no use without these features from now on.
    pub(crate) fn require(&self, features: Features) {
        *self.0.required.lock().unwrap() = features;
    }

    /// Memory that is to end by some address begins at `low` from now on, at the earliest.
    pub(crate) fn set_low(&self, low: u64) {
        self.0.low.store(low, Ordering::Relaxed);
    }

    /// Registers within `addresses` cannot be mapped from now on, but reached through windows.
    pub(crate) fn unmap_registers(&self, addresses: Range<u64>) {
        *self.0.unmapped.lock().unwrap() = addresses;
        self.0.uses_windows.store(true, Ordering::Relaxed);
    }

    /// How many buffers are mapped.
    pub(crate) fn mapped(&self) -> usize {
        self.0.mapped.lock().unwrap().len()
    }

    /// How many buffers were unmapped.
    pub(crate) fn unmaps(&self) -> usize {
        self.0.unmaps.load(Ordering::Relaxed)
    }

    /// What the platform was told to be lost.
    pub(crate) fn leak(&self) -> Leak {
        *self.0.leaked.lock().unwrap()
    }

    /// From now on, there are at most `limit` messages at a time.
    pub(crate) fn limit_messages(&self, limit: usize) {
        self.0.messages_max.store(limit, Ordering::Relaxed);
    }

    /// The messages that are provided now.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let messages = self.0.messages.lock().unwrap();
        messages.iter().map(|(message, _)| *message).collect()
    }

    /// Does what `message` does when a device writes it. Says whether anybody was there.
    pub(crate) fn deliver(&self, message: Message) -> bool {
        let messages = self.0.messages.lock().unwrap();
        let handler = messages
            .iter()
            .find(|(known, _)| *known == message)
            .map(|(_, handler)| handler.clone());
        drop(messages);
        handler.is_some_and(|handler| self.run(&handler))
    }

    /// What the handlers are called that are connected, in the order in which they were.
    pub(crate) fn names(&self) -> Vec<String> {
        let (messages, lines) = (self.0.messages.lock(), self.0.lines.lock());
        let (messages, lines) = (messages.unwrap(), lines.unwrap());
        let messages = messages.iter().map(|(_, handler)| handler);
        let handlers = messages.chain(lines.iter().map(|(_, handler)| handler));
        handlers.map(|handler| handler.name().to_string()).collect()
    }

    /// Tells `told` whenever a handler is to be disconnected, before it is waited for.
    pub(crate) fn tell_of_disconnecting(&self, told: impl FnMut(&Self) + Send + 'static) {
        *self.0.disconnecting.lock().unwrap() = Some(Box::new(told));
    }

    fn run(&self, handler: &Handler<Self>) -> bool {
        self.0.running.lock().unwrap().push(handler.clone());
        let ours = handler.handle();
        let mut running = self.0.running.lock().unwrap();
        let place = running.iter().position(|other| other.same_as(handler));
        running.swap_remove(place.unwrap());
        self.0.ended.notify_all();
        ours
    }

    /// Does what line `number` does when a device raises it. Says whether it was anybody's.
    pub(crate) fn raise(&self, number: u32) -> bool {
        let lines = self.0.lines.lock().unwrap();
        let handlers: Vec<_> = lines
            .iter()
            .filter(|(line, _)| *line == number)
            .map(|(_, handler)| handler.clone())
            .collect();
        drop(lines);
        // Each is asked: the line may be raised by several.
        let ours = handlers.iter().filter(|handler| self.run(handler));
        ours.count() != 0
    }
}

impl fmt::Debug for TestPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestPlatform")
    }
}

// SAFETY: memory is the heap's, at the address it has, until its last handle is dropped; a buffer's
// address is its own; no device is outside this program, and the test's own uses `device_map` while
// buffers are mapped.
unsafe impl Platform for TestPlatform {
    type Registers = TestRegisters;

    fn trust(&self) -> Trust {
        self.0.trust
    }

    fn required_features(&self) -> Features {
        *self.0.required.lock().unwrap()
    }

    fn dma(&self, len: usize, align: usize, last: u64) -> Result<Memory, PlatformError> {
        let shared = Shared::allocate(len, align).ok_or(PlatformError::NoMemory(len))?;
        let address = match last {
            ANYWHERE => shared.base().addr().get() as u64,
            // Far below where programs have their heap.
            _ => {
                let step = len.max(align).next_power_of_two() as u64;
                let beyond = self.0.low.fetch_add(2 * step, Ordering::Relaxed);
                beyond.next_multiple_of(align as u64)
            }
        };
        let memory = Memory { shared, address };
        if !ends_by(&memory, last) {
            return Err(PlatformError::NoMemory(len));
        }
        let allocation = Arc::new(Allocation {
            memory: memory.shared,
            address,
        });
        let mut allocations = self.0.allocations.lock().unwrap();
        allocations.push(Arc::downgrade(&allocation));
        Ok(Memory {
            shared: Shared::new(allocation),
            address,
        })
    }

    fn map(
        &self,
        at: NonNull<u8>,
        len: usize,
        _: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<(), PlatformError> {
        segments.push(at.addr().get() as u64, len)?;
        self.0.mapped.lock().unwrap().push((NonNullSend(at), len));
        Ok(())
    }

    fn unmap(&self, at: NonNull<u8>, len: usize, _: Direction, first: u64) {
        assert_eq!(first, at.addr().get() as u64);
        let mut mapped = self.0.mapped.lock().unwrap();
        let known = mapped
            .iter()
            .position(|(known, known_len)| known.0 == at && *known_len == len);
        mapped.swap_remove(known.expect("only what was mapped is unmapped, and once"));
        self.0.unmaps.fetch_add(1, Ordering::Relaxed);
    }

    fn registers(&self, address: u64, len: u64) -> Result<TestRegisters, PlatformError> {
        let not_mapped = PlatformError::NotMapped(address);
        if self.0.unmapped.lock().unwrap().contains(&address) {
            return Err(not_mapped);
        }
        self.0.windows.lock().unwrap().push((address, len));
        let window = self.window(address, len).ok_or(not_mapped)?;
        Ok(DirectOrWindow::Direct(window))
    }

    fn ports(&self, base: u32, len: u32) -> Result<TestRegisters, PlatformError> {
        let window = self.window(port(base), len.into());
        let window = window.ok_or(PlatformError::NoPorts(base))?;
        Ok(DirectOrWindow::Direct(window))
    }

    fn config_window(&self, target: pci::Target) -> Option<TestRegisters> {
        let used = self.0.uses_windows.load(Ordering::Relaxed);
        used.then(|| DirectOrWindow::Window(pci::ConfigWindow::new(self.clone(), target)))
    }

    fn message(&self, handler: Handler<Self>) -> Option<Message> {
        let mut messages = self.0.messages.lock().unwrap();
        let free = messages.len() < self.0.messages_max.load(Ordering::Relaxed);
        let data = messages
            .iter()
            .map(|(message, _)| message.data + 1)
            .max()
            .unwrap_or(0x40);
        free.then(|| {
            let message = Message {
                address: 0x1_fee0_0000,
                data,
            };
            messages.push((message, handler));
            message
        })
    }

    fn line(&self, line: u32, handler: Handler<Self>) -> bool {
        self.0.lines.lock().unwrap().push((line, handler));
        true
    }

    fn disconnect(&self, handler: &Handler<Self>) {
        let others = |known: &Handler<Self>| !known.same_as(handler);
        let forgets = |known: &mut Vec<_>| known.retain(|(_, known)| others(known));
        forgets(&mut self.0.messages.lock().unwrap());
        let mut lines = self.0.lines.lock().unwrap();
        lines.retain(|(_, known)| others(known));
        drop(lines);
        if let Some(told) = &mut *self.0.disconnecting.lock().unwrap() {
            told(self);
        }
        let running = self.0.running.lock().unwrap();
        let runs = |running: &mut Vec<_>| !running.iter().all(others);
        drop(self.0.ended.wait_while(running, runs).unwrap());
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.milliseconds.fetch_add(1, Ordering::Relaxed))
    }

    fn relax(&self) {
        self.0.milliseconds.fetch_add(1, Ordering::Relaxed);
    }

    fn leaked(&self, leak: Leak) {
        let mut leaked = self.0.leaked.lock().unwrap();
        leaked.queues += leak.queues;
        leaked.buffers += leak.buffers;
    }
}

impl ConfigAccess for TestPlatform {
    fn read32(&self, at: pci::Address, offset: u16) -> u32 {
        self.window(config_space(at) + u64::from(offset), 4)
            .map_or(u32::MAX, |registers| registers.read32(0).unwrap())
    }

    fn write32(&self, at: pci::Address, offset: u16, value: u32) {
        if let Some(registers) = self.window(config_space(at) + u64::from(offset), 4) {
            registers.write32(0, value).unwrap();
        }
    }
}

impl Exclusion for TestPlatform {
    fn alone<T>(&self, what: impl FnOnce() -> T) -> T {
        assert!(!self.0.alone.swap(true, Ordering::Relaxed));
        let done = what();
        self.0.alone.store(false, Ordering::Relaxed);
        done
    }
}

/// Registers of a [`TestPlatform`].
pub(crate) type TestRegisters = DirectOrWindow<SpaceRegisters, TestPlatform>;

/// Those that are in one of its spaces.
#[derive(Clone)]
pub(crate) struct SpaceRegisters {
    space: Arc<Space>,
    from: usize,
    len: usize,
}

impl SpaceRegisters {
    /// Reads, or writes if there is a `value` to be written.
    fn access(
        &self,
        offset: usize,
        width: usize,
        written: Option<u32>,
    ) -> Result<u32, TransportError> {
        let range = TransportError::Range { offset, len: width };
        let window = self.slice(offset, width).ok_or(range)?;
        let at = self.space.start + window.from as u64;
        if !at.is_multiple_of(width as u64) {
            return Err(range);
        }
        let mut state = self.space.state.lock().unwrap();
        let (bytes, behaviour) = &mut *state;
        let place = &mut bytes[window.from..][..width];
        if let Some(value) = written {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
        let mut word = [0; 4];
        word[..width].copy_from_slice(place);
        let value = u32::from_le_bytes(word);
        let made = |at| {
            let width = width as u8;
            match written {
                Some(_) => Access::Write { at, width, value },
                None => Access::Read { at, width, value },
            }
        };
        self.space.log.lock().unwrap().push(made(at));
        behaviour(bytes, made(window.from as u64));
        Ok(value)
    }
}

impl fmt::Debug for SpaceRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.space.start + self.from as u64;
        write!(f, "TestRegisters({start:#x}, {} bytes)", self.len)
    }
}

impl Registers for SpaceRegisters {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let within = offset.checked_add(len).is_some_and(|end| end <= self.len);
        within.then(|| Self {
            space: Arc::clone(&self.space),
            from: self.from + offset,
            len,
        })
    }

    fn read8(&self, offset: usize) -> Result<u8, TransportError> {
        self.access(offset, 1, None).map(|value| value as u8)
    }

    fn read16(&self, offset: usize) -> Result<u16, TransportError> {
        self.access(offset, 2, None).map(|value| value as u16)
    }

    fn read32(&self, offset: usize) -> Result<u32, TransportError> {
        self.access(offset, 4, None)
    }

    fn write8(&self, offset: usize, value: u8) -> Result<(), TransportError> {
        self.access(offset, 1, Some(value.into())).map(drop)
    }

    fn write16(&self, offset: usize, value: u16) -> Result<(), TransportError> {
        self.access(offset, 2, Some(value.into())).map(drop)
    }

    fn write32(&self, offset: usize, value: u32) -> Result<(), TransportError> {
        self.access(offset, 4, Some(value)).map(drop)
    }
}

/// A buffer that is known to be alive or not: for as long as it is, in whatever form, it holds a
/// clone of what it was made with.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) bytes: Box<[u8]>,
    alive: Arc<()>,
}

impl Tracked {
    /// `len` bytes, all of them `byte`.
    pub(crate) fn new(byte: u8, len: usize, alive: &Arc<()>) -> Self {
        Self {
            bytes: vec![byte; len].into_boxed_slice(),
            alive: Arc::clone(alive),
        }
    }
}

// SAFETY: the bytes are those of a box, which is taken apart as a box is.
unsafe impl Buffer for Tracked {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn into_raw(self) -> Raw {
        Raw {
            extra: Arc::into_raw(self.alive).expose_provenance(),
            ..self.bytes.into_raw()
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        let alive = core::ptr::with_exposed_provenance(raw.extra);
        // SAFETY: from `into_raw`, once (this function's contract), which made `extra` of an `Arc`
        // and the rest of a box.
        unsafe {
            Self {
                bytes: Buffer::from_raw(raw),
                alive: Arc::from_raw(alive),
            }
        }
    }
}

/// Memory for devices, whose last handle can be told to be gone.
struct Allocation {
    memory: Shared,
    /// The device's.
    address: u64,
}

// SAFETY: what it holds is such memory, and keeps it.
unsafe impl Backing for Allocation {
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }
}

/// Where a mapped buffer is.
struct NonNullSend(NonNull<u8>);

// SAFETY: it is compared, and given to `Shared`, which may be used from any thread.
unsafe impl Send for NonNullSend {}
