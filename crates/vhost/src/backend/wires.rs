//! What a device says, and how the front-end hears it: by descriptors, or by messages.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway_device::task::Signal;
use ringway_ring::device::Violation;
use ringway_ring::map::{Access, Missing};

use super::{Event, Observer};
use crate::eventfd::EventFd;
use crate::protocol::{
    BackRequest, Flags, Iotlb, IotlbKind, Permissions, ProtocolFeatures, RingState,
};
use crate::socket::Socket;
use crate::sync::lock;

/// Most time that a front-end may leave the requests of this end unread. A loop waits for it.
const CHANNEL_LIMIT: Duration = Duration::from_secs(1);

/// The ways to the front-end. Tasks hold it, and every front-end finds another state in it.
pub(super) struct Wires {
    rings: Box<[Wire]>,
    /// Requests of this end.
    channel: Mutex<Option<Socket>>,
    /// Rings without a descriptor signal by message.
    inband: AtomicBool,
    /// The front-end wants to hear of configuration that changed.
    has_config: AtomicBool,
    needs_reset: AtomicBool,
    observer: Arc<dyn Observer>,
}

/// Of one ring.
#[derive(Default)]
struct Wire {
    call: Mutex<Way>,
    error: Mutex<Way>,
    /// What a translation was asked for last: who asks again and again says it once.
    asked: Mutex<Option<Missing>>,
}

/// How the front-end hears of something.
#[derive(Debug, Default)]
enum Way {
    /// By a message, if that was agreed on: nothing was said of another way.
    #[default]
    Message,
    /// Not at all: it looks by itself.
    Nothing,
    Event(EventFd),
}

impl From<Option<OwnedFd>> for Way {
    fn from(descriptor: Option<OwnedFd>) -> Self {
        descriptor.map_or(Self::Nothing, |descriptor| Self::Event(descriptor.into()))
    }
}

impl Wires {
    pub(super) fn new(rings: usize, observer: Arc<dyn Observer>) -> Self {
        Self {
            rings: (0..rings).map(|_| Wire::default()).collect(),
            channel: Mutex::new(None),
            inband: AtomicBool::new(false),
            has_config: AtomicBool::new(false),
            needs_reset: AtomicBool::new(false),
            observer,
        }
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    pub(super) fn set_protocol(&self, features: ProtocolFeatures) {
        let inband = features.contains(ProtocolFeatures::INBAND_NOTIFICATIONS);
        let has_config = features.contains(ProtocolFeatures::CONFIG);
        self.inband.store(inband, Ordering::SeqCst);
        self.has_config.store(has_config, Ordering::SeqCst);
    }

    pub(super) fn set_call(&self, ring: usize, call: Option<OwnedFd>) {
        if let Some(wire) = self.rings.get(ring) {
            *lock(&wire.call) = call.into();
        }
    }

    pub(super) fn set_error(&self, ring: usize, error: Option<OwnedFd>) {
        if let Some(wire) = self.rings.get(ring) {
            *lock(&wire.error) = error.into();
        }
    }

    pub(super) fn set_channel(&self, socket: OwnedFd) {
        *lock(&self.channel) = Some(Socket::new(socket).with_limit(CHANNEL_LIMIT));
    }

    /// A driver broke a rule since the last reset.
    pub(super) fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    /// The device was reset.
    pub(super) fn reset(&self) {
        self.needs_reset.store(false, Ordering::SeqCst);
    }

    /// Lets go of everything that came from the front-end.
    pub(super) fn disconnect(&self) {
        self.reset();
        self.set_protocol(ProtocolFeatures::empty());
        *lock(&self.channel) = None;
        for wire in &self.rings {
            *lock(&wire.call) = Way::default();
            *lock(&wire.error) = Way::default();
            *lock(&wire.asked) = None;
        }
    }

    /// Says that configuration space has changed, to a front-end that can hear it.
    pub(super) fn config_changed(&self) {
        if self.has_config.load(Ordering::SeqCst) {
            self.request(BackRequest::ConfigChange);
        }
    }

    /// Asks for a translation of what is `missing`.
    pub(super) fn ask_for(&self, missing: Missing) {
        let permissions = match missing.access {
            Access::Read => Permissions::READ,
            Access::Write => Permissions::WRITE,
            Access::ReadWrite => Permissions::READ | Permissions::WRITE,
        };
        self.request(BackRequest::Iotlb(Iotlb {
            address: missing.address,
            // All of this is for the front-end to say.
            size: 0,
            user_address: 0,
            permissions,
            kind: IotlbKind::Miss,
        }));
    }

    /// What `is_told` of was told, or taken back: rings ask for it again if they miss it.
    pub(super) fn told(&self, is_told: impl Fn(u64) -> bool) {
        for wire in &self.rings {
            let mut asked = lock(&wire.asked);
            *asked = asked.take().filter(|missing| !is_told(missing.address));
        }
    }

    /// Ring `index` is not served any more before a reset.
    pub(super) fn given_up(&self, index: u16) {
        self.needs_reset.store(true, Ordering::SeqCst);
        if let Some(wire) = self.rings.get(usize::from(index)) {
            self.say(&wire.error, BackRequest::VringErr(ring(index)));
        }
    }

    /// Says something of a ring, `way` or by `message`.
    fn say(&self, way: &Mutex<Way>, message: BackRequest) {
        match &*lock(way) {
            Way::Event(event) => return event.signal(),
            Way::Nothing => return,
            Way::Message => {}
        }
        if self.inband.load(Ordering::SeqCst) {
            self.request(message);
        }
    }

    /// Makes a request of which no answer is awaited: the front-end may itself be waiting for one.
    fn request(&self, request: BackRequest) {
        let mut channel = lock(&self.channel);
        let Some(socket) = &*channel else {
            return;
        };
        let number = request.code().number();
        let sent = socket.send(number, Flags::empty(), &request.encode::<OwnedFd>());
        if let Err(error) = sent {
            *channel = None;
            drop(channel);
            self.observer.event(Event::ChannelLost(error));
        }
    }
}

/// Tells a front-end that configuration space has changed.
#[derive(Clone)]
pub struct ConfigNotifier(pub(super) Arc<Wires>);

impl ConfigNotifier {
    /// Configuration space has changed. A front-end that cannot hear it finds out when it looks.
    pub fn config_changed(&self) {
        self.0.config_changed();
    }
}

impl Signal for Wires {
    fn used(&self, index: u16) {
        if let Some(wire) = self.rings.get(usize::from(index)) {
            self.say(&wire.call, BackRequest::VringCall(ring(index)));
        }
    }

    fn missing(&self, index: u16, missing: Missing) {
        let Some(wire) = self.rings.get(usize::from(index)) else {
            return;
        };
        if lock(&wire.asked).replace(missing) != Some(missing) {
            self.ask_for(missing);
        }
    }

    fn broken(&self, index: u16, violation: Violation) {
        self.observer.event(Event::Violation {
            ring: index,
            violation,
        });
        self.given_up(index);
    }
}

/// What a message says of a ring: no more than which one it is.
fn ring(index: u16) -> RingState {
    RingState {
        index: index.into(),
        num: 0,
    }
}
