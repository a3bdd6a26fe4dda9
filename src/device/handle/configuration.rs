//! Changes of the configuration.

use std::convert::Infallible;

use super::Device;
use super::locks::NoLock;
use crate::device::config::table::{
    Accessor, SettingsObject, WriteContext, WriteMode, WriteOutcome,
};
use crate::device::core::ConfigChange;
use crate::device::{Config, View};
use crate::journal::{self, Event};
use crate::problem::Problem;

impl Device {
    /// Changes the configuration as a whole. `change` is given a copy, which is put in force only if
    /// `change` succeeds. It is called again, with a new copy, if the configuration was replaced in the
    /// meantime.
    ///
    /// # Errors
    /// The error of `change`; nothing has changed then.
    pub fn configure<T, E>(
        &self,
        mut change: impl FnMut(&mut Config) -> Result<T, E>,
    ) -> Result<T, E> {
        self.change_config(|view| {
            let mut config = Config::clone(&view.config);
            let result = change(&mut config)?;
            Ok((ConfigChange { config, pairing: view.pairing, events: Vec::new() }, result))
        })
    }

    /// Puts the configuration in force that `make` makes from the current one. `make` runs without the
    /// state lock, because reading a client's document takes long, and once more if its configuration
    /// is not the current one any more. Callers take turns at the edit lock, so only a factory reset, a
    /// reset of the house, a boot or a pairing can come in between.
    pub(super) fn change_config<T, E>(
        &self,
        mut make: impl FnMut(&View) -> Result<(ConfigChange, T), E>,
    ) -> Result<T, E> {
        // Whoever waits for the edit lock waits on a worker of the runtime. So no holder has much to
        // receive.
        drop(self.nearly_current_state(NoLock));
        let mut edit = self.locks.edit(NoLock);
        loop {
            let view = self.locks.state(&mut edit).view();
            let (change, result) = make(&view)?;
            let (mut state, _) = self.nearly_current_state(&mut edit);
            if !state.is_unchanged_since(&view) {
                continue;
            }
            let now = self.clock.now();
            let episodes = self.meter_episodes(now);
            let meter = self.meter_input(&episodes);
            let transition = state.change_config(&self.spec, change, meter, now);
            // The previous configuration is freed here, after the lock was released.
            drop(self.publish(state, transition));
            return Ok(result);
        }
    }

    /// Writes one object of the configuration, as a PUT or POST of its path does, and returns its new
    /// value. The journal gets the names of the changed fields, not their values.
    ///
    /// # Errors
    /// A problem for every field that was refused; nothing has changed then.
    pub fn write_object<T: Clone>(
        &self,
        object: &SettingsObject<T>,
        given: &serde_json::Value,
        mode: WriteMode,
    ) -> Result<T, Vec<Problem>> {
        let id = &self.spec.identity.id;
        let written = self.change_config(|view| {
            let before = &view.config;
            let ethernet_up = self.spec.site.ethernet_up(before);
            let context = WriteContext { id, ethernet_up };
            let current = (object.accessor.get)(before);
            let WriteOutcome { value, changed, unknown } =
                object.apply(current, given, mode, view.firmware, &context)?;
            let mut config = Config::clone(before);
            (object.accessor.get_mut)(&mut config).clone_from(&value);
            let ignored = (!unknown.is_empty()).then(|| Event::KeysIgnored {
                device: id.shared(),
                object: object.name,
                keys: unknown,
            });
            let changed = Event::SettingsChanged {
                device: id.shared(),
                object: object.name,
                fields: changed,
            };
            let events = ignored.into_iter().chain([changed]).collect();
            Ok((ConfigChange { config, pairing: view.pairing, events }, value))
        });
        written.inspect_err(|problems: &Vec<_>| self.record_refused_write(object.name, problems))
    }

    /// Replaces one part of the configuration, without the rules of a write. `name` is the name of the
    /// part in the journal.
    pub fn replace_part<T: Clone>(&self, name: &'static str, part: Accessor<Config, T>, value: &T) {
        let replaced: Result<(), Infallible> = self.change_config(|view| {
            let mut config = Config::clone(&view.config);
            (part.get_mut)(&mut config).clone_from(value);
            let (device, fields) = (self.spec.identity.id.shared(), Vec::new());
            let events = vec![Event::SettingsChanged { device, object: name, fields }];
            Ok((ConfigChange { config, pairing: view.pairing, events }, ()))
        });
        let Ok(()) = replaced;
    }

    /// Records a write that was refused, with the first field that has a problem.
    pub fn record_refused_write(&self, object: &'static str, problems: &[Problem]) {
        let field = problems.first().map_or_else(String::new, |problem| problem.path.clone());
        let field = journal::truncate_text(field);
        self.record(|device| Event::SettingsRefused { device, object, field });
    }
}
