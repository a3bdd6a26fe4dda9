//! Views of the parts of a running house, for tests.
//!
//! Their assertions say on a failure what the journal has about the part, because that is where the reason
//! stands.

use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::{House, excerpt};
use crate::decimal::Decimal;
use crate::device::CallRefusal;
#[cfg(feature = "internals")]
use crate::device::Device;
use crate::device::actions::RequestStatus;
use crate::device::sd::SdPath;
use crate::modbus::bank::Table;
use crate::net::sockets::reachable_address;
use crate::peers::{ReceivedHttpRequest, Slave, Target};
use crate::runtime::DeviceRuntime;

/// A device of a running house.
#[derive(Clone, Copy)]
pub struct DeviceView<'h> {
    house: &'h House,
    runtime: &'h Arc<DeviceRuntime>,
}

impl<'h> DeviceView<'h> {
    pub(super) fn new(house: &'h House, runtime: &'h Arc<DeviceRuntime>) -> Self {
        Self { house, runtime }
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &'h str {
        self.runtime.device.identity().id.as_str()
    }

    /// Returns the address of the API.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        reachable_address(self.runtime.http.address())
    }

    /// Returns the URL of the API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.runtime.http.url()
    }

    /// Calls an action, as a client of the API does, and returns its status ids. On a manual clock,
    /// requests without a delay end with the next movement, `advance(Duration::ZERO)` included.
    ///
    /// # Errors
    /// The refusal with which the API replies.
    pub fn call(&self, action: &str) -> Result<Vec<u64>, CallRefusal> {
        let run = self.runtime.device.call(action)?;
        let ids = run.requests.iter().map(|(ticket, _)| ticket.id()).collect();
        self.runtime.start_run(run);
        Ok(ids)
    }

    /// Returns the entries of these status ids in the given order, without the unknown ones.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<RequestStatus> {
        self.runtime.device.status(ids)
    }

    /// Returns the imported minus the exported active power in kW, as the device reports it now. `None`
    /// before the first reading, and if the meter does not send it.
    #[must_use]
    pub fn active_power(&self) -> Option<f64> {
        self.runtime.device.snapshot().active_power(0).map(Decimal::to_f64)
    }

    /// Returns the content of a file on the SD card. `None` if there is no card, or no such file.
    pub async fn sd_file(&self, path: &str) -> Option<Vec<u8>> {
        let path = SdPath::parse(path).ok()?;
        let mut reader = self.runtime.device.sd()?.read(&path).await.ok()?;
        let mut content = Vec::new();
        while let Some(chunk) = reader.next_chunk().await.ok()? {
            content.extend_from_slice(&chunk);
        }
        Some(content)
    }

    /// Asserts that the requests with these status ids have ended with these result codes.
    ///
    /// # Panics
    /// If one has not ended, or with another code.
    #[track_caller]
    pub fn assert_codes(&self, ids: &[u64], expected: &[i32]) {
        let status = self.status(ids);
        let ended = status.iter().all(|entry| !entry.exe_time.is_zero());
        let codes: Vec<i32> = status.iter().map(|entry| entry.code).collect();
        if !ended || codes != expected {
            let state = if ended { "" } else { ", not all of them ended" };
            let journal = excerpt(self.house, &[("device", self.id())]);
            panic!("codes of {ids:?}: {codes:?}{state}, expected {expected:?}{journal}");
        }
    }
}

#[cfg(feature = "internals")]
impl Deref for DeviceView<'_> {
    type Target = Arc<Device>;

    fn deref(&self) -> &Arc<Device> {
        &self.runtime.device
    }
}

impl Debug for DeviceView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceView").field(&self.id()).finish()
    }
}

/// A slave of a running house. The methods without a unit go to its unit with the lowest id. It also has the
/// methods of [`modbus::slave::Slave`](crate::modbus::slave::Slave), as `peek`, `poke` and `writes`.
#[derive(Clone, Copy)]
pub struct SlaveView<'h> {
    house: &'h House,
    slave: &'h Arc<Slave>,
    unit: u8,
}

impl<'h> SlaveView<'h> {
    pub(super) fn new(house: &'h House, slave: &'h Arc<Slave>) -> Self {
        let unit = slave.units().next().unwrap_or_default();
        Self { house, slave, unit }
    }

    /// Returns the view of another unit.
    ///
    /// # Panics
    /// If there is no such unit.
    #[must_use]
    #[track_caller]
    pub fn unit(self, unit: u8) -> Self {
        let units: Vec<u8> = self.slave.units().collect();
        assert!(
            units.contains(&unit),
            "slave `{}` has no unit {unit}; it has {units:?}",
            self.name()
        );
        Self { unit, ..self }
    }

    /// Returns a holding register as a client would read it now.
    ///
    /// # Panics
    /// If there is no such register.
    #[must_use]
    #[track_caller]
    pub fn holding(&self, address: u16) -> u16 {
        self.read(Table::HoldingRegisters, address)
    }

    /// Returns an input register as a client would read it now.
    ///
    /// # Panics
    /// If there is no such register.
    #[must_use]
    #[track_caller]
    pub fn input(&self, address: u16) -> u16 {
        self.read(Table::InputRegisters, address)
    }

    /// Returns a coil as a client would read it now.
    ///
    /// # Panics
    /// If there is no such coil.
    #[must_use]
    #[track_caller]
    pub fn coil(&self, address: u16) -> bool {
        self.read(Table::Coils, address) != 0
    }

    /// Sets a holding register, regardless of the access of clients.
    ///
    /// # Panics
    /// If there is no such register, or if it cannot be set.
    #[track_caller]
    pub fn set_holding(&self, address: u16, value: u16) {
        let table = Table::HoldingRegisters;
        if let Err(error) = self.slave.poke(self.unit, table, address, &[value]) {
            panic!("slave `{}`: {error}", self.name());
        }
    }

    /// Asserts the value of a holding register.
    ///
    /// # Panics
    /// If the register has another value, or does not exist.
    #[track_caller]
    pub fn assert_holding(&self, address: u16, expected: u16) {
        let value = self.holding(address);
        if value != expected {
            let (name, unit) = (self.name(), self.unit);
            let journal = excerpt(self.house, &[("slave", name)]);
            panic!(
                "slave `{name}`, unit {unit}, holding register {address}: {value}, expected {expected}{journal}"
            );
        }
    }

    #[track_caller]
    fn read(&self, table: Table, address: u16) -> u16 {
        let words = self.slave.peek(self.unit, table, address, 1);
        let Some(word) = words.and_then(|words| words.first().copied()) else {
            let (name, unit, table) = (self.name(), self.unit, table.name());
            panic!("slave `{name}`, unit {unit} has no {table} {address}")
        };
        word
    }
}

impl Deref for SlaveView<'_> {
    type Target = Arc<Slave>;

    fn deref(&self) -> &Arc<Slave> {
        self.slave
    }
}

impl Debug for SlaveView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SlaveView").field(&self.name()).field(&self.unit).finish()
    }
}

/// An HTTP target of a running house.
#[derive(Clone, Copy)]
pub struct TargetView<'h> {
    house: &'h House,
    target: &'h Arc<Target>,
}

impl<'h> TargetView<'h> {
    pub(super) fn new(house: &'h House, target: &'h Arc<Target>) -> Self {
        Self { house, target }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'h str {
        self.target.name()
    }

    /// Returns the URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.target.url()
    }

    /// Returns the newest requests that the target received, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedHttpRequest> {
        self.target.received_requests()
    }

    /// Asserts that the target received these requests, each as `METHOD path`.
    ///
    /// # Panics
    /// If it received others.
    #[track_caller]
    pub fn assert_requests(&self, expected: &[&str]) {
        let line = |request: ReceivedHttpRequest| format!("{} {}", request.method, request.path);
        let received: Vec<String> = self.requests().into_iter().map(line).collect();
        if received != expected {
            let journal = excerpt(self.house, &[("target", self.name())]);
            panic!("target `{}`: {received:?}, expected {expected:?}{journal}", self.name());
        }
    }
}

#[cfg(feature = "internals")]
impl Deref for TargetView<'_> {
    type Target = Arc<Target>;

    fn deref(&self) -> &Arc<Target> {
        self.target
    }
}

impl Debug for TargetView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetView").field(&self.name()).finish()
    }
}
