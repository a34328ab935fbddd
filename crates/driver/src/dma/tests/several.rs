//! Requests with several buffers, and requests that are cancelled.

use super::*;
use crate::dma::{AnyBuffer, Buffers, Data, DmaBuffer};
use crate::testing::{TestPlatform, Tracked};

type Requests<B> = Queue<TestPlatform, B>;

const TRUSTS: [Trust; 3] = [Trust::Trusted, Trust::Pool, Trust::Revoked];

fn requests<B: Buffer>(device: &Scripted) -> (crate::bringup::Live<Scripted>, Requests<B>) {
    let rng: Entropy<B> = attach(device.clone()).unwrap();
    rng.into_parts()
}

fn writable(byte: u8, alive: &Arc<()>) -> Data<Tracked> {
    Data::Writable(Tracked::new(byte, 8, alive))
}

/// Owners of four types in one request, one of them without bytes. The device sees the readable ones
/// as one run, and answers with fewer bytes than there is room for.
#[test]
fn buffers_of_several_owners_are_filled_in_their_order_and_come_back_as_they_were_given() {
    for trust in TRUSTS {
        let device = device(trust);
        let (_live, mut queue) = requests::<AnyBuffer>(&device);
        let mut made = DmaBuffer::new(queue.platform(), 3).unwrap();
        made.write(0, b"cde").unwrap();
        let leaked: &'static mut [u8] = Box::leak(Box::from([1; 4]));
        let lists = Buffers {
            readable: vec![AnyBuffer::new(Vec::from(*b"ab")), AnyBuffer::new(made)],
            writable: vec![
                AnyBuffer::new(leaked),
                AnyBuffer::new(Vec::new()),
                AnyBuffer::new(Box::<[u8]>::from([1; 5])),
            ],
        };
        let token = queue.submit(&(), Data::Several(Box::new(lists))).unwrap();
        queue.kick().unwrap();

        let (map, mut served) = (device.platform.device_map(), device.queue(0));
        let mut batch = served.batch(&map);
        let chain = batch.next_chain().unwrap().unwrap();
        let mut asked = [0; 5];
        batch.readable(&chain).read(&mut asked).unwrap();
        batch.writable(&chain).write(&[9; 6]).unwrap();
        batch.complete(chain, 6);
        drop(batch);
        let done = queue.poll().unwrap().unwrap();

        assert_eq!(asked, *b"abcde");
        let said = (done.token, done.written, done.fillable);
        assert_eq!(said, (token, 6, 9), "{trust:?}");
        let Data::Several(lists) = done.data else {
            panic!("it was given with several")
        };
        let filled: Vec<usize> = lists.filled(6).map(|(_, bytes)| bytes).collect();
        assert_eq!(filled, [4, 0, 2]);
        let [ab, made] = lists.readable.try_into().unwrap();
        let [leaked, empty, boxed] = lists.writable.try_into().unwrap();
        assert_eq!(ab.downcast::<Vec<u8>>().unwrap(), b"ab");
        assert_eq!(made.downcast::<DmaBuffer>().unwrap().len(), 3);
        assert_eq!(leaked.downcast::<&'static mut [u8]>().unwrap(), [9; 4]);
        assert!(empty.downcast::<Vec<u8>>().unwrap().is_empty());
        let boxed = boxed.downcast::<Box<[u8]>>().unwrap();
        assert_eq!(*boxed, [9, 9, 1, 1, 1], "{trust:?}");
        assert_eq!(device.platform.mapped(), 0);
    }
}

/// Whatever the buffer is that cannot be lent, those before it are had back first.
#[test]
fn a_request_of_several_that_is_not_taken_gives_all_of_them_back_in_their_order() {
    let lengths = |list: &[Tracked]| -> Vec<usize> { list.iter().map(Buffer::bytes).collect() };
    // More than the ring has descriptors; more than the pool has; and nothing at all.
    let long = Vec::from_iter(1..=17);
    let large = vec![8, 9, 2 << 20, 10];
    let empty = vec![0, 0];
    for trust in TRUSTS {
        let (device, alive) = (device(trust), Arc::new(()));
        let (_live, mut queue) = requests(&device);
        let mut ask = |lens: &[usize], readable: usize| {
            let [read, filled] = [&lens[..readable], &lens[readable..]].map(|lens| {
                lens.iter()
                    .map(|len| Tracked::new(0, *len, &alive))
                    .collect()
            });
            let lists = Buffers {
                readable: read,
                writable: filled,
            };
            queue.submit(&(), Data::Several(Box::new(lists)))
        };

        for (lens, readable) in [(&long, 3), (&large, 1), (&empty, 1)] {
            if *lens == large && trust != Trust::Pool {
                continue;
            }
            let rejected = ask(lens, readable).unwrap_err();

            let expected = match rejected.why {
                Error::Platform(PlatformError::TooManySegments) => &long,
                Error::Request(RequestError::TooLarge { .. }) => &large,
                Error::Request(RequestError::Empty) => &empty,
                other => panic!("{other}"),
            };
            assert_eq!(lens, expected, "{trust:?}");
            let Data::Several(lists) = rejected.data else {
                panic!("it was given with several")
            };
            assert_eq!(lengths(&lists.readable), lens[..readable]);
            assert_eq!(lengths(&lists.writable), lens[readable..]);
            drop(lists);
            let left = (device.platform.mapped(), Arc::strong_count(&alive));
            assert_eq!(left, (0, 1), "{trust:?}");
        }
        // Nothing of the pool was lost.
        ask(&[500 << 10, 500 << 10], 1).unwrap();
    }
}

#[test]
fn a_request_that_is_cancelled_keeps_its_buffers_until_it_comes_back_and_then_drops_them() {
    for trust in TRUSTS {
        let (device, alive) = (device(trust), Arc::new(()));
        let (_live, mut queue) = requests(&device);
        let several = Data::Several(Box::new(Buffers {
            readable: vec![Tracked::new(1, 8, &alive)],
            writable: vec![Tracked::new(1, 4, &alive), Tracked::new(1, 4, &alive)],
        }));
        let [one, several, wanted] = [writable(0, &alive), several, writable(2, &alive)]
            .map(|data| queue.submit(&(), data).unwrap());
        queue.kick().unwrap();
        let buffers = || (Arc::strong_count(&alive) - 1, device.platform.mapped());
        let before = buffers();

        queue.cancel(several).unwrap();
        queue.cancel(one).unwrap();
        let (cancelled, nothing) = (buffers(), queue.poll().unwrap().is_none());
        let mut served = device.queue(0);
        for byte in [7, 8, 9] {
            device.complete(&mut served, byte, 8);
        }
        let still = buffers();
        let done = queue.poll().unwrap().unwrap();

        assert_eq!((before, cancelled, still), (before, before, before));
        assert!(nothing);
        assert_eq!(done.token, wanted);
        assert_eq!(*done.data.buffer().unwrap().bytes, [9; 8]);
        assert_eq!((buffers(), queue.in_flight()), ((0, 0), 0), "{trust:?}");
        assert_eq!(queue.counts().completed, 1);
    }
}

#[test]
fn a_token_that_names_nothing_in_flight_cancels_nothing() {
    let (device, alive) = (device(Trust::Trusted), Arc::new(()));
    let (_live, mut queue) = requests(&device);
    let mut served = device.queue(0);
    let stale = queue.submit(&(), writable(1, &alive)).unwrap();
    queue.kick().unwrap();
    device.complete(&mut served, 1, 8);
    queue.poll().unwrap().unwrap();
    let after = queue.cancel(stale).err();
    let reused = queue.submit(&(), writable(2, &alive)).unwrap();
    let twice = queue.submit(&(), writable(3, &alive)).unwrap();

    let before = queue.cancel(stale).err();
    let first = queue.cancel(twice);
    let second = queue.cancel(twice).err();

    assert_eq!(stale.id(), reused.id(), "the descriptor is the same");
    let stale = Some(Error::NotInFlight);
    assert_eq!((after, before, second), (stale, stale, stale));
    assert_eq!(first, Ok(()));
    queue.kick().unwrap();
    device.complete(&mut served, 4, 8);
    let done = queue.poll().unwrap().unwrap();
    assert_eq!((done.token, done.written), (reused, 8));
}

/// A request without a buffer can be cancelled as well: its answer is what nobody wants.
#[test]
fn a_request_without_buffers_is_cancelled_as_any_other() {
    use crate::dma::QueueOptions;
    let device = device(Trust::Revoked);
    let probed = crate::bringup::Acknowledged::new(device.clone()).unwrap();
    let mut negotiated = probed
        .driver()
        .unwrap()
        .negotiate(&Wanted::default())
        .unwrap();
    let pending = negotiated
        .queue::<Vec<u8>, u32, u32>(0, &QueueOptions::default())
        .unwrap();
    let (_live, mut queue) = negotiated.start(pending).unwrap();
    let mut served = device.queue(0);
    let cancelled = queue.submit(&1, Data::None).unwrap();
    let wanted = queue.submit(&2, Data::None).unwrap();
    queue.kick().unwrap();

    queue.cancel(cancelled).unwrap();
    device.complete(&mut served, 1, 4);
    let nothing = queue.poll().unwrap().is_none();
    device.complete(&mut served, 2, 4);
    let done = queue.poll().unwrap().unwrap();

    assert!(nothing);
    assert_eq!((done.token, done.answer), (wanted, 0x0202_0202));
}
