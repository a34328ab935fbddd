//! vhost-user, from a front-end that sends what it likes: to the codec, and to a back-end; and that
//! remembers what it likes.

mod messages;
mod records;
mod session;

pub use messages::run as messages;
pub use records::run as records;
pub use session::run as session;
