//! Fuzzes the body of a POST to `/api/v1/actions`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::device::actions::Definition;

#[path = "../../tests/properties/action_definition.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
