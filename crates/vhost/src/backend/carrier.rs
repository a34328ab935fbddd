//! What a session acts on.

use ringway_spec::net::Mac;
use ringway_spec::{DeviceId, Features, Status};

use super::Refusal;
use crate::protocol::{
    ConfigFlags, DeviceStateTransfer, Inflight, Iotlb, LogArea, ProtocolFeatures, Region,
    RingAddresses,
};

/// What a session acts on: the device, its rings and the front-end's memory.
///
/// A session asks only for what is in order, and in an order that is possible. What cannot be known
/// without looking at memory or asking the system is refused here.
pub trait Carrier {
    /// A file descriptor.
    type Descriptor;

    /// What type of device it is.
    fn device_id(&self) -> DeviceId;

    /// The features that are offered: the device's, and those of its rings. Bits beyond 63 have no
    /// place in the protocol.
    fn features(&self) -> Features;

    /// The features of the protocol that can be carried out. The session adds none.
    fn protocol_features(&self) -> ProtocolFeatures;

    /// The largest size of each queue, as many as there are.
    fn queue_sizes(&self) -> &[u16];

    /// Most memory regions.
    fn region_slots(&self) -> u64;

    /// The driver's features are settled. No ring runs.
    fn negotiated(&mut self, features: Features);

    /// Features of the protocol are settled.
    fn protocol_negotiated(&mut self, features: ProtocolFeatures);

    /// Whether writes to memory are logged from here on. Rings may run.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: some are not.
    fn set_logging(&mut self, logging: Logging) -> Result<(), Refusal>;

    /// Bits that the device sets in its status.
    fn status(&self) -> Status;

    /// Returns to the state in which the device was made, as far as `by` says. No ring runs. Memory and
    /// the descriptors of rings stay.
    fn reset(&mut self, by: ResetBy);

    /// Reads configuration space.
    fn read_config(&self, offset: usize, into: &mut [u8]);

    /// Writes configuration space. Not before features are settled.
    fn write_config(&mut self, offset: usize, from: &[u8], flags: ConfigFlags);

    /// Replaces the memory. No ring runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the memory of before stays.
    fn set_memory(&mut self, regions: Vec<(Region, Self::Descriptor)>) -> Result<(), Refusal>;

    /// Adds a region. No ring runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the memory of before stays.
    fn add_region(&mut self, region: Region, file: Self::Descriptor) -> Result<(), Refusal>;

    /// Removes a region. No ring runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: there is none.
    fn remove_region(&mut self, region: &Region) -> Result<(), Refusal>;

    /// How the front-end says that ring `index` has chains. The ring may run.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: what was said before holds.
    fn set_kick(&mut self, index: u8, kick: Kick<Self::Descriptor>) -> Result<(), Refusal>;

    /// What to signal when ring `index` has used buffers. The ring may run.
    fn set_call(&mut self, index: u8, call: Option<Self::Descriptor>);

    /// What to signal when ring `index` is broken. The ring may run.
    fn set_error(&mut self, index: u8, error: Option<Self::Descriptor>);

    /// Runs ring `index`, from now on and until it is stopped, and looks at it at once.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it does not run.
    fn start(&mut self, index: u8, ring: &Start) -> Result<(), Refusal>;

    /// Ring `index` has chains, says a message. It runs.
    fn kick(&mut self, index: u8);

    /// Stops ring `index`, which runs: nothing of it is touched after this. Where the next chain
    /// will be taken, as [`Queue::position`](ringway_ring::device::Queue::position) says it; `None`
    /// if it was not served at all.
    fn stop(&mut self, index: u8) -> Option<u16>;

    /// Whether writes to the device area of ring `index`, which runs, are logged, and as of which
    /// address, is said anew. Its place is as before.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: some are not.
    fn set_ring_log(&mut self, index: u8, addresses: RingAddresses) -> Result<(), Refusal>;

    /// Where writes to memory are logged. Rings may run.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: what was there before stays.
    fn set_log(&mut self, area: LogArea, file: Self::Descriptor) -> Result<(), Refusal>;

    /// What to signal when the log was written to.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it is not signalled of all that is written.
    fn set_log_signal(&mut self, signal: Self::Descriptor) -> Result<(), Refusal>;

    /// Makes memory that remembers what is in flight in so many queues of such a size.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: there is none.
    fn make_inflight(&mut self, wanted: Inflight) -> Result<(Inflight, Self::Descriptor), Refusal>;

    /// Takes memory that remembers what is in flight, and what perhaps was in flight when someone
    /// else stopped. No ring runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: what was there before stays.
    fn set_inflight(&mut self, inflight: Inflight, file: Self::Descriptor) -> Result<(), Refusal>;

    /// The socket for requests of this end.
    fn set_back_channel(&mut self, socket: Self::Descriptor);

    /// A translation of addresses comes or goes. Rings may run.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: there can be no such translation.
    fn translate(&mut self, iotlb: Iotlb) -> Result<(), Refusal>;

    /// Begins to move the device's own state through `via`, or through what is returned. No ring
    /// runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it is not moved.
    fn move_state(
        &mut self,
        transfer: DeviceStateTransfer,
        via: Self::Descriptor,
    ) -> Result<Option<Self::Descriptor>, Refusal>;

    /// Waits until the device's own state was moved.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it was not moved whole.
    fn state_moved(&mut self) -> Result<(), Refusal>;

    /// The machine of a network device came from elsewhere: the network is to learn that `mac` is here.
    /// Rings may run.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it is no network device.
    fn announce(&mut self, mac: Mac) -> Result<(), Refusal>;

    /// The driver of a network device is told to send nothing longer than `mtu`.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the device is not made for that.
    fn set_mtu(&mut self, mtu: u64) -> Result<(), Refusal>;

    /// The front-end is gone. No ring runs. Everything that came from it is let go of, and the
    /// device returns to the state in which it was made.
    fn disconnected(&mut self);
}

/// What resets a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetBy {
    /// The request for it: nothing is left.
    Request,
    /// Its status, which becomes 0. That is so if the driver resets it, and in QEMU also if a machine
    /// stands still, whose driver notices nothing of it: if it comes to be used with the features of
    /// before, what the driver chose of its configuration holds. QEMU's own back-end never forgets it.
    Status,
}

/// Whether writes to memory are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// How a front-end says that a ring has chains.
#[derive(Debug, PartialEq, Eq)]
pub enum Kick<F> {
    /// By this descriptor.
    Descriptor(F),
    /// Not at all: the ring is to be looked at again and again.
    Polled,
    /// By messages, or not yet.
    Message,
}

/// A ring that is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// How many descriptors it has.
    pub size: u16,
    /// Where it is.
    pub addresses: RingAddresses,
    /// Where the next chain is to be taken, as
    /// [`Queue::position`](ringway_ring::device::Queue::position) says it.
    pub available: u16,
    /// Where the next one is to be given back, as far as the front-end knows.
    pub used: u16,
    /// The features that were agreed on.
    pub features: Features,
}
