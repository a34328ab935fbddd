//! Our PCI transport on a function that lies: in its configuration space, with its capabilities and
//! BARs, and in its registers. What the driver gave it comes back, or is counted as kept for ever.

use core::ops::Range;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringway_device::Device;
use ringway_device::entropy::{Entropy, Source};
use ringway_device::pci::Function;
use ringway_driver::bus::attach;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::Rng;
use ringway_driver::pci::{self, Apertures, Placed, Preference};
use ringway_machine::{Options, PciFunction};

use crate::input::Input;
use crate::registers::machine;

/// Most accesses of a run. A reset that is never confirmed takes the most.
const ACCESSES_MAX: usize = 1_000_000;
/// Most functions of a bus that is looked through.
const FUNCTIONS_MAX: usize = 256;
/// Where BARs are that a liar says have no address.
const APERTURE: Range<u64> = 0xe000_0000..0xf000_0000;
const HIGH_APERTURE: Range<u64> = 0x40_0000_0000..0x41_0000_0000;
/// How many virtual functions the liar has.
const VIRTUALS: u16 = 2;
const REQUESTS: usize = 3;
const BUFFER_BYTES: usize = 64;
const LIMIT: Duration = Duration::from_millis(10);

/// One byte that is not what it ought to be, after so many accesses.
#[derive(Clone, Copy)]
struct Lie {
    at: u64,
    byte: u8,
    after: usize,
}

/// A device in good order, but for what is read from it.
struct Liar {
    function: Function,
    configuration: Vec<Lie>,
    registers: Vec<Lie>,
    on: Arc<AtomicBool>,
    accesses: Arc<AtomicUsize>,
}

impl Liar {
    fn lie(&self, lies: &[Lie], first: u64, into: &mut [u8]) {
        let count = self.accesses.fetch_add(1, Ordering::Relaxed);
        assert!(count < ACCESSES_MAX, "the driver does not give up");
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        for lie in lies.iter().filter(|lie| lie.after <= count) {
            let at = lie.at.checked_sub(first).map(|at| at as usize);
            if let Some(byte) = at.and_then(|at| into.get_mut(at)) {
                *byte = lie.byte;
            }
        }
    }
}

impl PciFunction for Liar {
    fn config_read(&self, offset: u16, into: &mut [u8]) {
        self.function.config_read(offset, into);
        self.lie(&self.configuration, offset.into(), into);
    }

    fn config_write(&self, offset: u16, from: &[u8]) {
        self.function.config_write(offset, from);
    }

    fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.function.locate(address, len)
    }

    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        self.function.bar_read(bar, offset, into);
        self.lie(&self.registers, offset, into);
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        self.function.bar_write(bar, offset, from);
    }

    fn virtual_function(&self, number: u16) -> Option<(u16, &dyn PciFunction)> {
        let (distance, function) = self.function.virtual_function(number)?;
        Some((distance, function))
    }
}

/// Every byte the same.
struct Same;

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(0xa5);
        Ok(())
    }
}

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (seed, choices) = (input.u8(), input.u8());
    let from_power_on = choices & 1 != 0;
    let preference = match choices & 2 {
        0 => Preference::ModernFirst,
        _ => Preference::LegacyFirst,
    };
    let (mut configuration, mut registers) = (Vec::new(), Vec::new());
    while let Some(step) = input.step() {
        let (at, byte, after) = (input.u16(), input.u8(), usize::from(input.u8()) * 4);
        // The capabilities are where the lies are best; and registers stand in the first bytes of
        // their pages.
        let (lies, at) = match step % 4 {
            0 if step & 0x40 != 0 => (&mut configuration, 0x100 + (at & 0x3f)),
            0 | 1 => (&mut configuration, at & 0xff),
            2 => (&mut registers, at & 0x3f),
            _ => (&mut registers, at & 0x3fff),
        };
        lies.push(Lie {
            at: at.into(),
            byte,
            after: if step & 0x80 == 0 { 0 } else { after },
        });
    }
    let honest = configuration.is_empty() && registers.is_empty();
    let on = Arc::new(AtomicBool::new(from_power_on));
    let accesses = Arc::new(AtomicUsize::new(0));
    let (flag, counter) = (Arc::clone(&on), Arc::clone(&accesses));
    let built = machine(seed)
        .pci_function_with("liar", VIRTUALS, move |ports| {
            let entropy = || Box::new(Entropy::new(Same)) as Box<dyn Device>;
            let virtuals = (0..VIRTUALS).map(|_| entropy()).collect();
            let function = ports.physical(entropy(), virtuals, &Options::default())?;
            Ok(Arc::new(Liar {
                function,
                configuration,
                registers,
                on: flag,
                accesses: counter,
            }))
        })
        .build();
    // Firmware may find no addresses for it.
    let Ok(machine) = built else { return };
    on.store(true, Ordering::Relaxed);
    let platform = machine.platform();
    let before = platform.ram_used();

    let apertures = Apertures {
        memory: APERTURE,
        high: HIGH_APERTURE,
        ports: 0x1000..0x1_0000,
    };

    let mut given = 0;
    let mut back = 0;
    // What has an address keeps it; a liar may be found to have none.
    let placed = pci::place(&platform, &apertures);
    assert!(!honest || placed == Placed::default(), "it has addresses");
    let transports = pci::devices_by(&platform, preference);
    for mut transport in transports.take(FUNCTIONS_MAX).flatten() {
        let virtuals = transport.virtual_functions().ok().flatten();
        let Ok(mut rng) = attach::<Rng<_, DmaBuffer>, _>(transport) else {
            continue;
        };
        for _ in 0..REQUESTS {
            let buffer = DmaBuffer::new(&platform, BUFFER_BYTES).expect("there is enough");
            given += usize::from(rng.request(buffer).is_ok());
        }
        for _ in 0..REQUESTS {
            match rng.wait(LIMIT) {
                Ok(filled) => {
                    assert!(filled.random as usize <= BUFFER_BYTES);
                    assert_eq!(filled.buffer.len(), BUFFER_BYTES);
                    back += 1;
                }
                Err(_) => break,
            }
        }
        // What is said of virtual functions is believed or not; those that are there can be opened.
        if let Some(mut virtuals) = virtuals.filter(|_| choices & 4 != 0) {
            let found = virtuals.enable(u16::from(choices >> 3));
            for function in found.iter().flatten() {
                let _ = function.open(&platform);
            }
            let _ = virtuals.disable();
        }
        let (_reset, mut queue) = rng.reset();
        for _ in 0..=REQUESTS {
            if let Ok(Some(_)) = queue.reclaim() {
                back += 1;
            }
        }
    }
    assert!(!honest || back == REQUESTS, "without a lie, it works");
    let leak = platform.leak();
    assert_eq!(
        back + leak.buffers,
        given,
        "each comes back once, or is kept"
    );
    if leak.queues == 0 {
        assert_eq!(
            platform.ram_used(),
            before,
            "memory was lost, and not counted"
        );
    }
}
