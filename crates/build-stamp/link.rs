//! The build script says how the program is linked: Cargo has no other place for an argument of the linker that leaves the
//! dependencies as they are. Where the C library is older than what the argument needs, nothing is said.
#![allow(clippy::print_stdout)] // so a build script speaks to Cargo

use std::env;
use std::process::Command;

/// The first glibc that can load a program whose relative relocations are packed.
const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=crates/build-stamp/link.rs");
    // A program that is built for another machine may meet an older glibc there.
    let is_native = env::var("HOST").is_ok_and(|host| env::var("TARGET").is_ok_and(|target| target == host));
    if is_native && glibc().is_some_and(|version| version >= GLIBC_MIN) {
        // 60,000 addresses are set at each start, and the table of them stays in memory: in this form it is a 60th of its
        // size (DT_RELR of the generic ABI).
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc; `None`: it has another C library.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
