//! Drivers on devices that break the rules, behind real registers.
#![cfg(test)]

mod odd;

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::{Device, mmio as device_mmio};
use ringway_driver::blk::Blk;
use ringway_driver::bringup::RESET_LIMIT;
use ringway_driver::bus::attach;
use ringway_driver::dma::{Data, DmaBuffer};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, TransportError, Violation};
use ringway_driver::mmio::{self, Mmio};
use ringway_driver::pci::{self, Pci};
use ringway_driver::platform::{Leak, Platform as _, Trust};
use ringway_driver::transport::Transport;
use ringway_machine::{Machine, MmioDevice, Options, Platform, Run};
use ringway_spec::mmio::register;

use odd::{offended, silent};

const RUNS: [Run; 3] = [
    Run::Threaded,
    Run::Inline { seed: 1 },
    Run::Inline { seed: 2 },
];
const LIMIT: Duration = Duration::from_secs(10);

type Entropy<T> = Rng<T, DmaBuffer>;

fn disk() -> Box<dyn Device> {
    Box::new(BlkDevice::new(Arc::new(RamDisk::new(64)), 1))
}

fn the_mmio_device(machine: &Machine) -> Mmio<Platform> {
    let slots = machine.mmio_slots().to_vec();
    mmio::scan(machine.platform(), slots)
        .next()
        .expect("it is there")
        .unwrap()
}

fn the_pci_device(machine: &Machine) -> Pci<Platform> {
    pci::devices(&machine.platform())
        .next()
        .expect("it is there")
        .unwrap()
}

/// A device in good order, but for what is read from one of its registers.
struct Lying {
    window: device_mmio::Window,
    lie: fn(&Self, u64, &mut [u8]),
    on: Arc<AtomicBool>,
    count: AtomicU8,
}

impl MmioDevice for Lying {
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.window.read(offset, into);
        if self.on.load(Ordering::SeqCst) {
            (self.lie)(self, offset, into);
        }
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.window.write(offset, from);
    }
}

/// A machine whose only device lies, once the flag is set.
fn lying(
    run: Run,
    device: fn() -> Box<dyn Device>,
    lie: fn(&Lying, u64, &mut [u8]),
) -> (Machine, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&on);
    let machine = Machine::builder()
        .run(run)
        .mmio_device("liar", move |ports| {
            let window = ports.window(device(), &Options::default());
            Arc::new(Lying {
                window,
                lie,
                on: flag,
                count: AtomicU8::new(0),
            })
        })
        .build()
        .unwrap();
    (machine, on)
}

/// Queues and buffers of a device that never says that it let go are nobody's any more; and they
/// are counted.
#[test]
fn a_device_that_refuses_to_confirm_its_reset_keeps_its_memory_and_no_more() {
    for run in RUNS {
        let (machine, lies) = lying(run, disk, |_, offset, into| {
            if offset == register::STATUS as u64 {
                into[0] |= 4;
            }
        });
        let platform = machine.platform();
        let mut drive: Blk<_, DmaBuffer> = attach(the_mmio_device(&machine)).unwrap();
        drive
            .read(0, DmaBuffer::new(&platform, 512).unwrap())
            .unwrap();
        let kept = DmaBuffer::new(&platform, 512).unwrap();
        lies.store(true, Ordering::SeqCst);

        let before = (platform.now(), platform.ram_used());
        let (reset, mut queue) = drive.reset();

        assert_eq!(reset.err(), Some(Violation::ResetNotConfirmed.into()));
        assert!(platform.now() - before.0 >= RESET_LIMIT);
        assert_eq!(
            queue.reclaim().err(),
            Some(Violation::ResetNotConfirmed.into())
        );
        drop(queue);
        assert_eq!(platform.ram_used(), before.1);
        assert_eq!(
            platform.leak(),
            Leak {
                queues: 1,
                buffers: 1
            }
        );
        drop(kept);
        assert!(
            platform.ram_used() < before.1,
            "what the device was not told of is free"
        );
    }
}

/// Drivers' defect 11: §2.5.1: not for ever.
#[test]
fn a_configuration_that_changes_at_every_look_is_an_error_and_no_hang() {
    for run in RUNS {
        let (machine, lies) = lying(run, disk, |this, offset, into| {
            if offset == register::CONFIG_GENERATION as u64 {
                into[0] = this.count.fetch_add(1, Ordering::SeqCst);
            }
        });
        lies.store(true, Ordering::SeqCst);

        let attached = attach::<Blk<_, DmaBuffer>, _>(the_mmio_device(&machine)).err();

        assert_eq!(attached, Some(Violation::ConfigUnstable.into()));
        assert_eq!(machine.platform().leak(), Leak::default());
    }
}

/// A device that was pulled out reads as all ones.
#[test]
fn a_device_that_is_gone_with_requests_in_flight_is_an_error_and_keeps_its_memory() {
    for run in RUNS {
        let (machine, gone) = lying(run, silent, |_, _, into| into.fill(0xff));
        let platform = machine.platform();
        let mut rng: Entropy<_> = attach(the_mmio_device(&machine)).unwrap();
        rng.request(DmaBuffer::new(&platform, 64).unwrap()).unwrap();
        gone.store(true, Ordering::SeqCst);

        let waited = rng.wait(Duration::from_millis(100)).err();
        let status = rng.device().status().err();
        let (reset, queue) = rng.reset();
        drop(queue);

        assert_eq!(waited, Some(Error::TimedOut));
        assert_eq!(status, Some(TransportError::Absent.into()));
        assert!(reset.is_err());
        assert_eq!(
            platform.leak(),
            Leak {
                queues: 1,
                buffers: 1
            }
        );
    }
}

/// Drivers' defect 18: `DEVICE_NEEDS_RESET`, by every way of interrupting: the one who waits is
/// told, gets the buffers back, and can begin again.
#[test]
fn a_device_that_needs_a_reset_tells_whoever_waits_and_can_be_begun_again() {
    fn recover<T: Transport<Platform = Platform>>(platform: &Platform, transport: T) {
        let mut rng: Entropy<T> = attach(transport).unwrap();
        rng.request(DmaBuffer::new(platform, 64).unwrap()).unwrap();

        let waited = rng.wait(LIMIT).err();
        let (reset, mut queue) = rng.reset();

        assert_eq!(waited, Some(Error::NeedsReset));
        assert_eq!(
            queue
                .reclaim()
                .unwrap()
                .and_then(Data::buffer)
                .map(|buffer| buffer.len()),
            Some(64)
        );
        assert!(queue.reclaim().unwrap().is_none());
        let again: Entropy<T> = attach(reset.unwrap()).unwrap();
        assert_eq!(again.in_flight(), 0);
    }
    for run in RUNS {
        for vectors in [None, Some(1), Some(0)] {
            let options = Options {
                vectors,
                ..Options::default()
            };
            let machine = Machine::builder()
                .run(run)
                .pci("rng", offended(), options)
                .build()
                .unwrap();
            recover(&machine.platform(), the_pci_device(&machine));
        }
        let options = Options::default();
        let machine = Machine::builder()
            .run(run)
            .mmio("rng", offended(), options)
            .build()
            .unwrap();
        recover(&machine.platform(), the_mmio_device(&machine));
    }
}

/// A device that never answers costs a time-out; the request stays in flight, and comes home with
/// the reset.
#[test]
fn a_device_that_never_answers_costs_a_time_out_and_no_memory() {
    for trust in [Trust::Trusted, Trust::Pool, Trust::Revoked] {
        let machine = Machine::builder()
            .trust(trust)
            .pci("rng", silent(), Options::default())
            .build()
            .unwrap();
        let platform = machine.platform();
        let used = platform.ram_used();
        let mut rng: Entropy<_> = attach(the_pci_device(&machine)).unwrap();
        rng.request(DmaBuffer::new(&platform, 64).unwrap()).unwrap();

        let waited = rng.wait(Duration::from_millis(50)).err();

        assert_eq!((waited, rng.in_flight()), (Some(Error::TimedOut), 1));
        drop(rng);
        assert_eq!(
            (platform.ram_used(), platform.leak()),
            (used, Leak::default())
        );
    }
}
