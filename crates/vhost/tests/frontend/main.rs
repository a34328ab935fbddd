//! The front-end: our drivers over a socket, against our own back-end, and against such as do as they
//! please.

mod driven;
mod fake;
mod gone;
mod hostile;
mod leaks;
mod served;
