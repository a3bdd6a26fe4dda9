//! The device's network and plugs, and the WPS pairing.

use std::sync::atomic::Ordering;

use super::Device;
use crate::decimal::Decimal;
use crate::device::core::ConfigChange;
use crate::device::network::{NetworkInputs, NetworkState, Pairing, ScanResult};
use crate::device::plug::PlugVoltages;
use crate::device::{Snapshot, View};

impl Device {
    /// Returns the network as it is in `snapshot`.
    #[must_use]
    pub fn network(&self, snapshot: &Snapshot) -> NetworkState {
        self.network_inputs(&snapshot.view).state(self.meter.interface(), snapshot.now)
    }

    /// Returns `true` if the device has a network in `view`, by cable or by Wi-Fi.
    #[must_use]
    pub fn is_online(&self, view: &View) -> bool {
        self.spec.site.ethernet_up(&view.config) || self.network_inputs(view).wifi_connects()
    }

    fn network_inputs<'a>(&'a self, view: &'a View) -> NetworkInputs<'a> {
        NetworkInputs {
            id: &self.spec.identity.id,
            site: &self.spec.site,
            seed: self.spec.seed,
            config: &view.config,
            pairing: view.pairing.is_some(),
            weak: self.weak_wifi.load(Ordering::Acquire),
        }
    }

    /// Sets whether the Wi-Fi networks around the device are weaker than the scenario says (HOUSE-7).
    pub fn set_weak_wifi(&self, weak: bool) {
        self.weak_wifi.store(weak, Ordering::Release);
    }

    /// Returns the voltages on the plugs as they are in `snapshot`, with that of the supercapacitor if it is
    /// modelled.
    #[must_use]
    pub fn plug_voltages(
        &self,
        snapshot: &Snapshot,
        supercapacitor_volts: Option<f64>,
    ) -> PlugVoltages {
        let (id, site) = (&self.spec.identity.id, &self.spec.site);
        let interface = self.meter.interface();
        let voltages = PlugVoltages::new(snapshot, interface, id, site, self.spec.seed);
        match supercapacitor_volts {
            Some(volts) => PlugVoltages { scap: Decimal::from_f64(volts, 3), ..voltages },
            None => voltages,
        }
    }

    /// Returns the Wi-Fi networks that a scan finds now, the strongest first.
    #[must_use]
    pub fn scan(&self) -> Vec<ScanResult> {
        self.network_inputs(&self.view()).scan(self.clock.now())
    }

    /// Opens the window of a WPS pairing. A window that is open begins again.
    pub fn start_pairing(&self) {
        let mut state = self.state();
        let transition = state.start_pairing(&self.spec, self.clock.now());
        self.publish(state, transition);
    }

    /// Ends `pairing` if it is still in progress: with the router's network if the router took part;
    /// else with the settings as they were, or with Wi-Fi off if the device was an access point
    /// (documented).
    pub fn end_pairing(&self, pairing: Pairing) {
        // If the pairing is over already, so is this.
        let _: Result<(), ()> = self.change_config(|view| {
            ConfigChange::end_of_pairing(&self.spec, view, pairing).map(|end| (end, ())).ok_or(())
        });
    }
}
