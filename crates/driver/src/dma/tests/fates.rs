//! Everything that may befall requests in flight and the handles of their device, in every order.

use super::*;
use crate::bringup::Live;
use crate::dma::{Buffers, Data};
use crate::testing::{TestPlatform, Tracked};
use ringway_ring::driver::Token;

type Requests = Queue<TestPlatform, Tracked>;

/// What goes with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    One,
    Several,
}

/// What befalls the requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    /// One of them is cancelled.
    Cancel,
    TimeOut,
    FutureDropped,
    /// The device breaks a rule of the ring.
    Broken,
}

/// What a program then does with the handle of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueueFate {
    Drop,
    Forget,
    /// What can be had back is had back, and the handle then dropped.
    Reclaim,
    /// As with `Reclaim`, after a reset of the queue that the device confirms.
    Reset,
    /// The same after a reset of the queue that the device does not confirm.
    ResetInVain,
}

/// What a program then does with the handle of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceFate {
    Drop,
    Forget,
    Reset,
}

/// One history.
#[derive(Clone, Copy, Debug)]
struct Case {
    format: Features,
    trust: Trust,
    load: Load,
    mishap: Mishap,
    queue_fate: QueueFate,
    device_fate: DeviceFate,
    /// Whether the handle of the device meets its fate first.
    device_first: bool,
    /// Whether the device confirms that it was reset.
    confirms: bool,
}

impl Case {
    /// Case `number`, until there are no more.
    fn new(mut number: usize) -> Option<Self> {
        fn pick<X: Copy, const N: usize>(number: &mut usize, of: [X; N]) -> X {
            let picked = of[*number % N];
            *number /= N;
            picked
        }
        let from = &mut number;
        let case = Self {
            format: pick(from, [Features::NONE, F::RING_PACKED]),
            trust: pick(from, [Trust::Trusted, Trust::Pool, Trust::Revoked]),
            load: pick(from, [Load::One, Load::Several]),
            mishap: pick(
                from,
                [
                    Mishap::Nothing,
                    Mishap::Cancel,
                    Mishap::TimeOut,
                    Mishap::FutureDropped,
                    Mishap::Broken,
                ],
            ),
            queue_fate: pick(
                from,
                [
                    QueueFate::Drop,
                    QueueFate::Forget,
                    QueueFate::Reclaim,
                    QueueFate::Reset,
                    QueueFate::ResetInVain,
                ],
            ),
            device_fate: pick(
                from,
                [DeviceFate::Drop, DeviceFate::Forget, DeviceFate::Reset],
            ),
            device_first: pick(from, [true, false]),
            confirms: pick(from, [true, false]),
        };
        (number == 0).then_some(case)
    }

    /// Whether it can be: a queue is reset by the handle of its device.
    fn is_possible(&self) -> bool {
        let resets = matches!(self.queue_fate, QueueFate::Reset | QueueFate::ResetInVain);
        !(resets && self.device_first)
    }

    fn device(&self) -> Scripted {
        let offered = self.format | F::INDIRECT_DESC | F::EVENT_IDX | F::RING_RESET;
        Scripted::new(self.trust, DeviceId::ENTROPY, offered, Vec::new())
    }

    /// The buffers of request `number`: 64 bytes to be filled.
    fn data(&self, number: u8, alive: &Arc<()>) -> Data<Tracked> {
        let buffer = |len| Tracked::new(number, len, alive);
        match self.load {
            Load::One => Data::Writable(buffer(64)),
            Load::Several => Data::Several(Box::new(Buffers {
                readable: vec![buffer(8), buffer(700)],
                writable: vec![buffer(40), buffer(24)],
            })),
        }
    }

    fn befall(&self, device: &Scripted, queue: &mut Requests, token: Token) {
        match self.mishap {
            Mishap::Nothing => {}
            Mishap::Cancel => queue.cancel(token).unwrap(),
            Mishap::TimeOut => {
                let waited = queue.wait(Duration::from_millis(5)).err();
                assert_eq!(waited, Some(Error::TimedOut), "{self:?}");
            }
            Mishap::FutureDropped => {
                let mut cx = Context::from_waker(Waker::noop());
                let mut future = Box::pin(queue.next());
                assert!(future.as_mut().poll(&mut cx).is_pending(), "{self:?}");
            }
            Mishap::Broken => {
                let areas = device.script().queues[&0].areas;
                // A used index beyond all; or, packed, that a chain came back which is not there.
                let (at, bytes): (u64, &[u8]) = if self.format.contains(F::RING_PACKED) {
                    (areas.descriptor + 16 + 12, &[200, 0, 0x80, 0x80])
                } else {
                    (areas.device + 2, &[200, 0])
                };
                let map = device.platform.device_map();
                let forged = map.shared(at, bytes.len()).unwrap();
                forged.view().write(0, bytes).unwrap();
                let broken = queue.poll().err();
                let broken = matches!(broken, Some(Error::Device(Violation::Ring(_))));
                assert!(broken, "{self:?}");
            }
        }
    }

    /// Ends the queue. Returns what could be had back.
    fn end_queue(
        &self,
        device: &Scripted,
        live: Option<&mut Live<Scripted>>,
        mut queue: Requests,
    ) -> Vec<Data<Tracked>> {
        let mut back = Vec::new();
        let mut reclaim = |queue: &mut Requests| {
            while let Ok(Some(data)) = queue.reclaim() {
                back.push(data);
            }
        };
        match (self.queue_fate, live) {
            (QueueFate::Drop, _) => drop(queue),
            (QueueFate::Forget, _) => forget(queue),
            (QueueFate::Reclaim, _) => reclaim(&mut queue),
            (QueueFate::Reset, live) => {
                queue.reset(live.unwrap()).unwrap();
                reclaim(&mut queue);
            }
            (QueueFate::ResetInVain, live) => {
                device.script().queue_reset_takes = None;
                let reset = queue.reset(live.unwrap()).err();
                let why = Violation::QueueResetNotConfirmed(0).into();
                assert_eq!(reset, Some(why), "{self:?}");
                reclaim(&mut queue);
            }
        }
        back
    }

    fn end_device(&self, live: Live<Scripted>) {
        match self.device_fate {
            DeviceFate::Drop => drop(live),
            DeviceFate::Forget => forget(live),
            DeviceFate::Reset => drop(live.reset()),
        }
    }

    /// Whether the device lets go of all memory.
    fn device_lets_go(&self) -> bool {
        self.confirms && self.device_fate != DeviceFate::Forget
    }

    /// Whether the device has let go when the queue's handle meets its fate: only then there is
    /// anything to be had back.
    fn is_reclaimed(&self) -> bool {
        match self.queue_fate {
            QueueFate::Reset => true,
            QueueFate::Reclaim => self.device_first && self.device_lets_go(),
            _ => false,
        }
    }

    /// Whether everything in flight is free in the end.
    fn is_freed(&self) -> bool {
        match self.queue_fate {
            QueueFate::Reset => true,
            QueueFate::Forget => false,
            _ => self.device_lets_go(),
        }
    }

    /// What the platform is told to be lost.
    fn leak(&self, buffers: usize) -> Leak {
        let gone = matches!(self.queue_fate, QueueFate::Reset | QueueFate::Forget);
        if gone || self.confirms || self.device_fate == DeviceFate::Forget {
            return Leak::default();
        }
        Leak { queues: 1, buffers }
    }
}

/// Which request it went with, which is in every byte that no device filled.
fn number(data: &Data<Tracked>) -> u8 {
    let buffers: Vec<&Tracked> = match data {
        Data::None => Vec::new(),
        Data::Readable(buffer) | Data::Writable(buffer) => vec![buffer],
        Data::Several(lists) => lists.readable.iter().chain(&lists.writable).collect(),
    };
    let number = buffers[0].bytes[0];
    for buffer in buffers {
        assert!(buffer.bytes.iter().all(|byte| *byte == number));
    }
    number
}

/// Of three requests the device has completed one, when something befalls the others; then the two
/// handles go, one after the other, each in each way. Buffers, rings and mappings are free in those
/// cases alone in which the device has let go of them, and counted where it has not; what is had
/// back is had back once, as it was given.
#[test]
fn whatever_befalls_requests_and_handles_in_every_order_nothing_that_the_device_has_is_freed() {
    for case in (0..).map_while(Case::new).filter(Case::is_possible) {
        let (device, alive) = (case.device(), Arc::new(()));
        let rng: Entropy<Tracked> = attach(device.clone()).unwrap();
        let (mut live, mut queue) = rng.into_parts();
        let tokens = [7, 1, 2].map(|byte| queue.submit(&(), case.data(byte, &alive)).unwrap());
        queue.kick().unwrap();
        device.complete(&mut device.queue(0), 7, 64);
        let done = queue.poll().unwrap().unwrap();
        assert_eq!((done.token, done.written), (tokens[0], 64), "{case:?}");
        assert_eq!(number(&done.data), 7, "{case:?}");
        drop(done);

        let buffers = || Arc::strong_count(&alive) - 1;
        let held = || (device.platform.mapped(), device.platform.allocations());
        let (in_flight, before) = (buffers(), held());
        case.befall(&device, &mut queue, tokens[1]);
        let after = (buffers(), held());
        if !case.confirms {
            device.script().reset_takes = None;
        }
        let back = if case.device_first {
            case.end_device(live);
            case.end_queue(&device, None, queue)
        } else {
            let back = case.end_queue(&device, Some(&mut live), queue);
            case.end_device(live);
            back
        };

        assert_eq!(after, (in_flight, before), "{case:?}");
        let mut numbers: Vec<u8> = back.iter().map(number).collect();
        numbers.sort_unstable();
        let expected: &[u8] = match (case.is_reclaimed(), case.mishap) {
            (false, _) => &[],
            (true, Mishap::Cancel) => &[2],
            (true, _) => &[1, 2],
        };
        assert_eq!(numbers, expected, "{case:?}");
        for data in &back {
            let as_given = case.data(number(data), &Arc::new(()));
            assert_eq!(shape(data), shape(&as_given), "{case:?}");
        }
        drop(back);
        if case.is_freed() {
            // A pool is the device's until its own use ends.
            let pool = usize::from(case.trust == Trust::Pool && !case.device_lets_go());
            assert_eq!((buffers(), held()), (0, (0, pool)), "{case:?}");
        } else {
            assert_eq!((buffers(), held()), (in_flight, before), "{case:?}");
        }
        assert_eq!(device.platform.leak(), case.leak(in_flight), "{case:?}");
    }
}

/// The lengths of its buffers: those that the device reads, and those that it fills.
fn shape(data: &Data<Tracked>) -> (Vec<usize>, Vec<usize>) {
    let lengths = |list: &[Tracked]| list.iter().map(Buffer::bytes).collect();
    match data {
        Data::None => (Vec::new(), Vec::new()),
        Data::Readable(buffer) => (vec![buffer.bytes()], Vec::new()),
        Data::Writable(buffer) => (Vec::new(), vec![buffer.bytes()]),
        Data::Several(lists) => (lengths(&lists.readable), lengths(&lists.writable)),
    }
}
