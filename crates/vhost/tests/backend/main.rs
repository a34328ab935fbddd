//! The back-end as a front-end meets it: over a real socket, with real memory, and with the driver's
//! end of our rings.

mod connections;
mod front;
mod leaks;
mod notifications;
mod requests;
mod rust_vmm;
mod served;
