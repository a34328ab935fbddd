//! Putting a machine together.

use std::sync::{Arc, Mutex};
use std::thread;

use ringway_device::admin::Administration;
use ringway_device::interrupt::{Line, MessageSink};
use ringway_device::task::{Memory, Runner};
use ringway_device::{Device, Interface, Offer, Parts, mmio, pci};
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
}

/// A device to be made, once what it is to be connected to is there.
pub(crate) struct Plan<D: ?Sized> {
    pub(crate) name: String,
    pub(crate) make: Box<dyn FnOnce(Ports) -> Arc<D>>,
}

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
    pub(crate) trust: Trust,
    /// In a slot: the bus address of the memory that it shares.
    pub(crate) shared: u64,
}

impl Ports {
    /// Presents `device` as a PCI function, as [`Builder::pci`] does: to be put into something that
    /// behaves otherwise.
    pub fn function(self, device: Box<dyn Device>, options: &Options) -> pci::Function {
        let queues = u16::try_from(device.queue_sizes().len()).unwrap_or(u16::MAX);
        let queues = queues.saturating_add(options.administration.queues());
        let vectors = options.vectors.unwrap_or(queues.saturating_add(1));
        let (messages, line) = (self.messages.clone(), self.line.clone());
        pci::Function::new(self.parts(device, options), vectors, messages, line)
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
        self.pci_function(name, move |ports| {
            Arc::new(ports.function(device, &options))
        })
    }

    /// Adds a device in an MMIO slot.
    pub fn mmio(self, name: &str, device: Box<dyn Device>, options: Options) -> Self {
        self.mmio_device(name, move |ports| Arc::new(ports.window(device, &options)))
    }

    /// Adds a PCI function of any kind: one that breaks the rules, for tests of drivers.
    pub fn pci_function(
        mut self,
        name: &str,
        make: impl FnOnce(Ports) -> Arc<dyn PciFunction> + 'static,
    ) -> Self {
        let plan = Plan::new(name, make);
        self.devices.push(Planned::Function(self.bridges, plan));
        self
    }

    /// Adds a device of any kind in an MMIO slot: one that breaks the rules, for tests of drivers.
    pub fn mmio_device(
        mut self,
        name: &str,
        make: impl FnOnce(Ports) -> Arc<dyn MmioDevice> + 'static,
    ) -> Self {
        self.devices.push(Planned::Window(Plan::new(name, make)));
        self
    }

    /// Builds it, and switches it on: firmware has found the PCI functions, devices wait for
    /// drivers.
    ///
    /// # Errors
    ///
    /// [`Error`]
    pub fn build(self) -> Result<Machine> {
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
            Run::Inline { .. } => None,
        };
        let slots = (0..slots).map(board::slot).collect();
        Ok(Machine::new(platform, board, dispatcher, devices, slots))
    }

    fn check_names(&self) -> Result<()> {
        let mut names: Vec<_> = self.devices.iter().map(Planned::name).collect();
        names.sort_unstable();
        let twice = names.array_windows().find(|[a, b]| a == b);
        match twice {
            Some([name, _]) => Err(Error::SameName((*name).to_owned())),
            None => Ok(()),
        }
    }
}

impl<D: ?Sized> Plan<D> {
    pub(crate) fn new(name: &str, make: impl FnOnce(Ports) -> Arc<D> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            make: Box::new(make),
        }
    }
}

impl Planned {
    fn name(&self) -> &str {
        match self {
            Self::Function(_, plan) => &plan.name,
            Self::Window(plan) => &plan.name,
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
        attached.push(match planned {
            Planned::Function(depth, plan) => {
                while windows.len() < depth {
                    let window = board.addresses.open(&windows);
                    windows.push(window.ok_or_else(no_addresses)?);
                }
                board.plug_function(population, depth, plan)?
            }
            Planned::Window(plan) => board.plug_window(population, plan)?,
        });
    }
    while windows.len() < bridges {
        let window = board.addresses.open(&windows);
        windows.push(window.ok_or_else(no_addresses)?);
    }
    let closed = board.addresses.close(&population.segment, &windows);
    closed.map(|()| attached).ok_or_else(no_addresses)
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
