//! The image: brought up by [`boot`], it does what the command line asks for and leaves.

#![no_std]
#![no_main]

extern crate alloc;

use ringway_guest::command_line::CommandLine;
use ringway_guest::exit::{Outcome, exit};
use ringway_guest::{exercise, failure, memory, serial, time};

mod boot;
mod selftest;

/// What the image does once the machine is up.
fn main(command_line: &CommandLine) -> ! {
    serial::print(
        serial::event("start")
            .text("command_line", command_line.text())
            .number("memory", memory::total())
            .number("clock_hz", time::rate()),
    );
    let ok = match command_line.value("selftest") {
        Some(which) => selftest::run(which),
        None => match exercise::run(command_line) {
            Ok(ok) => ok,
            Err(why) => failure::fail("setup", format_args!("{why}")),
        },
    };
    exercise::end(ok);
    exit(if ok {
        Outcome::Success
    } else {
        Outcome::Failure
    })
}
