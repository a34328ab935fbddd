//! Queues that are reset alone, over every transport and format, with requests in flight, while
//! another queue of the device goes on.
//!
//! Spec: VIRTIO 1.4 §2.6.1 "Virtqueue Reset".
#![cfg(test)]

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::{Device, Offer, Worker, mmio as device_mmio};
use ringway_driver::blk::Blk;
use ringway_driver::bringup::{Acknowledged, Live, RESET_LIMIT, Wanted};
use ringway_driver::bus::attach;
use ringway_driver::dma::{Data, DmaBuffer, Queue, QueueOptions};
use ringway_driver::error::{Error, Violation};
use ringway_driver::mmio::{self, Mmio};
use ringway_driver::pci;
use ringway_driver::platform::{Leak, Platform as _, Trust};
use ringway_driver::transport::Transport;
use ringway_machine::{Machine, MmioDevice, Options, Platform, Run};
use ringway_ring::device::{Batch, Chain, Violation as DriverViolation};
use ringway_spec::mmio::register;
use ringway_spec::{DeviceId, F, Features};

const LIMIT: Duration = Duration::from_secs(10);
/// The largest size of each queue.
const SIZE: u16 = 16;
const TRUSTS: [Trust; 3] = [Trust::Trusted, Trust::Pool, Trust::Revoked];
const FORMATS: [Features; 3] = [
    Features::NONE,
    F::RING_PACKED,
    Features(F::RING_PACKED.0 | F::IN_ORDER.0),
];

/// A device of two queues. Each buffer is filled with the queue's number, unless the queue is one
/// that keeps what it is given.
struct Two {
    keeps: Arc<Mutex<[bool; 2]>>,
}

struct Fill {
    index: u16,
    keeps: Arc<Mutex<[bool; 2]>>,
    kept: Vec<Chain>,
}

impl Device for Two {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[SIZE, SIZE]
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn write_config(&mut self, _: usize, _: &[u8]) {}

    fn worker(&mut self, index: u16, _: Features) -> Box<dyn Worker> {
        Box::new(Fill {
            index,
            keeps: Arc::clone(&self.keeps),
            kept: Vec::new(),
        })
    }

    fn reset(&mut self) {}
}

impl Worker for Fill {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), DriverViolation> {
        while let Some(chain) = batch.next_chain()? {
            if self.keeps.lock().unwrap()[usize::from(self.index)] {
                self.kept.push(chain);
                continue;
            }
            let len = chain.writable_bytes();
            let bytes = vec![self.index as u8 + 1; len as usize];
            let filled = batch.writable(&chain).write(&bytes);
            assert!(filled.is_ok());
            batch.complete(chain, len);
        }
        Ok(())
    }
}

type Requests = Queue<Platform, DmaBuffer>;

/// Both queues of the device, live.
fn start<T: Transport<Platform = Platform>>(transport: T) -> (Live<T>, [Requests; 2]) {
    let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
    let mut device = probed.negotiate(&Wanted::default()).unwrap();
    let options = QueueOptions::default();
    let queues = [0, 1].map(|index| device.queue(index, &options).unwrap());
    let (live, queues) = device.start(Vec::from(queues)).unwrap();
    let Ok(queues) = queues.try_into() else {
        panic!("two were started")
    };
    (live, queues)
}

fn ask(queue: &mut Requests, count: usize) {
    for _ in 0..count {
        let buffer = DmaBuffer::new(queue.platform(), 8).unwrap();
        queue.submit(&(), Data::Writable(buffer)).unwrap();
    }
    queue.kick().unwrap();
}

/// Waits for one buffer, and finds that it is full of `number`.
fn take(queue: &mut Requests, number: u8) {
    let buffer = queue.wait(LIMIT).unwrap().data.buffer().unwrap();
    let mut bytes = [0; 8];
    buffer.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [number; 8]);
}

/// Says which row of the table it was that failed, with its seed.
struct Row(String);

impl Drop for Row {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the row: {}", self.0);
        }
    }
}

/// Resets the first queue again and again, with requests in flight and at sizes that shrink and
/// grow, while the second has its own in flight.
fn resize_again_and_again<T: Transport<Platform = Platform>>(
    transport: T,
    keeps: &Mutex<[bool; 2]>,
    packed: bool,
) {
    let (mut live, [mut first, mut second]) = start(transport);
    let sizes = if packed {
        [4, 16, 3, 1, 13]
    } else {
        [4, 16, 2, 1, 8]
    };
    for size in sizes {
        // What the first queue is given it keeps, and so it is in flight for certain.
        *keeps.lock().unwrap() = [true, false];
        ask(&mut second, 3);
        let asked = usize::from(first.size());
        ask(&mut first, asked);
        take(&mut second, 2);

        let mut back = 0;
        first.resize(&mut live, size, |_| back += 1).unwrap();
        *keeps.lock().unwrap() = [false, false];

        assert_eq!((back, first.size(), first.in_flight()), (asked, size, 0));
        take(&mut second, 2);
        for _ in 0..3 {
            ask(&mut first, usize::from(size));
            for _ in 0..size {
                take(&mut first, 1);
            }
        }
        take(&mut second, 2);
        assert!(second.poll().unwrap().is_none());
        assert!(first.poll().unwrap().is_none());
        live.check().unwrap();
    }
}

/// Devices' defect 14: after its reset, nothing is done for the queue.
#[test]
fn a_queue_is_reset_and_resized_while_the_other_goes_on_over_every_transport_and_format() {
    let runs = [Run::Threaded].into_iter();
    for run in runs.chain((0..4).map(|seed| Run::Inline { seed })) {
        for (trust, format) in TRUSTS.iter().flat_map(|t| FORMATS.map(|f| (*t, f))) {
            for (way, vectors) in [
                ("pci", None),
                ("pci", Some(1)),
                ("pci", Some(0)),
                ("mmio", None),
            ] {
                let _row = Row(format!(
                    "{run:?}, {trust:?}, {format:?}, {way}, {vectors:?}"
                ));
                let keeps = Arc::default();
                let device = Box::new(Two {
                    keeps: Arc::clone(&keeps),
                });
                let options = Options {
                    offer: Offer::default().with(format),
                    vectors,
                    ..Options::default()
                };
                let builder = Machine::builder().run(run).trust(trust);
                let packed = format.contains(F::RING_PACKED);
                let machine = if way == "pci" {
                    builder.pci("two", device, options)
                } else {
                    builder.mmio("two", device, options)
                };
                let machine = machine.build().unwrap();
                let platform = machine.platform();

                if way == "pci" {
                    let found = pci::devices(&platform).next().unwrap().unwrap();
                    resize_again_and_again(found, &keeps, packed);
                } else {
                    resize_again_and_again(the_mmio_device(&machine), &keeps, packed);
                }

                assert_eq!((platform.ram_used(), platform.leak()), (0, Leak::default()));
            }
        }
    }
}

fn the_mmio_device(machine: &Machine) -> Mmio<Platform> {
    let slots = machine.mmio_slots().to_vec();
    let mut found = mmio::scan(machine.platform(), slots);
    found.next().expect("it is there").unwrap()
}

/// Requests that a disk is in the middle of: each comes back once, done or not, and what was
/// written is whole blocks.
#[test]
fn a_disk_that_is_busy_gives_every_buffer_back_once_and_its_queue_goes_on() {
    for run in [
        Run::Threaded,
        Run::Inline { seed: 1 },
        Run::Inline { seed: 2 },
    ] {
        for format in FORMATS {
            let _row = Row(format!("{run:?}, {format:?}"));
            let options = Options {
                offer: Offer::default().with(format),
                ..Options::default()
            };
            let disk = Box::new(BlkDevice::new(Arc::new(RamDisk::new(64)), 1));
            let machine = Machine::builder().run(run).mmio("disk", disk, options);
            let machine = machine.build().unwrap();
            let mut drive: Blk<_, Box<[u8]>> = attach(the_mmio_device(&machine)).unwrap();

            for size in [4, 64, 16] {
                let mut asked = BTreeSet::new();
                for number in 0..32_u8 {
                    let block = vec![number; 512].into_boxed_slice();
                    if drive.write(number.into(), block).is_ok() {
                        asked.insert(number);
                    }
                }
                drive.kick().unwrap();
                let mut back = |buffer: Box<[u8]>| {
                    let lent = asked.remove(&buffer[0]);
                    assert!(lent, "given back twice, or never lent");
                };
                // Some are done by now, perhaps.
                if let Some(done) = drive.poll().unwrap() {
                    back(done.buffer.unwrap());
                }

                drive.resize(size, back).unwrap();

                assert!(asked.is_empty(), "{asked:?}");
                drive.read(3, vec![0xff; 512].into()).unwrap();
                let done = drive.wait(LIMIT).unwrap();
                assert_eq!(done.result, Ok(()));
                let block = done.buffer.unwrap();
                assert!(block.iter().all(|byte| *byte == block[0]));
            }
        }
    }
}

/// A device in good order, but for its register for resets of queues.
struct Deaf {
    window: device_mmio::Window,
    /// What it does not hear, it says that it has done.
    lies: bool,
    deaf: Arc<AtomicBool>,
}

impl MmioDevice for Deaf {
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.window.read(offset, into);
        if !self.deaf.load(Ordering::SeqCst) {
            return;
        }
        match offset as usize {
            register::QUEUE_RESET => into[0] = u8::from(!self.lies),
            register::QUEUE_READY if self.lies => into[0] ^= 1,
            _ => {}
        }
    }

    fn write(&self, offset: u64, from: &[u8]) {
        let heard = offset as usize != register::QUEUE_RESET || !self.deaf.load(Ordering::SeqCst);
        if heard {
            self.window.write(offset, from);
        }
    }
}

fn deaf(
    run: Run,
    trust: Trust,
    lies: bool,
    keeps: Arc<Mutex<[bool; 2]>>,
) -> (Machine, Arc<AtomicBool>) {
    let deaf = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&deaf);
    let machine = Machine::builder()
        .run(run)
        .trust(trust)
        .mmio_device("deaf", move |ports| {
            let window = ports.window(Box::new(Two { keeps }), &Options::default());
            Arc::new(Deaf {
                window,
                lies,
                deaf: flag,
            })
        })
        .build()
        .unwrap();
    (machine, deaf)
}

/// The queue is lost until the device is reset, and nothing else is: the other goes on.
#[test]
fn a_device_that_never_confirms_a_queue_reset_keeps_that_queue_and_no_more() {
    for (run, trust) in [Run::Threaded, Run::Inline { seed: 3 }]
        .into_iter()
        .flat_map(|run| TRUSTS.map(|trust| (run, trust)))
    {
        let _row = Row(format!("{run:?}, {trust:?}"));
        let keeps = Arc::new(Mutex::new([true, false]));
        let (machine, deaf) = deaf(run, trust, false, keeps);
        let platform = machine.platform();
        let (mut live, [mut first, mut second]) = start(the_mmio_device(&machine));
        ask(&mut first, 3);
        deaf.store(true, Ordering::SeqCst);

        let (began, used) = (platform.now(), platform.ram_used());
        let reset = first.resize(&mut live, 4, |_| panic!("it is the device's"));
        let took = platform.now() - began;

        let violation = Violation::QueueResetNotConfirmed(0);
        assert_eq!(reset, Err(violation.into()));
        assert!(took >= RESET_LIMIT);
        assert_eq!(first.reclaim().err(), Some(Error::StillDriven));
        assert_eq!((first.in_flight(), platform.ram_used()), (3, used));
        ask(&mut second, 2);
        take(&mut second, 2);
        take(&mut second, 2);
        drop(first);
        assert_eq!(platform.ram_used(), used);
        drop((second, live));
        assert_eq!((platform.ram_used(), platform.leak()), (0, Leak::default()));
    }
}

/// It says that it let go, and serves the old ring as before, whatever is in its place by now. Of
/// the new one it never hears: requests time out, and nothing worse comes of it.
#[test]
fn a_device_that_confirms_a_queue_reset_and_goes_on_costs_a_time_out_and_no_memory() {
    for (run, trust) in [Run::Threaded, Run::Inline { seed: 4 }]
        .into_iter()
        .flat_map(|run| [Trust::Pool, Trust::Revoked].map(|trust| (run, trust)))
    {
        let _row = Row(format!("{run:?}, {trust:?}"));
        let keeps = Arc::new(Mutex::new([false, false]));
        let (machine, deaf) = deaf(run, trust, true, keeps);
        let platform = machine.platform();
        let (mut live, [mut first, second]) = start(the_mmio_device(&machine));
        ask(&mut first, 1);
        take(&mut first, 1);

        deaf.store(true, Ordering::SeqCst);
        first.reset(&mut live).unwrap();
        deaf.store(false, Ordering::SeqCst);
        first.restart(&mut live, SIZE).unwrap();
        ask(&mut first, 2);
        let waited = first.wait(Duration::from_millis(100)).err();

        assert_eq!((waited, first.in_flight()), (Some(Error::TimedOut), 2));
        drop((first, second, live));
        assert_eq!((platform.ram_used(), platform.leak()), (0, Leak::default()));
    }
}

/// That its queue is not enabled it says even when it is to be.
#[test]
fn a_device_that_refuses_the_new_ring_can_be_asked_again() {
    let keeps = Arc::new(Mutex::new([false, false]));
    let (machine, deaf) = deaf(Run::Threaded, Trust::Pool, true, keeps);
    let (mut live, [mut first, _second]) = start(the_mmio_device(&machine));
    deaf.store(true, Ordering::SeqCst);

    let refused = first.resize(&mut live, SIZE, drop);
    let asked = first.submit(&(), Data::None).map(drop);
    deaf.store(false, Ordering::SeqCst);
    first.resize(&mut live, SIZE, drop).unwrap();

    assert_eq!(refused, Err(Violation::QueueNotEnabled(0).into()));
    assert_eq!(asked.unwrap_err().why, Error::QueueReset);
    ask(&mut first, 2);
    take(&mut first, 1);
    take(&mut first, 1);
}
