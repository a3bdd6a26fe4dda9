//! The services of a device: tasks that wait for the clock or for a change, and then act on the device.
//!
//! The house runs them while the device is up. Each follows [`Device::changes`](crate::device::Device::changes):
//! after each change it looks at the newest state, and acts on that alone.

mod pairing;
mod script_start;
mod sd_log;

pub(super) use self::pairing::end_pairings;
pub(super) use self::script_start::start_script;
pub use self::sd_log::log_to_sd;
