//! Links the image as a static executable at fixed addresses, with no C library and no start files.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--no-dynamic-linker",
        &format!("-Wl,-T,{folder}/link.ld"),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
