//! Any bytes on a slave's connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::{bank, clock, limits, rng, wire};

#[path = "../properties/modbus_frame.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
