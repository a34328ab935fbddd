//! Putting a machine together.

use std::sync::Arc;
use std::thread;

use ringway_device::interrupt::{Line, MessageSink};
use ringway_device::task::{Memory, Runner};
use ringway_device::{Device, Interface, Offer, Parts, mmio, pci};
use ringway_driver::interrupt::Handler;
use ringway_driver::mmio::Slot;
use ringway_driver::pci::Address;
use ringway_driver::platform::Trust;
use ringway_spec::F;

use crate::bus::{Bus, MmioDevice, PciFunction, Population};
use crate::counters::Counters;
use crate::engine::{Engine, Port, Run};
use crate::error::{Error, Result};
use crate::interrupts::{Controller, Wires};
use crate::iommu::Iommu;
use crate::layout::{MMIO_BASE, MMIO_LINE, MMIO_SLOTS_MAX, PCI_LINE, PCI_LINES};
use crate::machine::{Attached, Machine, Place};
use crate::platform::{self, Leaked, Platform};
use crate::ram;
use crate::segment::{self, FIRST_DEVICE, FUNCTIONS_MAX, Firmware, Segment};

/// A machine that is not built yet. Devices keep the order in which they are added.
#[must_use = "nothing is built before `build`"]
pub struct Builder {
    ram: usize,
    trust: Trust,
    run: Run,
    vectors: u16,
    slots: usize,
    functions: Vec<Plan<dyn PciFunction>>,
    windows: Vec<Plan<dyn MmioDevice>>,
    /// How many devices there are, of both kinds.
    devices: usize,
}

/// A device to be made, once what it is to be connected to is there.
struct Plan<D: ?Sized> {
    name: String,
    /// Its place in the order of all devices.
    number: usize,
    make: Box<dyn FnOnce(Ports) -> Arc<D>>,
}

/// How a device is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The features of rings and transports that it offers. With [`Trust::Revoked`],
    /// `ACCESS_PLATFORM` is added.
    pub offer: Offer,
    /// Which drivers it is for.
    pub interface: Interface,
    /// On PCI: how many MSI-X vectors it has; 0 for none, so that it has its line only. `None` is
    /// one for each queue and one more.
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
    trust: Trust,
}

impl Ports {
    /// Presents `device` as a PCI function, as [`Builder::pci`] does: to be put into something that
    /// behaves otherwise.
    pub fn function(self, device: Box<dyn Device>, options: &Options) -> pci::Function {
        let queues = u16::try_from(device.queue_sizes().len()).unwrap_or(u16::MAX);
        let vectors = options.vectors.unwrap_or(queues.saturating_add(1));
        let (messages, line) = (self.messages.clone(), self.line.clone());
        pci::Function::new(self.parts(device, options), vectors, messages, line)
    }

    /// Presents `device` as an MMIO window, as [`Builder::mmio`] does.
    pub fn window(self, device: Box<dyn Device>, options: &Options) -> mmio::Window {
        let line = self.line.clone();
        mmio::Window::new(self.parts(device, options), line)
    }

    fn parts(self, device: Box<dyn Device>, options: &Options) -> Parts {
        let offer = match self.trust {
            Trust::Revoked => options.offer.with(F::ACCESS_PLATFORM),
            Trust::Trusted | Trust::Pool => options.offer,
        };
        Parts {
            device,
            offer,
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
            functions: Vec::new(),
            windows: Vec::new(),
            devices: 0,
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
        let plan = Plan::new(name, self.devices, Box::new(make));
        self.functions.push(plan);
        self.devices += 1;
        self
    }

    /// Adds a device of any kind in an MMIO slot: one that breaks the rules, for tests of drivers.
    pub fn mmio_device(
        mut self,
        name: &str,
        make: impl FnOnce(Ports) -> Arc<dyn MmioDevice> + 'static,
    ) -> Self {
        let plan = Plan::new(name, self.devices, Box::new(make));
        self.windows.push(plan);
        self.devices += 1;
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
        let slots = self.slots.max(self.windows.len() + 1);
        check(slots, MMIO_SLOTS_MAX)?;
        check(self.functions.len(), FUNCTIONS_MAX)?;

        let ram = ram::new(self.ram).ok_or(Error::Ram(self.ram))?;
        // Cannot fail: it is one region, not empty, and far from the last address.
        let iommu = Iommu::new(ram::region(&ram)).map_err(|_| Error::Ram(self.ram))?;
        let pci_lines = PCI_LINE..PCI_LINE + PCI_LINES;
        let lines = pci_lines.chain((0..slots).map(mmio_line));
        let controller = Arc::new(Controller::new(self.vectors, lines));
        let engine = Engine::new(self.run, Arc::clone(&controller));
        let board = Board {
            trust: self.trust,
            iommu: Arc::new(iommu),
            controller,
            engine: Arc::new(engine),
        };

        let mut attached = Vec::new();
        let functions = board.plug_functions(self.functions, &mut attached)?;
        let windows = board.plug_windows(self.windows, slots, &mut attached);
        attached.sort_by_key(|(number, _)| *number);
        let platform = Platform::new(platform::Parts {
            trust: board.trust,
            ram,
            iommu: board.iommu,
            bus: Bus::new(Population {
                segment: Segment::new(functions),
                slots: windows,
            }),
            controller: Arc::clone(&board.controller),
            engine: board.engine,
            leaked: Leaked::default(),
        });
        let dispatcher = match self.run {
            Run::Threaded => Some(dispatcher(board.controller)?),
            Run::Inline { .. } => None,
        };
        let devices = attached.into_iter().map(|(_, attached)| attached).collect();
        let slots = (0..slots).map(slot).collect();
        Ok(Machine::new(platform, dispatcher, devices, slots))
    }

    fn check_names(&self) -> Result<()> {
        let functions = self.functions.iter().map(|plan| &plan.name);
        let windows = self.windows.iter().map(|plan| &plan.name);
        let mut names: Vec<_> = functions.chain(windows).collect();
        names.sort_unstable();
        let twice = names.array_windows().find(|[a, b]| a == b);
        match twice {
            Some([name, _]) => Err(Error::SameName((*name).clone())),
            None => Ok(()),
        }
    }
}

impl<D: ?Sized> Plan<D> {
    fn new(name: &str, number: usize, make: Box<dyn FnOnce(Ports) -> Arc<D>>) -> Self {
        Self {
            name: name.to_owned(),
            number,
            make,
        }
    }
}

/// What devices are plugged into.
struct Board {
    trust: Trust,
    iommu: Arc<Iommu>,
    controller: Arc<Controller<Handler<Platform>>>,
    engine: Arc<Engine<Handler<Platform>>>,
}

impl Board {
    fn plug_functions(
        &self,
        plans: Vec<Plan<dyn PciFunction>>,
        attached: &mut Vec<(usize, Attached)>,
    ) -> Result<Vec<Arc<dyn PciFunction>>> {
        let mut firmware = Firmware::new();
        let mut functions = Vec::new();
        for (device, plan) in (FIRST_DEVICE..).zip(plans) {
            let counters = Arc::default();
            let ports = self.ports(plan.number, segment::line(device), &counters);
            let function = (plan.make)(ports);
            let placed = firmware.configure(&*function, device);
            let Some(()) = placed else {
                return Err(Error::NoAddresses(plan.name));
            };
            functions.push(function);
            let place = Place::Pci(Address::new(0, device, 0));
            attached.push((plan.number, Attached::new(plan.name, place, counters)));
        }
        Ok(functions)
    }

    fn plug_windows(
        &self,
        plans: Vec<Plan<dyn MmioDevice>>,
        slots: usize,
        attached: &mut Vec<(usize, Attached)>,
    ) -> Vec<Arc<dyn MmioDevice>> {
        let mut windows: Vec<Arc<dyn MmioDevice>> = vec![Arc::new(mmio::Empty)];
        for plan in plans {
            let slot = slot(windows.len());
            let counters = Arc::default();
            let ports = self.ports(plan.number, mmio_line(windows.len()), &counters);
            windows.push((plan.make)(ports));
            let place = Place::Mmio(slot);
            attached.push((plan.number, Attached::new(plan.name, place, counters)));
        }
        windows.resize_with(slots, || Arc::new(mmio::Empty));
        windows
    }

    fn ports(&self, number: usize, line: u32, counters: &Arc<Counters>) -> Ports {
        let wires = Arc::new(Wires::new(
            Arc::clone(&self.controller),
            number,
            line,
            Arc::clone(counters),
        ));
        Ports {
            memory: Arc::clone(&self.iommu) as Arc<dyn Memory>,
            runner: Arc::new(Port::new(
                Arc::clone(&self.engine),
                number,
                Arc::clone(counters),
            )),
            messages: Arc::clone(&wires) as Arc<dyn MessageSink>,
            line: wires,
            trust: self.trust,
        }
    }
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

/// Slot `number`.
fn slot(number: usize) -> Slot {
    Slot {
        address: MMIO_BASE + number as u64 * mmio::WINDOW_BYTES,
        len: mmio::WINDOW_BYTES,
        line: Some(mmio_line(number)),
    }
}

/// The line of slot `number`, which is below [`MMIO_SLOTS_MAX`].
fn mmio_line(number: usize) -> u32 {
    MMIO_LINE + number as u32
}
