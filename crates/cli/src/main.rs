//! The `ringway` command.
//!
//! | file | |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`ring`] | what of it is about rings |
//! | [`drive`] | `ringway drive`: drivers against a device behind a vhost-user socket |
//! | [`progress`] | what is seen meanwhile |
//! | [`up`] | `ringway up`: drivers against devices, on a machine in this process or in QEMU |
//! | [`refusal`] | why nothing was done, in one line |
//! | `sys` | the one call of the operating system that is not safe |

mod args;
mod drive;
mod progress;
mod refusal;
mod ring;
mod sys;
mod up;

use std::process::ExitCode;

use args::Command;

/// Everything that was checked is as it should be.
const PASSED: u8 = 0;
/// Something is not.
const FAILED: u8 = 1;
/// Nothing was checked: what was typed, or what it names, cannot be used.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let done = match args::parse() {
        Ok(Some(Command::Up(options))) => up::up(&options),
        Ok(Some(Command::Drive(options))) => drive::drive(&options),
        Ok(None) => Ok(true),
        Err(refusal) => Err(refusal),
    };
    ExitCode::from(match done {
        Ok(true) => PASSED,
        Ok(false) => FAILED,
        Err(refusal) => {
            let style = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{style}error:{style:#} {refusal}");
            REFUSED
        }
    })
}
