//! vhost-user, from a front-end that sends what it likes: to the codec, and to a back-end.

mod messages;
mod session;

pub use messages::run as messages;
pub use session::run as session;
