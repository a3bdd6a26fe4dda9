//! Fuzzes the body of a POST to `/api/v1/template/test`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::{clock, decimal, device, limits, meter};

#[path = "../../tests/properties/template.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
