//! The two ends of a split queue, each against the other end as somebody else wrote it: random
//! requests, whose every byte, length and notification is compared.
#![cfg(test)]

mod common;
mod our_device;
mod our_driver;
mod peers;
