//! Both ends of the example, over every carrier.
#![cfg(test)]

mod bus;
mod loopback;
mod mistakes;
mod served;
