//! What network cards are connected to.

mod switch;

pub use switch::{Switch, SwitchPort};
