//! What is on the wire: all that driver and device know of each other.

use ringway_spec::config::{Field, Gated, field};
use ringway_spec::le::{U16, U32};
use ringway_spec::{DeviceId, Features};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The last type that PCI has a number for, and nobody's.
pub const THERMOMETER: DeviceId = DeviceId(63);

/// The driver asks here: a [`Request`], then room for a [`Reading`].
pub const REQUEST_QUEUE: u16 = 0;
/// The driver leaves room for readings here, which the device sends. Exists with [`F::ALARM`].
pub const EVENT_QUEUE: u16 = 1;

/// Features of the type.
pub struct F;

impl F {
    /// The device tells of sensors that are too hot.
    pub const ALARM: Features = Features::bit(0);
}

/// The configuration space.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Config {
    /// What is too hot. Written by the driver.
    pub limit: U32,
    /// How many sensors there are. The device may change it at any time.
    pub sensors: U16,
}

impl Config {
    /// [`limit`](Self::limit).
    pub const LIMIT: Gated<U32> = field!(Config.limit).when(F::ALARM);
    /// [`sensors`](Self::sensors).
    pub const SENSORS: Field<U16> = field!(Config.sensors);
}

/// What the driver asks for: the temperature of a sensor.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    /// Which sensor.
    pub sensor: U16,
}

/// A temperature: an answer, or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub struct Reading {
    /// Which sensor.
    pub sensor: U16,
    /// In thousandths of a kelvin. 0, which nothing is, if there is no such sensor.
    pub millikelvin: U32,
}
