//! Any bytes on a slave's connection.

#![no_main]

#[path = "../../tests/it/properties/modbus_frame.rs"]
mod modbus_frame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modbus_frame::holds(bytes));
