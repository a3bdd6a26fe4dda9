//! Fuzzes the bytes on a slave's connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::modbus::{bank, limits, wire};
use wwsim::{clock, rng};

#[path = "../../tests/properties/modbus_frame.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
