//! Devices that are suspended over real registers, with chains in their rings, and go on.
#![cfg(test)]

use core::time::Duration;
use std::sync::{Arc, Mutex};

use ringway_device::Offer;
use ringway_device::entropy::{Entropy, Source};
use ringway_driver::bus::{AnyTransport, Bus, Id, Name, Parting, Sink};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::Rng;
use ringway_driver::platform::Leak;
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_spec::{DeviceId, F, Features};

const LIMIT: Duration = Duration::from_secs(30);

type Rngs = Rng<AnyTransport<Platform>, DmaBuffer>;

/// Counts up, so that bytes tell how many were before them.
struct Counter(u8);

impl Source for Counter {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        for byte in into {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// An operating system that leaves its requests in flight when the machine sleeps.
#[derive(Default)]
struct Careless {
    source: Mutex<Option<Rngs>>,
    resumed: Mutex<usize>,
}

impl Sink<Platform, Rngs> for Careless {
    fn added(&self, _: Name, device: Rngs) {
        *self.source.lock().unwrap() = Some(device);
    }

    fn resumed(&self, _: Name) {
        *self.resumed.lock().unwrap() += 1;
    }

    fn removed(&self, _: Name, why: Parting) {
        assert_eq!(why, Parting::Unbound, "it was suspended as it is");
        self.source.lock().unwrap().take();
    }
}

fn function(machine: &Machine) -> AnyTransport<Platform> {
    Box::new(pci::devices(&machine.platform()).next().unwrap().unwrap())
}

fn window(machine: &Machine) -> AnyTransport<Platform> {
    let slots = machine.mmio_slots().to_vec();
    let mut found = mmio::scan(machine.platform(), slots);
    Box::new(found.next().unwrap().unwrap())
}

/// §3.4
#[test]
fn a_device_that_was_suspended_with_chains_in_its_ring_goes_on_where_it_was() {
    let runs = (0..8).map(|seed| Run::Inline { seed });
    for run in runs.chain([Run::Threaded]) {
        for format in [Features::NONE, F::RING_PACKED, F::IN_ORDER] {
            let options = Options {
                offer: Offer::default().with(F::SUSPEND | format),
                ..Options::default()
            };
            let device = || Box::new(Entropy::new(Counter(0)));
            let builder = || Machine::builder().run(run);
            sleeps(
                &builder()
                    .pci("source", device(), options.clone())
                    .build()
                    .unwrap(),
                function,
            );
            sleeps(
                &builder().mmio("source", device(), options).build().unwrap(),
                window,
            );
        }
    }
}

fn sleeps(machine: &Machine, device: fn(&Machine) -> AnyTransport<Platform>) {
    let platform = machine.platform();
    let system = Arc::<Careless>::default();
    let mut bus = Bus::new();
    let ids = [Id::of(DeviceId::ENTROPY)];
    bus.register::<Rngs, _>("entropy", &ids, Arc::clone(&system))
        .unwrap();
    let name = bus.add(device(machine));
    let mut next = 0_u8;
    for sleep in 1..=3 {
        let ask = |source: &mut Rngs| {
            let buffer = || DmaBuffer::new(&platform, 3).unwrap();
            (0..100)
                .take_while(|_| source.request(buffer()).is_ok())
                .count()
        };
        let asked = ask(system.source.lock().unwrap().as_mut().unwrap());
        let _ = system.source.lock().unwrap().as_mut().unwrap().kick();

        bus.suspend_all().unwrap();
        bus.resume_all().unwrap();

        let mut source = system.source.lock().unwrap();
        let source = source.as_mut().unwrap();
        for _ in 0..asked {
            let filled = source.wait(LIMIT).unwrap();
            let mut bytes = [0; 3];
            filled.buffer.read(0, &mut bytes).unwrap();
            assert_eq!(bytes, [1, 2, 3].map(|after| next.wrapping_add(after)));
            next = next.wrapping_add(3);
        }
        assert_eq!(*system.resumed.lock().unwrap(), sleep);
    }
    bus.unbind(name).unwrap();
    assert_eq!(platform.leak(), Leak::default());
}
