//! The file descriptors of this process: as many as the system allows, and how many a house needs.

use std::error::Error;
use std::io;

use super::{StartError, shares_port};
use crate::limits;
use crate::scenario::{DevicePlan, ModbusBind, Scenario};

/// The error number of a process that has too many files open (EMFILE), on every Unix.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Descriptors of the smallest house with its async runtime, which panics without its own.
const MINIMUM: u64 = 16;

/// Raises the limit of this process as far as it may.
pub(crate) fn raise_limit() {
    // If the system refuses, the process goes on with the limit that it has.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Returns true if the limit of this process is too low for an async runtime.
pub(crate) fn are_too_few() -> bool {
    limit() < MINIMUM
}

/// Returns the limit of this process.
pub(super) fn limit() -> u64 {
    // Nothing is below the limit 0, so this raises nothing.
    rlimit::increase_nofile_limit(0).unwrap_or(u64::MAX)
}

/// Returns the number of descriptors that a house needs, with some for its connections.
pub(crate) fn needed(scenario: &Scenario) -> u64 {
    listeners(scenario) + limits::SPARE_DESCRIPTORS
}

/// Checks that this process may have the descriptors that a house takes at its start, before it takes one.
///
/// # Errors
/// Returns the lack of descriptors.
pub(super) fn check(scenario: &Scenario) -> Result<(), StartError> {
    if limit() < MINIMUM + listeners(scenario) {
        return Err(StartError::descriptors(needed(scenario)));
    }
    Ok(())
}

/// Returns the number of listeners of a house. Each takes one descriptor, open or closed.
fn listeners(scenario: &Scenario) -> u64 {
    let modbus = |plan: &&DevicePlan| match plan.modbus.bind {
        ModbusBind::AtStart => true,
        ModbusBind::WhenOn => plan.config.settings.services.modbus.enable,
    };
    let modbus = scenario.devices.iter().filter(modbus).count();
    let sharing = scenario.devices.iter().filter(|plan| shares_port(scenario, plan)).count();
    let shared_port = usize::from(sharing > 0);
    let peers = scenario.slaves.len() + scenario.http_targets.len();
    // The control plane has one, too.
    (1 + scenario.devices.len() - sharing + shared_port + modbus + peers) as u64
}

/// Returns the number of connections that a port which a fleet shares can serve at once: what the house does not
/// need otherwise.
pub(super) fn for_shared_port(scenario: &Scenario) -> usize {
    let publishers = scenario.devices.iter().filter(|plan| plan.config.mqtt.enable).count() as u64;
    let left = limit().saturating_sub(needed(scenario) + publishers);
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    left.clamp(limits::HTTP_CONNECTIONS, limits::SHARED_HTTP_CONNECTIONS)
}

/// Returns true if this error is, or comes from, a lack of descriptors.
pub(crate) fn are_exhausted(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        let system = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        cfg!(unix) && system == Some(TOO_MANY_OPEN_FILES)
    })
}
