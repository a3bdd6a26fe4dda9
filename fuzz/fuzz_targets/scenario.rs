//! Fuzzes a scenario file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::scenario;

#[path = "../../tests/properties/scenario.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
