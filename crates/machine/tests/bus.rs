//! A bus over real registers: devices that are pulled out, taken back and begun again while
//! somebody uses them.
#![cfg(test)]

mod odd;

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Wake;
use std::thread;

use ringway_device::entropy::{Entropy, Source};
use ringway_device::task::Runner;
use ringway_device::{Device, Offer, mmio as device_mmio, pci as device_pci};
use ringway_driver::bus::{AnyTransport, Bus, Id, Name, Parting, RECOVERIES_MAX, Sink};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, Violation};
use ringway_driver::platform::{Leak, Platform as _};
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, MmioDevice, Options, PciFunction, Platform, Ports, Run};
use ringway_spec::mmio::register;
use ringway_spec::{DeviceId, F};

use odd::{offended, silent};

const LIMIT: Duration = Duration::from_secs(30);

type Rngs = Rng<AnyTransport<Platform>, DmaBuffer>;

/// How a device is reached, and how it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    PciMessages,
    PciLine,
    Mmio,
}

const WAYS: [Way; 3] = [Way::PciMessages, Way::PciLine, Way::Mmio];

/// What a test may do to a device while it is driven.
#[derive(Clone, Default)]
struct Fate(Arc<Flags>);

#[derive(Default)]
struct Flags {
    /// It was pulled out.
    gone: AtomicBool,
    /// It says that it is not reset.
    stuck: AtomicBool,
    runner: Mutex<Option<Arc<dyn Runner>>>,
}

impl Fate {
    /// Pulls the device out: nothing answers any more, and no memory is reached.
    fn pull(&self) {
        self.0.gone.store(true, Ordering::SeqCst);
        if let Some(runner) = self.0.runner.lock().unwrap().take() {
            runner.stop(0);
        }
    }

    fn is_gone(&self) -> bool {
        self.0.gone.load(Ordering::SeqCst)
    }
}

struct Function(device_pci::Function, Fate);

impl PciFunction for Function {
    fn config_read(&self, offset: u16, into: &mut [u8]) {
        if self.1.is_gone() {
            return into.fill(0xff);
        }
        self.0.config_read(offset, into);
    }

    fn config_write(&self, offset: u16, from: &[u8]) {
        if !self.1.is_gone() {
            self.0.config_write(offset, from);
        }
    }

    fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.0.locate(address, len).filter(|_| !self.1.is_gone())
    }

    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        self.0.bar_read(bar, offset, into);
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        self.0.bar_write(bar, offset, from);
    }
}

struct Window(device_mmio::Window, Fate);

impl MmioDevice for Window {
    fn read(&self, offset: u64, into: &mut [u8]) {
        if self.1.is_gone() {
            return into.fill(0xff);
        }
        self.0.read(offset, into);
        if offset == register::STATUS as u64 && self.1.0.stuck.load(Ordering::SeqCst) {
            into[0] |= 4;
        }
    }

    fn write(&self, offset: u64, from: &[u8]) {
        if !self.1.is_gone() {
            self.0.write(offset, from);
        }
    }
}

/// Gives the same byte always.
struct Sevens;

impl Source for Sevens {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(7);
        Ok(())
    }
}

fn honest() -> Box<dyn Device> {
    Box::new(Entropy::new(Sevens))
}

fn machine(way: Way, run: Run, device: fn() -> Box<dyn Device>) -> (Machine, Fate) {
    machine_with(way, run, device, Offer::default())
}

fn machine_with(
    way: Way,
    run: Run,
    device: fn() -> Box<dyn Device>,
    offer: Offer,
) -> (Machine, Fate) {
    let fate = Fate::default();
    let its = fate.clone();
    let known = move |ports: &Ports| {
        *its.0.runner.lock().unwrap() = Some(Arc::clone(&ports.runner));
        its
    };
    let options = Options {
        vectors: (way == Way::PciLine).then_some(0),
        ..Options::default()
    };
    let options = Options { offer, ..options };
    let builder = Machine::builder().run(run);
    let builder = match way {
        Way::Mmio => builder.mmio_device("source", move |ports| {
            let fate = known(&ports);
            Arc::new(Window(ports.window(device(), &options), fate))
        }),
        Way::PciMessages | Way::PciLine => builder.pci_function("source", move |ports| {
            let fate = known(&ports);
            Arc::new(Function(ports.function(device(), &options).unwrap(), fate))
        }),
    };
    (builder.build().unwrap(), fate)
}

/// All devices of a machine.
fn devices(machine: &Machine) -> Vec<AnyTransport<Platform>> {
    let platform = machine.platform();
    let functions =
        pci::devices(&platform).map(|device| -> AnyTransport<_> { Box::new(device.unwrap()) });
    let slots = machine.mmio_slots().to_vec();
    let windows = mmio::scan(machine.platform(), slots)
        .map(|device| -> AnyTransport<_> { Box::new(device.unwrap()) });
    functions.chain(windows).collect()
}

/// An operating system, which sends what it is given to whoever uses it.
struct System {
    sources: Mutex<mpsc::Sender<Rngs>>,
    removed: Mutex<Vec<Parting>>,
}

impl Sink<Platform, Rngs> for System {
    fn added(&self, _: Name, device: Rngs) {
        // Nobody takes it: it is dropped.
        let _ = self.sources.lock().unwrap().send(device);
    }

    fn removed(&self, _: Name, why: Parting) {
        self.removed.lock().unwrap().push(why);
    }
}

const SOURCE: Name = Name::new(0);

/// A bus with all devices of a machine, what comes of it, and what it is told.
fn bus(machine: &Machine) -> (Bus<Platform>, mpsc::Receiver<Rngs>, Arc<System>) {
    let (sources, receiver) = mpsc::channel();
    let system = Arc::new(System {
        sources: Mutex::new(sources),
        removed: Mutex::default(),
    });
    let mut bus = Bus::new();
    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Rngs, _>("entropy", &ids, Arc::clone(&system))
        .unwrap();
    for device in devices(machine) {
        bus.add(device);
    }
    (bus, receiver, system)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn buffer(platform: &Platform) -> DmaBuffer {
    DmaBuffer::new(platform, 64).unwrap()
}

/// Takes back all that was in flight.
fn reclaim(source: &mut Rngs) -> usize {
    core::iter::from_fn(|| source.reclaim().unwrap()).count()
}

/// Whatever the moment: what was in flight comes home, and nothing is left of the device.
#[test]
fn a_device_that_is_pulled_out_under_load_gives_every_buffer_back() {
    for way in WAYS {
        for seed in 0..24 {
            let (machine, fate) = machine(way, Run::Inline { seed }, honest);
            let platform = machine.platform();
            let used = platform.ram_used();
            let (mut bus, sources, system) = bus(&machine);
            let mut source = sources.recv().unwrap();
            let (mut given, mut back) = (0, 0);
            for _ in 0..seed {
                given += usize::from(source.request(buffer(&platform)).is_ok());
                back += usize::from(source.poll().unwrap().is_some());
            }

            fate.pull();
            // Between the two, the driver finds that nobody answers, or nothing.
            let unanswered = source.request(buffer(&platform)).is_ok();
            given += usize::from(unanswered);
            while let Ok(Some(_)) = source.poll() {
                back += 1;
            }
            bus.removed(SOURCE).unwrap();

            let refused = source.request(buffer(&platform)).unwrap_err().why;
            while source.poll().is_ok() {
                back += 1;
            }
            let reclaimed = reclaim(&mut source);
            assert_eq!(refused, Error::Gone);
            assert_eq!(source.wait(LIMIT).err(), Some(Error::Gone));
            assert_eq!(back + reclaimed, given, "{way:?}, {seed}");
            assert_eq!(*system.removed.lock().unwrap(), [Parting::Removed]);
            assert!(bus.tree().devices.is_empty());
            drop(source);
            assert_eq!(platform.leak(), Leak::default());
            assert_eq!(platform.ram_used(), used, "{way:?}, {seed}");
        }
    }
}

/// A future is woken, and finds why.
#[test]
fn whoever_awaits_a_device_that_goes_is_woken() {
    for way in WAYS {
        for take in [
            |bus: &mut Bus<Platform>| bus.removed(SOURCE),
            |bus: &mut Bus<Platform>| bus.unbind(SOURCE),
        ] {
            let (machine, _) = machine(way, Run::Inline { seed: 3 }, silent);
            let (mut bus, sources, _) = bus(&machine);
            let mut source = sources.recv().unwrap();
            source.request(buffer(&machine.platform())).unwrap();
            let woken = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            assert!(source.poll_next(&mut cx).is_pending());
            let before = woken.0.load(Ordering::SeqCst);

            take(&mut bus).unwrap();

            assert!(woken.0.load(Ordering::SeqCst) > before, "{way:?}");
            let polled = source.poll_next(&mut cx);
            assert!(matches!(polled, Poll::Ready(Err(Error::Gone))), "{way:?}");
            assert_eq!(reclaim(&mut source), 1);
        }
    }
}

#[test]
fn whoever_waits_for_a_device_that_goes_is_woken() {
    for way in WAYS {
        let (machine, fate) = machine(way, Run::Threaded, silent);
        let (mut bus, sources, _) = bus(&machine);
        let mut source = sources.recv().unwrap();
        source.request(buffer(&machine.platform())).unwrap();
        let began = machine.platform().now();
        let waiter = thread::spawn(move || (source.wait(LIMIT).err(), reclaim(&mut source)));

        fate.pull();
        bus.removed(SOURCE).unwrap();

        assert_eq!(waiter.join().unwrap(), (Some(Error::Gone), 1), "{way:?}");
        assert!(machine.platform().now() - began < LIMIT);
        assert_eq!(machine.platform().leak(), Leak::default());
    }
}

/// The bus takes the device back again and again; whoever uses it never stops to ask.
#[test]
fn a_device_is_taken_back_and_bound_again_while_another_thread_submits() {
    const ROUNDS: usize = 30;
    for way in WAYS {
        let (machine, fate) = machine(way, Run::Threaded, honest);
        let platform = machine.platform();
        let used = platform.ram_used();
        let (mut bus, sources, system) = bus(&machine);
        let (done, round) = mpsc::channel();
        let user = {
            let platform = platform.clone();
            thread::spawn(move || {
                let mut filled = 0;
                for mut source in sources {
                    let (mut given, mut back) = (0, 0);
                    let why = loop {
                        match source.request(buffer(&platform)) {
                            Ok(_) => given += 1,
                            Err(rejected) if rejected.why == Error::QueueFull => {}
                            Err(rejected) => break rejected.why,
                        }
                        match source.poll() {
                            Ok(None) => {}
                            Ok(Some(_)) => {
                                back += 1;
                                // There was something to take back: let it be.
                                if back == 8 {
                                    let _ = done.send(());
                                }
                            }
                            Err(why) => break why,
                        }
                    };
                    while let Ok(Some(_)) = source.poll() {
                        back += 1;
                    }
                    assert_eq!(why, Error::Gone);
                    assert_eq!(back + reclaim(&mut source), given);
                    filled += back;
                }
                filled
            })
        };

        for _ in 0..ROUNDS {
            round.recv_timeout(LIMIT).unwrap();
            bus.rebind(SOURCE).unwrap();
        }
        round.recv_timeout(LIMIT).unwrap();
        fate.pull();
        bus.removed(SOURCE).unwrap();
        drop(bus);
        let removed = system.removed.lock().unwrap().len();
        drop(system);

        assert!(user.join().unwrap() >= 8 * ROUNDS, "{way:?}");
        assert_eq!(removed, ROUNDS + 1);
        assert_eq!(platform.leak(), Leak::default());
        assert_eq!(platform.ram_used(), used, "{way:?}");
    }
}

/// Drivers' defect 18, by a device that would have it for ever.
#[test]
fn a_device_that_needs_a_reset_again_and_again_is_given_up() {
    for way in WAYS {
        for seed in 0..4 {
            let (machine, _) = machine(way, Run::Inline { seed }, offended);
            let platform = machine.platform();
            let (mut bus, sources, system) = bus(&machine);
            let mut handles = Vec::new();
            // Far more rounds than the device is given.
            for _ in 0..1000 {
                handles.extend(sources.try_iter());
                if let Some(source) = handles.last_mut() {
                    let _ = source.request(buffer(&platform));
                    let _ = source.kick();
                }
                bus.run_pending();
                platform.step();
            }

            let node = bus.tree().devices.remove(0);
            assert_eq!(node.driver, None, "{way:?}, {seed}");
            assert_eq!(node.error, Some(Error::NeedsReset));
            let expected = [Parting::NeedsReset; RECOVERIES_MAX as usize + 1];
            assert_eq!(*system.removed.lock().unwrap(), expected);
            assert_eq!(handles.len(), expected.len());
            for source in &mut handles {
                assert!(reclaim(source) != 0);
            }
            assert_eq!(platform.leak(), Leak::default());
        }
    }
}

/// Custody, through the bus: it may still use what it was told of, and that is counted once.
#[test]
fn a_device_that_refuses_to_confirm_its_reset_when_it_is_unbound_keeps_its_memory() {
    for run in [Run::Threaded, Run::Inline { seed: 5 }] {
        let (machine, fate) = machine(Way::Mmio, run, silent);
        let platform = machine.platform();
        let (mut bus, sources, _) = bus(&machine);
        let mut source = sources.recv().unwrap();
        source.request(buffer(&platform)).unwrap();
        let used = platform.ram_used();
        fate.0.stuck.store(true, Ordering::SeqCst);

        let unbound = bus.unbind(SOURCE);
        let reclaimed = source.reclaim().err();
        drop(source);
        let removed = bus.remove(SOURCE).map(drop);

        let error: Error = Violation::ResetNotConfirmed.into();
        assert_eq!((unbound, reclaimed), (Err(error), Some(error)));
        assert_eq!(removed, Ok(()), "no driver has it");
        let kept = Leak {
            queues: 1,
            buffers: 1,
        };
        assert_eq!((platform.leak(), platform.ram_used()), (kept, used));
    }
}

/// An operating system that completes what is in flight before its device is taken back.
#[derive(Default)]
struct Careful {
    source: Mutex<Option<Rngs>>,
    completed: AtomicUsize,
    resumed: AtomicUsize,
}

impl Sink<Platform, Rngs> for Careful {
    fn added(&self, _: Name, device: Rngs) {
        *self.source.lock().unwrap() = Some(device);
    }

    fn leaving(&self, _: Name, _: Parting) {
        if let Some(source) = self.source.lock().unwrap().as_mut() {
            let count = |_| {
                self.completed.fetch_add(1, Ordering::SeqCst);
            };
            source.drain(LIMIT, count).unwrap();
        }
    }

    fn resumed(&self, _: Name) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
    }

    fn removed(&self, _: Name, _: Parting) {
        let source = self.source.lock().unwrap().take();
        assert_eq!(reclaim(&mut source.unwrap()), 0);
    }
}

/// Freeze and restore, with requests completed first: by the status where the device can, by a reset
/// where not.
#[test]
fn what_is_in_flight_is_completed_before_a_device_sleeps() {
    let runs = (0..8).map(|seed| Run::Inline { seed });
    for run in runs.chain([Run::Threaded]) {
        for way in WAYS {
            for offer in [Offer::default(), Offer::default().with(F::SUSPEND)] {
                sleep_and_wake(way, run, offer);
            }
        }
    }
}

fn sleep_and_wake(way: Way, run: Run, offer: Offer) {
    const NIGHTS: usize = 3;
    let (machine, _) = machine_with(way, run, honest, offer);
    let platform = machine.platform();
    let system = Arc::<Careful>::default();
    let mut bus = Bus::new();
    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Rngs, _>("entropy", &ids, Arc::clone(&system))
        .unwrap();
    for device in devices(&machine) {
        bus.add(device);
    }
    let ask = || {
        let mut source = system.source.lock().unwrap();
        let source = source.as_mut().unwrap();
        let requests = (0..100).take_while(|_| source.request(buffer(&platform)).is_ok());
        requests.count()
    };
    let completed = || system.completed.load(Ordering::SeqCst);

    let mut asked = 0;
    for _ in 0..NIGHTS {
        asked += ask();
        bus.suspend_all().unwrap();
        assert_eq!(completed(), asked, "{way:?}, {run:?}");
        bus.resume_all().unwrap();
    }
    let agreed = bus.tree().devices[0].features.contains(F::SUSPEND);
    asked += ask();
    bus.unbind(SOURCE).unwrap();

    assert_eq!(completed(), asked, "{way:?}, {run:?}");
    let in_hand = if agreed { NIGHTS } else { 0 };
    assert_eq!(system.resumed.load(Ordering::SeqCst), in_hand);
    assert_eq!(platform.leak(), Leak::default());
}
