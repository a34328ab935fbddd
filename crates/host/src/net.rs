//! What network cards are connected to, and the time that they have.

mod switch;
mod timer;

pub use switch::{Switch, SwitchPort};
pub use timer::Timer;
