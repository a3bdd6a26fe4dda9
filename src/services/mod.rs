//! The services of a device: they wait for the clock or for a change, which the device itself never does.
//!
//! In the list of `lib.rs` this module stands below `device` and above `surface`, because the live stream
//! and the MQTT client send the [`Readings`], and a surface cannot import `runtime` or `house`. The house
//! runs each of the other services while the device is up and its state asks for it. Each of those follows
//! [`Device::changes`](crate::device::Device::changes): after each change it looks at the newest state, acts on that alone, and returns
//! when there is nothing more to do.

mod pairing;
mod readings;
mod script_start;
mod sd_log;

pub use self::pairing::end_pairing;
pub use self::readings::Readings;
pub use self::script_start::start_script;
pub use self::sd_log::{is_logging, log_to_sd};
