//! `net_queue`, behind cargo-fuzz.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::net_queue::run(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("built without cargo-fuzz: run the `replay` program instead");
}
