//! Changes of the configuration, and the WPS pairing that ends in one.

use std::sync::Arc;

use super::{DeviceSpec, DeviceState, MeterInput, Transition};
use crate::clock::VirtualTime;
use crate::device::actions::Definition;
use crate::device::config::WifiSettings;
use crate::device::network::Pairing;
use crate::device::{Config, View};
use crate::journal::Event;

/// A change of the configuration that is ready to be put in force.
#[derive(Debug)]
pub(in crate::device) struct ConfigChange {
    /// The configuration after the change.
    pub config: Config,
    /// The pairing in progress after the change, unless the change ends it with other Wi-Fi settings.
    pub pairing: Option<Pairing>,
    /// The events for the journal.
    pub events: Vec<Event>,
}

/// The parts of the state that a transition replaced. They may be large, so the handle frees them after
/// it has released its lock.
#[derive(Debug)]
pub(in crate::device) struct ReplacedParts {
    _config: Arc<Config>,
    _definition: Option<Arc<Definition>>,
}

impl ConfigChange {
    /// Returns the change that ends `pairing`: the network of the router if it took part; else the
    /// settings as they were, or Wi-Fi off if the device was an access point (documented). `None` if
    /// this pairing is not in progress in `view`.
    pub(in crate::device) fn end_of_pairing(
        spec: &DeviceSpec,
        view: &View,
        pairing: Pairing,
    ) -> Option<Self> {
        if view.pairing != Some(pairing) {
            return None;
        }
        let (_, paired) = pairing.end(&spec.site);
        let mut config = Config::clone(&view.config);
        match spec.site.wps.as_ref().filter(|_| paired) {
            Some(router) => {
                config.wifi = WifiSettings {
                    enable: true,
                    name: router.network.clone(),
                    password: router.password.clone(),
                    max_tx_power: config.wifi.max_tx_power,
                    ..WifiSettings::default()
                };
            }
            None => config.wifi.access_point = false,
        }
        let outcome = if paired { "paired" } else { "timed out" };
        Some(Self { config, pairing: None, events: vec![pairing_event(spec, outcome)] })
    }
}

impl DeviceState {
    /// Returns `true` if a change that was made from `view` may be put in force.
    pub(in crate::device) fn is_unchanged_since(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.config, &view.config)
            && (self.firmware, self.pairing) == (view.firmware, view.pairing)
    }

    /// Puts a changed configuration in force at `now`.
    pub(in crate::device) fn change_config(
        &mut self,
        spec: &DeviceSpec,
        change: ConfigChange,
        meter: MeterInput<'_>,
        now: VirtualTime,
    ) -> Transition<ReplacedParts> {
        self.pairing = change.pairing;
        let (config, abandoned) = self.replace_config(spec, change.config, meter, now);
        let events = match abandoned {
            None => change.events,
            Some(event) => std::iter::once(event).chain(change.events).collect(),
        };
        let outcome = ReplacedParts { _config: config, _definition: None };
        Transition { outcome, events, counts: true }
    }

    /// Restores the factory settings `factory`: configuration, actions and script. The firmware, the
    /// identity and the SD card stay. A reboot is to follow.
    pub(in crate::device) fn restore_factory_settings(
        &mut self,
        spec: &DeviceSpec,
        factory: Config,
        meter: MeterInput<'_>,
        now: VirtualTime,
    ) -> Transition<ReplacedParts> {
        let (config, abandoned) = self.replace_config(spec, factory, meter, now);
        let definition = self.definition.take();
        let restored = Event::FactoryReset { device: spec.identity.id.shared() };
        Transition {
            outcome: ReplacedParts { _config: config, _definition: definition },
            events: abandoned.into_iter().chain([restored]).collect(),
            counts: true,
        }
    }

    /// Replaces the configuration, and returns the previous one and the event of a pairing that this
    /// ended: other Wi-Fi settings end it. All telegrams up to `now` are received with the keys of the
    /// previous configuration first, and a script whose time has come under it no longer starts by itself.
    fn replace_config(
        &mut self,
        spec: &DeviceSpec,
        config: Config,
        meter: MeterInput<'_>,
        now: VirtualTime,
    ) -> (Arc<Config>, Option<Event>) {
        self.receive(meter, now);
        self.script.start_decided = self.is_script_start_decided(now);
        let ends_pairing = config.wifi != self.config.wifi && self.pairing.take().is_some();
        let abandoned = ends_pairing.then(|| pairing_event(spec, "given up"));
        (std::mem::replace(&mut self.config, Arc::new(config)), abandoned)
    }

    /// Opens the window of a WPS pairing. A window that is open begins again.
    pub(in crate::device) fn start_pairing(
        &mut self,
        spec: &DeviceSpec,
        now: VirtualTime,
    ) -> Transition<(), Option<Event>> {
        self.pairing = Some(Pairing { since: now });
        Transition::counted((), pairing_event(spec, "started"))
    }
}

fn pairing_event(spec: &DeviceSpec, outcome: &'static str) -> Event {
    Event::WpsPairing { device: spec.identity.id.shared(), outcome }
}
