//! The services of a device: they wait for the clock or for a change, which the device itself never does.
//!
//! In the list of `lib.rs` this module stands below `device` and above `surface`, because the live stream
//! and the MQTT client send the [`Readings`], and a surface cannot import `runtime` or `house`. The house
//! runs the other services while the device is up. Each of those follows [`Device::changes`](crate::device::Device::changes): after each
//! change it looks at the newest state, and acts on that alone.

mod pairing;
mod readings;
mod script_start;
mod sd_log;

pub use self::pairing::end_pairings;
pub use self::readings::Readings;
pub use self::script_start::start_script;
pub use self::sd_log::log_to_sd;
