//! Putting a machine together.

use std::sync::{Arc, Mutex};
use std::thread;

use ringway_device::admin::Administration;
use ringway_device::interrupt::{Line, MessageSink};
use ringway_device::task::{Memory, Runner};
use ringway_device::{Device, Interface, Limits, Offer, Parts, mmio, pci};
use ringway_driver::interrupt::Handler;
use ringway_driver::platform::Trust;
use ringway_spec::F;

use crate::board::{self, Board};
use crate::bus::{Bus, MmioDevice, PciFunction, Population};
use crate::engine::{Engine, Run};
use crate::error::{Error, Result};
use crate::firmware::{Addresses, Firmware};
use crate::interrupts::Controller;
use crate::iommu::Iommu;
use crate::layout::{BRIDGES_MAX, MMIO_SLOTS_MAX, PCI_LINE, PCI_LINES};
use crate::machine::{Attached, Machine};
use crate::platform::{self, Leaked, Platform, Reach};
use crate::ram;
use crate::segment::Segment;

/// A machine that is not built yet. Devices keep the order in which they are added.
#[must_use = "nothing is built before `build`"]
pub struct Builder {
    ram: usize,
    trust: Trust,
    run: Run,
    vectors: u16,
    slots: usize,
    firmware: Firmware,
    reach: Reach,
    bridges: usize,
    devices: Vec<Planned>,
    /// The first device that cannot be presented as it is.
    fault: Option<Error>,
}

/// A device to be made, once what it is to be connected to is there.
pub(crate) struct Plan<D: ?Sized> {
    pub(crate) name: String,
    /// How many virtual functions it is to have.
    pub(crate) virtuals: u16,
    pub(crate) make: Make<D>,
}

type Make<D> = Box<dyn FnOnce(Ports) -> Result<Arc<D>>>;

/// A device of either kind.
enum Planned {
    /// Behind so many bridges.
    Function(usize, Plan<dyn PciFunction>),
    Window(Plan<dyn MmioDevice>),
}

/// How a device is presented.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The features of rings and transports that it offers. With [`Trust::Revoked`],
    /// `ACCESS_PLATFORM` is added.
    pub offer: Offer,
    /// On PCI: the groups of devices that it owns, and the administration queues for them.
    pub administration: Administration,
    /// Which drivers it is for.
    pub interface: Interface,
    /// On PCI: how many MSI-X vectors it has; 0 for none, so that it has its line only. `None` is
    /// one for each queue, those for administration among them, and one more.
    pub vectors: Option<u16>,
}

/// What a device is connected to. For devices that are made by hand.
#[derive(Clone)]
pub struct Ports {
    /// What it can reach.
    pub memory: Arc<dyn Memory>,
    /// Who serves its queues, and counts its kicks.
    pub runner: Arc<dyn Runner>,
    /// Where its messages go.
    pub messages: Arc<dyn MessageSink>,
    /// Its interrupt line: on PCI, INTA#.
    pub line: Arc<dyn Line>,
    /// On PCI: what its virtual functions are connected to.
    pub virtual_functions: Vec<Ports>,
    pub(crate) trust: Trust,
    /// In a slot: the bus address of the memory that it shares.
    pub(crate) shared: u64,
}

impl Ports {
    /// Presents `device` as a PCI function, as [`Builder::pci`] does: to be put into something that
    /// behaves otherwise.
    ///
    /// # Errors
    ///
    /// [`pci::Unfit`] if it cannot be presented so.
    pub fn function(
        self,
        device: Box<dyn Device>,
        options: &Options,
    ) -> Result<pci::Function, pci::Unfit> {
        let vectors = options.vectors_of(&*device);
        let (messages, line) = (self.messages.clone(), self.line.clone());
        pci::Function::new(self.parts(device, options), vectors, messages, line)
    }

    /// Presents `device` as a PCI function with virtual ones, as [`Builder::pci_physical`] does.
    ///
    /// # Errors
    ///
    /// [`Error::VirtualFunctions`]
    pub fn physical(
        mut self,
        device: Box<dyn Device>,
        virtuals: Vec<Box<dyn Device>>,
        options: &Options,
    ) -> Result<pci::Function> {
        let ports = core::mem::take(&mut self.virtual_functions);
        let others = Options {
            administration: Administration::default(),
            ..options.clone()
        };
        let functions = ports.into_iter().zip(virtuals).map(|(ports, device)| {
            let (vectors, messages) = (others.vectors_of(&*device), ports.messages.clone());
            pci::VirtualFunction::new(ports.parts(device, &others), vectors, messages)
        });
        let functions = functions.collect::<Result<_, _>>();
        let functions = functions.map_err(pci::VirtualFunctionsError::from)?;
        let vectors = options.vectors_of(&*device);
        let (messages, line) = (self.messages.clone(), self.line.clone());
        let parts = self.parts(device, options);
        let routing = pci::Routing::default();
        let function = pci::Function::physical(parts, vectors, messages, line, functions, routing)?;
        Ok(function)
    }

    /// Presents `device` as an MMIO window, as [`Builder::mmio`] does.
    pub fn window(self, device: Box<dyn Device>, options: &Options) -> mmio::Window {
        let (line, shared) = (self.line.clone(), self.shared);
        mmio::Window::new(self.parts(device, options), line).with_shared_memory_at(shared)
    }

    fn parts(self, device: Box<dyn Device>, options: &Options) -> Parts {
        let offer = match self.trust {
            Trust::Revoked => options.offer.with(F::ACCESS_PLATFORM),
            Trust::Trusted | Trust::Pool => options.offer,
        };
        Parts {
            device,
            offer,
            administration: options.administration.clone(),
            interface: options.interface,
            memory: self.memory,
            runner: self.runner,
        }
    }
}

impl Options {
    /// How many vectors a function for `device` has.
    fn vectors_of(&self, device: &dyn Device) -> u16 {
        let queues = u16::try_from(device.queue_sizes().len()).unwrap_or(u16::MAX);
        let queues = queues.saturating_add(self.administration.queues());
        self.vectors.unwrap_or(queues.saturating_add(1))
    }
}

impl Default for Builder {
    /// 16 MiB of RAM, [`Trust::Pool`], threads, 64 message vectors, four MMIO slots, no devices.
    fn default() -> Self {
        Self {
            ram: 16 << 20,
            trust: Trust::Pool,
            run: Run::Threaded,
            vectors: 64,
            slots: 4,
            firmware: Firmware::PlacesBars,
            reach: Reach::Everywhere,
            bridges: 0,
            devices: Vec::new(),
            fault: None,
        }
    }
}

impl Builder {
    /// How much RAM there is, in bytes: all the memory that drivers can have for devices.
    pub fn ram(mut self, bytes: usize) -> Self {
        self.ram = bytes;
        self
    }

    /// How far drivers trust devices.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How it runs.
    pub fn run(mut self, run: Run) -> Self {
        self.run = run;
        self
    }

    /// How many message vectors the interrupt controller has, for all devices together.
    pub fn vectors(mut self, vectors: u16) -> Self {
        self.vectors = vectors;
        self
    }

    /// How many MMIO slots there are at least. The first is always empty, and so are those without
    /// a device.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// What firmware does with the BARs of PCI functions.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// Which registers of PCI functions can be mapped.
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Adds a bridge to another PCI bus: functions that are added from here on are behind it, and so
    /// is the next bridge.
    pub fn bridge(mut self) -> Self {
        self.bridges += 1;
        self
    }

    /// Adds a device as a PCI function.
    pub fn pci(self, name: &str, device: Box<dyn Device>, options: Options) -> Self {
        let make = function(name, device, options);
        self.pci_function_with(name, 0, make)
    }

    /// Adds a device as a PCI function that has virtual ones (SR-IOV), whose devices are `virtuals`,
    /// all of one type. They have the same options, but for administration, and that their interface
    /// is the modern one; and are called after the function, `name.1` and so on.
    pub fn pci_physical(
        self,
        name: &str,
        device: Box<dyn Device>,
        virtuals: Vec<Box<dyn Device>>,
        options: Options,
    ) -> Self {
        // Of more than there can be, that is what the function finds.
        let count = u16::try_from(virtuals.len()).unwrap_or(u16::MAX);
        let make = move |ports: Ports| ports.physical(device, virtuals, &options);
        self.pci_function_with(name, count, move |ports| Ok(Arc::new(make(ports)?)))
    }

    /// Adds a device in an MMIO slot.
    pub fn mmio(self, name: &str, device: Box<dyn Device>, options: Options) -> Self {
        let checked = presentable(name, &*device, &mmio::LIMITS);
        self.checked(checked)
            .mmio_device(name, move |ports| Arc::new(ports.window(device, &options)))
    }

    /// Adds a PCI function of any kind: one that breaks the rules, for tests of drivers.
    pub fn pci_function(
        self,
        name: &str,
        make: impl FnOnce(Ports) -> Arc<dyn PciFunction> + 'static,
    ) -> Self {
        self.pci_function_with(name, 0, |ports| Ok(make(ports)))
    }

    /// As [`pci_function`](Self::pci_function), with room for `virtuals` virtual functions: one after
    /// the other, they have the routing ids that follow.
    pub fn pci_function_with(
        mut self,
        name: &str,
        virtuals: u16,
        make: impl FnOnce(Ports) -> Result<Arc<dyn PciFunction>> + 'static,
    ) -> Self {
        let plan = Plan {
            virtuals,
            ..Plan::new(name, make)
        };
        self.devices.push(Planned::Function(self.bridges, plan));
        self
    }

    /// Adds a device of any kind in an MMIO slot: one that breaks the rules, for tests of drivers.
    pub fn mmio_device(
        mut self,
        name: &str,
        make: impl FnOnce(Ports) -> Arc<dyn MmioDevice> + 'static,
    ) -> Self {
        let plan = Plan::new(name, |ports| Ok(make(ports)));
        self.devices.push(Planned::Window(plan));
        self
    }

    /// Builds it, and switches it on: firmware has found the PCI functions, devices wait for
    /// drivers.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub fn build(self) -> Result<Machine> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.check_names()?;
        let is_window = |planned: &&Planned| matches!(planned, Planned::Window(_));
        let windows = self.devices.iter().filter(is_window).count();
        let slots = self.slots.max(windows + 1);
        check(slots, MMIO_SLOTS_MAX)?;
        check(self.bridges, BRIDGES_MAX)?;

        let ram = ram::new(self.ram).ok_or(Error::Ram(self.ram))?;
        // Cannot fail: it is one region, not empty, and far from the last address.
        let iommu = Iommu::new(ram::region(&ram)).map_err(|_| Error::Ram(self.ram))?;
        let pci_lines = PCI_LINE..PCI_LINE + PCI_LINES;
        let lines = pci_lines.chain((0..slots).map(board::mmio_line));
        let controller = Arc::new(Controller::new(self.vectors, lines));
        let engine = Arc::new(Engine::new(self.run, Arc::clone(&controller)));
        let mut board = Board {
            trust: self.trust,
            iommu: Arc::new(iommu),
            controller,
            engine,
            addresses: Addresses::new(self.firmware),
            devices: 0,
        };
        let mut population = Population {
            segment: Segment::new((0..self.bridges).map(|_| Arc::default()).collect()),
            slots: (0..slots)
                .map(|_| Some(Arc::new(mmio::Empty) as Arc<dyn MmioDevice>))
                .collect(),
        };
        let devices = plug(&mut board, &mut population, self.bridges, self.devices)?;

        let platform = Platform::new(platform::Parts {
            trust: board.trust,
            reach: self.reach,
            alone: Mutex::default(),
            ram,
            iommu: Arc::clone(&board.iommu),
            bus: Bus::new(population),
            controller: Arc::clone(&board.controller),
            engine: Arc::clone(&board.engine),
            leaked: Leaked::default(),
        });
        let dispatcher = match self.run {
            Run::Threaded => Some(dispatcher(Arc::clone(&board.controller))?),
            Run::Inline { .. } | Run::Polled => None,
        };
        let slots = (0..slots).map(board::slot).collect();
        Ok(Machine::new(platform, board, dispatcher, devices, slots))
    }

    fn checked(mut self, checked: Result<()>) -> Self {
        self.fault = self.fault.or(checked.err());
        self
    }

    fn check_names(&self) -> Result<()> {
        let mut names: Vec<_> = self.devices.iter().flat_map(Planned::names).collect();
        names.sort_unstable();
        let twice = names.array_windows().find(|[a, b]| a == b);
        match twice {
            Some([name, _]) => Err(Error::SameName(name.clone())),
            None => Ok(()),
        }
    }
}

impl<D: ?Sized> Plan<D> {
    pub(crate) fn new(name: &str, make: impl FnOnce(Ports) -> Result<Arc<D>> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            virtuals: 0,
            make: Box::new(make),
        }
    }
}

impl Planned {
    /// What it is called, and what its virtual functions are.
    fn names(&self) -> impl Iterator<Item = String> {
        let (name, virtuals) = match self {
            Self::Function(_, plan) => (&plan.name, plan.virtuals),
            Self::Window(plan) => (&plan.name, 0),
        };
        let others = (1..=virtuals).map(|number| board::virtual_name(name, number));
        core::iter::once(name.clone()).chain(others)
    }
}

/// Makes a device as a PCI function.
pub(crate) fn function(
    name: &str,
    device: Box<dyn Device>,
    options: Options,
) -> impl FnOnce(Ports) -> Result<Arc<dyn PciFunction>> + 'static {
    let name = name.to_owned();
    move |ports| {
        presentable(&name, &*device, &pci::LIMITS)?;
        match ports.function(device, &options) {
            Ok(function) => Ok(Arc::new(function)),
            Err(why) => Err(Error::Unfit(name, why)),
        }
    }
}

/// Plugs devices in, in their order, and configures the bridges before them.
fn plug(
    board: &mut Board,
    population: &mut Population,
    bridges: usize,
    planned: Vec<Planned>,
) -> Result<Vec<Attached>> {
    let no_addresses = || Error::NoAddresses("a bridge".to_owned());
    let mut windows = Vec::new();
    let mut attached = Vec::new();
    for planned in planned {
        match planned {
            Planned::Function(depth, plan) => {
                while windows.len() < depth {
                    let window = board.addresses.open(&windows);
                    windows.push(window.ok_or_else(no_addresses)?);
                }
                let (function, virtuals) = board.plug_function(population, depth, plan)?;
                attached.push(function);
                attached.extend(virtuals);
            }
            Planned::Window(plan) => attached.push(board.plug_window(population, plan)?),
        }
    }
    while windows.len() < bridges {
        let window = board.addresses.open(&windows);
        windows.push(window.ok_or_else(no_addresses)?);
    }
    let closed = board.addresses.close(&population.segment, &windows);
    closed.map(|()| attached).ok_or_else(no_addresses)
}

/// Whether a device can be presented as it is, by a carrier that has room for so much.
pub(crate) fn presentable(name: &str, device: &dyn Device, limits: &Limits) -> Result<()> {
    let checked = limits.check(device);
    checked.map_err(|fault| Error::Device(name.to_owned(), fault))
}

fn check(count: usize, limit: usize) -> Result<()> {
    if count > limit {
        return Err(Error::TooManyDevices { limit });
    }
    Ok(())
}

/// The thread that takes interrupts, as a processor would.
fn dispatcher(controller: Arc<Controller<Handler<Platform>>>) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("interrupts".to_owned())
        .spawn(move || controller.dispatch())
        .map_err(|error| Error::Thread(error.kind()))
}
