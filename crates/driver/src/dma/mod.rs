//! Memory that devices use: buffers lent to them, queues, and who keeps what until they let go.
//!
//! The rule of this room: memory that a device was told of goes back to its owner when the device
//! completes the request, or after a reset that the device confirmed; otherwise never. Whatever the
//! program does with its handles (drops them, in any order, or forgets them), the rule holds:
//!
//! ```text
//!   Queue ──drop──▶ its ring and the buffers in flight are parked in the device's Core
//!   Live  ──drop──▶ the device is reset ──confirmed──▶ parked buffers are dropped, ring memory is freed
//!                                       └─not──▶ all of it is kept from everybody, for ever, and counted
//!   Queue ──reset─▶ the queue alone is ──confirmed──▶ its buffers are had back, and it begins again
//!                                       └─not──▶ it waits for a reset of the device
//!   Queue ──cancel▶ the request's buffers are dropped when they come back, and not before
//! ```
//!
//! The buffers of one request come back together. A wait that times out, a future that is dropped
//! and a queue that its device broke change nothing: what is in flight stays there.
//!
//! In flight, a buffer is a [`Raw`] part of what it was: no `Box` and no reference exists while a
//! device may write behind it.

mod any;
mod buffer;
mod bytes;
mod core;
mod given;
mod lend;
mod plain;
mod pool;
mod queue;
mod restart;

pub use self::any::AnyBuffer;
pub use self::buffer::{Buffer, DmaBuffer, Raw};
pub use self::bytes::Bytes;
pub(crate) use self::core::{Core, End, Resting};
pub use self::given::{Buffers, Data};
pub use self::queue::{Callback, Completion, Counts, Pending, Queue, QueueOptions, Rejected};
pub use ringway_ring::driver::Token;

#[cfg(test)]
mod tests;
