//! A front-end, as small as can be: one region of memory, and rings in it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ringway_ring::driver::{Geometry, Memory, Queue, Segment};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::memory;
use ringway_vhost::protocol::{
    BackRequest, Code, Flags, PROTOCOL_FEATURES, ProtocolFeatures, Region, Reply, Request,
    RingAddresses, RingState,
};
use ringway_vhost::socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::served::LIMIT;

/// Where the memory is for the driver, and for the front-end. Mixing them up fails at once.
pub(crate) const GUEST: u64 = 0x4000_0000;
pub(crate) const USER: u64 = 0x7fff_0000_0000;
const BYTES: usize = 2 << 20;

/// What most tests agree on of the protocol.
pub(crate) const PROTOCOL: ProtocolFeatures = ProtocolFeatures::MQ
    .union(ProtocolFeatures::REPLY_ACK)
    .union(ProtocolFeatures::CONFIG)
    .union(ProtocolFeatures::BACKEND_REQ)
    .union(ProtocolFeatures::MEM_SLOTS)
    .union(ProtocolFeatures::STATUS)
    .union(ProtocolFeatures::RESET_DEVICE);

pub(crate) struct Front {
    pub(crate) socket: Socket,
    pub(crate) file: OwnedFd,
    memory: Shared,
    free: usize,
}

impl Front {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (file, memory) = memory::create("front-end", BYTES).unwrap();
        Self {
            socket: Socket::new(stream).with_limit(LIMIT),
            file,
            memory,
            free: 0,
        }
    }

    /// One that has agreed on the protocol and on `features`, and shared its memory.
    pub(crate) fn ready(
        stream: UnixStream,
        protocol: ProtocolFeatures,
        features: Features,
    ) -> Self {
        let front = Self::new(stream);
        front.introduce(protocol, features);
        front
    }

    /// The same one, with its memory, before another back-end.
    pub(crate) fn reconnect(
        &mut self,
        stream: UnixStream,
        protocol: ProtocolFeatures,
        features: Features,
    ) {
        self.socket = Socket::new(stream).with_limit(LIMIT);
        self.introduce(protocol, features);
    }

    fn introduce(&self, protocol: ProtocolFeatures, features: Features) {
        self.value(Request::GetFeatures);
        self.say(
            Request::SetProtocolFeatures(protocol.bits()),
            Flags::empty(),
        );
        self.tell(Request::SetOwner);
        self.accept(features, 0);
        self.tell(Request::SetMemTable(vec![(region(), self.again())]));
    }

    /// Accepts features, and bits that are the protocol's own.
    pub(crate) fn accept(&self, features: Features, own: u64) {
        let features = (F::VERSION_1 | features).0 as u64;
        self.tell(Request::SetFeatures(features | PROTOCOL_FEATURES | own));
    }

    /// The file of its memory.
    pub(crate) fn again(&self) -> OwnedFd {
        self.file.try_clone().unwrap()
    }

    pub(crate) fn say(&self, request: Request<OwnedFd>, flags: Flags) {
        let number = request.code().number();
        self.socket.send(number, flags, &request.encode()).unwrap();
    }

    /// What a request is answered with.
    pub(crate) fn ask(&self, request: Request<OwnedFd>) -> Reply<OwnedFd> {
        let code = request.code();
        self.say(request, Flags::NEED_REPLY);
        self.answer(code)
    }

    pub(crate) fn answer(&self, code: Code) -> Reply<OwnedFd> {
        let message = self.socket.receive().unwrap().expect("an answer");
        assert_eq!(message.header.request, code.number());
        assert_eq!(message.header.flags, Flags::REPLY);
        Reply::decode(code, message.body).unwrap()
    }

    pub(crate) fn value(&self, request: Request<OwnedFd>) -> u64 {
        match self.ask(request) {
            Reply::Value(value) => value,
            other => panic!("{other:?} is no number"),
        }
    }

    /// Has a request done.
    pub(crate) fn tell(&self, request: Request<OwnedFd>) {
        let code = request.code();
        assert_eq!(self.value(request), 0, "{code:?}");
    }

    /// Makes room for `len` bytes: where the front-end and where the driver has them.
    pub(crate) fn allocate(&mut self, len: usize) -> (Shared, u64) {
        let at = self.free.next_multiple_of(4096);
        self.free = at + len;
        let shared = self.memory.slice(at, len).expect("there is room");
        (shared, GUEST + at as u64)
    }

    /// Writes to its memory, at an address of the driver's.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        let at = (address - GUEST) as usize;
        self.memory.view().write(at, bytes).unwrap();
    }

    /// A ring over which `passed` chains or descriptors went before, unknown to the back-end.
    pub(crate) fn ring(
        &mut self,
        index: u8,
        geometry: Geometry,
        features: Features,
        passed: u16,
    ) -> Ring {
        let (shared, address) = self.allocate(geometry.bytes());
        let memory = Memory { shared, address };
        let queue = Queue::new(&memory, geometry, features, passed).unwrap();
        Ring {
            index,
            queue,
            geometry,
            address,
            kick: EventFd::new().unwrap(),
            call: EventFd::new().unwrap(),
        }
    }

    /// Describes a ring that begins at `base`, and starts it.
    pub(crate) fn start(&self, ring: &Ring, base: u32) {
        self.describe(ring, base);
        self.tell(Request::SetVringCall(
            ring.index,
            Some(ring.call_descriptor()),
        ));
        self.tell(Request::SetVringKick(
            ring.index,
            Some(ring.kick_descriptor()),
        ));
        self.tell(Request::SetVringEnable(ring.state(1)));
    }

    /// Says all of a ring but how it is kicked and calls.
    pub(crate) fn describe(&self, ring: &Ring, base: u32) {
        self.tell(Request::SetVringNum(
            ring.state(ring.geometry.size().into()),
        ));
        self.tell(Request::SetVringBase(ring.state(base)));
        self.tell(Request::SetVringAddr(ring.addresses()));
    }

    /// Stops a ring, and says where it stands.
    pub(crate) fn stop(&self, ring: &Ring) -> u32 {
        match self.ask(Request::GetVringBase(ring.state(0))) {
            Reply::Ring(state) => state.num,
            other => panic!("{other:?} is no base"),
        }
    }
}

/// All memory of a front-end.
pub(crate) fn region() -> Region {
    Region {
        guest_address: GUEST,
        size: BYTES as u64,
        user_address: USER,
        file_offset: 0,
    }
}

/// A ring of the driver's.
pub(crate) struct Ring {
    pub(crate) index: u8,
    pub(crate) queue: Queue<Shared>,
    pub(crate) geometry: Geometry,
    pub(crate) address: u64,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
}

impl Ring {
    pub(crate) fn state(&self, num: u32) -> RingState {
        RingState {
            index: self.index.into(),
            num,
        }
    }

    /// Where it is for the front-end.
    pub(crate) fn addresses(&self) -> RingAddresses {
        let areas = self.geometry.areas(self.address);
        let user = |address: u64| address - GUEST + USER;
        RingAddresses {
            index: self.index.into(),
            flags: 0,
            descriptor: user(areas.descriptor),
            used: user(areas.device),
            available: user(areas.driver),
            log: 0,
        }
    }

    pub(crate) fn kick_descriptor(&self) -> OwnedFd {
        self.kick.try_clone().unwrap().into()
    }

    pub(crate) fn call_descriptor(&self) -> OwnedFd {
        self.call.try_clone().unwrap().into()
    }

    /// Gives the device a chain, and tells it if it wants to know.
    pub(crate) fn submit(&mut self, readable: &[Segment], writable: &[Segment], owner: Shared) {
        let submitted = self.queue.submit(readable, writable, owner);
        submitted.map_err(|rejected| rejected.why).unwrap();
        if self.queue.kick_needed() {
            self.kick.signal();
        }
    }

    /// Waits until the device gives a chain back: how much it wrote, and whose it is.
    pub(crate) fn wait(&mut self) -> (u32, Shared) {
        loop {
            if let Some(done) = self.queue.poll().unwrap() {
                return (done.written, done.owner);
            }
            if !self.queue.arm() {
                readable(&self.call);
                self.call.take().unwrap();
            }
        }
    }

    /// Has the device write `len` bytes, and returns them.
    pub(crate) fn draw(&mut self, front: &mut Front, len: usize) -> Vec<u8> {
        let (shared, address) = front.allocate(len);
        let segment = Segment {
            address,
            len: len as u32,
        };
        self.submit(&[], &[segment], shared);
        bytes(self.wait())
    }
}

/// Gives the back-end a socket for its requests.
pub(crate) fn channel(front: &Front) -> Socket {
    let (ours, theirs) = UnixStream::pair().unwrap();
    front.tell(Request::SetBackendReqFd(theirs.into()));
    Socket::new(ours).with_limit(LIMIT)
}

/// The next request of the back-end.
pub(crate) fn request(channel: &Socket) -> BackRequest {
    readable(channel);
    let message = channel.receive().unwrap().unwrap();
    assert_eq!(message.header.flags, Flags::empty());
    BackRequest::decode(message.header.request, &message.body).unwrap()
}

/// The base of a ring over which so much went.
pub(crate) fn base_of(features: Features, size: u16, passed: u16) -> u32 {
    if !features.contains(F::RING_PACKED) {
        return passed.into();
    }
    let wrap = u32::from((passed / size).is_multiple_of(2)) << 15;
    let place = wrap | u32::from(passed % size);
    place << 16 | place
}

/// The bytes that a device wrote.
pub(crate) fn bytes((written, shared): (u32, Shared)) -> Vec<u8> {
    let mut bytes = vec![0; written as usize];
    shared.view().read(0, &mut bytes).unwrap();
    bytes
}

/// Waits until a descriptor is readable.
pub(crate) fn readable(descriptor: impl AsFd) {
    let limit = Timespec {
        tv_sec: LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    assert_ne!(poll(&mut fds, Some(&limit)), Ok(0), "nothing came");
}
