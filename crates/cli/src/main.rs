//! The `ringway` command.
//!
//! | file | |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`ring`] | what of it is about rings |
//! | [`serve`] | `ringway serve`: devices behind a vhost-user socket |
//! | [`drive`] | `ringway drive`: drivers against a device behind a vhost-user socket |
//! | [`ls`] | `ringway ls`: the virtio devices and drivers of a Linux system |
//! | [`tree`] | such devices and drivers, and how they are shown |
//! | [`progress`] | what is seen meanwhile |
//! | [`up`] | `ringway up`: drivers against devices, on a machine in this process or in QEMU |
//! | [`refusal`] | why nothing was done, in one line |
//! | `sys` | what of the operating system is not safe |

mod args;
mod drive;
mod ls;
mod progress;
mod refusal;
mod ring;
mod serve;
mod sys;
mod tree;
mod up;

use std::process::ExitCode;

use args::Command;

/// Everything that was checked is as it should be, and what was to be done is.
const PASSED: u8 = 0;
/// Something is not.
const FAILED: u8 = 1;
/// Nothing was done: what was typed, or what it names, cannot be used.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let done = match args::parse() {
        Ok(Some(Command::Up(options))) => up::up(&options),
        Ok(Some(Command::Serve(options))) => serve::serve(&options),
        Ok(Some(Command::Drive(options))) => drive::drive(&options),
        Ok(Some(Command::Ls(options))) => ls::ls(&options),
        Ok(None) => Ok(true),
        Err(refusal) => Err(refusal),
    };
    ExitCode::from(match done {
        Ok(true) => PASSED,
        Ok(false) => FAILED,
        Err(refusal) => {
            refusal.tell();
            REFUSED
        }
    })
}
