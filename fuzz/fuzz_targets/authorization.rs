//! Fuzzes the value of an `Authorization` header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wwsim::device::DigestMode;
use wwsim::limits;
use wwsim::surface::http::digest::{Claim, Credentials, body_sum, parse};

#[path = "../../tests/properties/authorization.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
