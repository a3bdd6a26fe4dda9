//! The endurance check: drives the `wwsim` binary over sockets alone with clients of every kind, well-behaved and
//! broken ones, and checks all along that each accepted request ends once, that at most 20 are in progress, that
//! counters never fall, that a device which nobody disturbs answers in time, that nothing panics, and that
//! memory, descriptors and threads stay flat.
//!
//! The time is divided into rounds: clients work, all of them leave, and what is left of them is looked at.
//! The seed repeats what each client draws; how the requests of different clients interleave is the system's.
//!
//! Run by `scripts/e2e/soak`, or with `cargo test --test soak`. Environment: `SOAK_SECONDS` (120), `SOAK_SEED`
//! (a new one), `SOAK_CONNECTIONS` (10 000 idle ones), `WWSIM` (the binary).

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::disallowed_methods,
        reason = "the house is another process, watched in real time"
    )
)]

#[cfg(target_os = "linux")]
mod broken;
#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod draws;
#[cfg(target_os = "linux")]
mod house;
#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub(crate) use soak::Soak;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    soak::main()
}

/// The checks of memory and descriptors read `/proc`.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("soak: runs on Linux only");
}
