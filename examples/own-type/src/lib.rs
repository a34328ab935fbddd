//! A rack of thermometers, as a virtio device of a type that no specification knows.
//!
//! The device has a request queue, over which the driver asks for the temperature of a sensor; an event
//! queue, on which the device tells of a sensor that has become too hot; and a configuration, which
//! says how many sensors there are, and changes when one is plugged in. Temperatures are in thousandths
//! of a kelvin, so that none is below 0.
//!
//! [`wire`] is what both ends share, [`device`] one end, [`driver`] the other.

pub mod device;
pub mod driver;
pub mod wire;
