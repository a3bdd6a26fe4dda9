//! The handle over one device: a short lock, and tickets that cannot be lost.

use parking_lot::{Mutex, MutexGuard};
use std::convert::Infallible;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::actions::{
    Action, ActionRequest, AdmissionRefusal, Capacity, Definition, Queue, RequestStatus,
};
use super::config::WifiSettings;
use super::config::table::{Applied, Lens, Object, Write, WriteContext};
use super::network::{Neighbourhood, NetworkState, Pairing, Sighting, Site};
use super::plug::PlugVoltages;
use super::power::{self, Charge};
use super::script::{Console, ScriptState};
use super::sd::SdCard;
use super::watermark::Watermark;
use super::{AccessPolicy, Boot, Config, Firmware, Hardware, Identity, Power, Resumed, Snapshot};
use crate::clock::{Clock, VirtualTime};
use crate::decimal::Decimal;
use crate::fault::{ActionCall, Engine};
use crate::journal::{self, Event, Journal};
use crate::limits;
use crate::meter::{Meter, MeterPlan, ReceptionCursor};
use crate::problem::Problem;

/// How a device's actions behave where the vendor leaves a choice (ACTION-13, ACTION-14, ACTION-17,
/// ACTION-22, RESULT-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionPolicy {
    /// How a call is answered.
    pub call_route: CallRoute,
    /// What happens to a call with fewer free places than requests.
    pub admission: Admission,
    /// How the requests of one action run.
    pub execution: Execution,
    /// The first status id; counting begins at 1 where none.
    pub first_status_id: Option<u64>,
    /// Whether an HTTP request without response ends with 0, as in the device's script client, in
    /// place of the Modbus family's negative codes.
    pub http_failure_is_zero: bool,
}

impl ActionPolicy {
    /// The status id of the first request.
    #[must_use]
    pub fn first_status_id(&self) -> u64 {
        self.first_status_id.unwrap_or(*limits::FIRST_STATUS_ID.start())
    }
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CallRoute {
    /// `Location`, no body.
    #[default]
    Page,
    /// `{"status_ids": […]}`.
    Rest,
}

/// What happens to a call with fewer free places than requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// As many as fit are queued, the rest is dropped.
    #[default]
    Fit,
    /// All or nothing.
    All,
}

/// How the requests of one action run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Execution {
    /// One after another, in the order written.
    #[default]
    Sequential,
    /// Beside each other.
    Parallel,
}

/// Why a call was refused (`docs/device/actions.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// 404.
    #[error("no such action")]
    Unknown,
    /// 400.
    #[error("the action is disabled")]
    Disabled,
    /// 400.
    #[error("the action has no enabled request")]
    NothingEnabled,
    /// 409.
    #[error("the action is already executing")]
    Busy,
    /// 429.
    #[error("too many requests in progress")]
    Full,
}

impl CallRefused {
    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Disabled | Self::NothingEnabled => 400,
            Self::Busy => 409,
            Self::Full => 429,
        }
    }

    /// The reason, as the journal has it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::NothingEnabled => "nothing enabled",
            Self::Busy => "busy",
            Self::Full => "full",
        }
    }
}

/// A device as it comes up for the first time.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Who it is.
    pub identity: Identity,
    /// How its actions behave.
    pub actions: ActionPolicy,
    /// The actions it starts with.
    pub definition: Option<Arc<Definition>>,
    /// What it is set to.
    pub config: Arc<Config>,
    /// Who gets in.
    pub access: AccessPolicy,
    /// Its meter.
    pub meter: MeterPlan,
    /// What it is plugged into and what is around it.
    pub site: Site,
    /// What it is built of.
    pub hardware: Hardware,
    /// What all its randomness comes from.
    pub seed: u64,
    /// Where it goes on from; none where it comes up for the first time.
    pub resumed: Option<Resumed>,
    /// The directory that is its SD card; in memory where none.
    pub sd_dir: Option<PathBuf>,
}

impl Setup {
    /// A device out of the box.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        Self {
            actions: ActionPolicy::default(),
            definition: None,
            config: Arc::new(Config::factory(&identity.id)),
            access: AccessPolicy::default(),
            meter: MeterPlan::default(),
            site: Site::default(),
            hardware: Hardware::default(),
            seed: 0,
            resumed: None,
            sd_dir: None,
            identity,
        }
    }
}

/// What a device is at one moment, its meter aside; cheap to take.
#[derive(Debug, Clone)]
pub struct View {
    /// What it is set to.
    pub config: Arc<Config>,
    /// The firmware it runs.
    pub firmware: Firmware,
    /// Since when and under which number it has been up.
    pub boot: Boot,
    /// The WPS pairing under way.
    pub pairing: Option<Pairing>,
}

/// A device of the house.
#[derive(Debug)]
pub struct Device {
    pub(super) identity: Identity,
    settings: ActionPolicy,
    access: AccessPolicy,
    hardware: Hardware,
    initial: Initial,
    pub(super) meter: Meter,
    site: Site,
    sd: Option<SdCard>,
    console: Console,
    seed: u64,
    pub(super) clock: Clock,
    pub(super) engine: Arc<Engine>,
    journal: Arc<Journal>,
    // Held for some hundred nanoseconds (docs/architecture.md) and never across an await. The rules are
    // asked and the journal is written meanwhile, so that both know the order in which things happened,
    // and whoever sees a final status finds it in the journal. Neither of them ever calls a device.
    state: Mutex<DeviceState>,
    /// Held by the one who brings the link up over a long way; taken before the state, never after it.
    pub(super) turn: Mutex<()>,
    /// Held by the one who changes the configuration, so that no two make their changes from the same
    /// one; taken before `turn` and the state.
    changing: Mutex<()>,
    /// Counts the changes of what lasts: configuration, actions, firmware, boots.
    changes: watch::Sender<u64>,
    /// Whether its MQTT client has a broker, as that client says.
    broker: AtomicBool,
    /// The count of them that is known to outlive the process; none where nothing does.
    kept: Watermark,
    /// The count of them that its Modbus server's listener follows.
    modbus_followed: Watermark,
}

/// What a reset goes back to.
#[derive(Debug)]
struct Initial {
    definition: Option<Arc<Definition>>,
    config: Arc<Config>,
}

#[derive(Debug)]
pub(super) struct DeviceState {
    pub(super) definition: Option<Arc<Definition>>,
    pub(super) config: Arc<Config>,
    pub(super) firmware: Firmware,
    pub(super) boot: Boot,
    pub(super) power: Power,
    /// Whether it reboots as soon as a reply is out.
    pub(super) leaving: bool,
    /// The firmware that it comes up with, where that is another one.
    pub(super) upgrade: Option<Firmware>,
    /// Whether it has no network until its next start (`services.sd.recorder_mode`).
    pub(super) offline: bool,
    pub(super) charge: Charge,
    /// What became of the Berry script since the boot.
    pub(super) script: ScriptState,
    /// How far it has come in listening to its meter.
    pub(super) link: ReceptionCursor,
    /// A WPS pairing belongs to the boot it was started in: whatever begins a new one ends it.
    pub(super) pairing: Option<Pairing>,
    pub(super) queue: Queue,
    /// Counts the resets and reboots; what comes from before one is discarded.
    pub(super) epoch: u64,
}

/// A change of the configuration that is ready to be put in force.
struct ConfigChange {
    config: Config,
    /// The pairing under way then.
    pairing: Option<Pairing>,
    /// What the journal is told.
    told: Vec<Event>,
}

impl DeviceState {
    fn new(
        initial: &Initial,
        identity: &Identity,
        settings: ActionPolicy,
        seed: u64,
        epoch: u64,
    ) -> Self {
        Self {
            definition: initial.definition.clone(),
            config: Arc::clone(&initial.config),
            firmware: identity.firmware,
            boot: Boot::first(&identity.id, seed),
            power: Power::Up,
            leaving: false,
            upgrade: None,
            offline: false,
            charge: Charge::default(),
            script: ScriptState::default(),
            link: ReceptionCursor::new(VirtualTime::ZERO),
            pairing: None,
            queue: Queue::new(settings.first_status_id()),
            epoch,
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            config: Arc::clone(&self.config),
            firmware: self.firmware,
            boot: self.boot,
            pairing: self.pairing,
        }
    }

    /// Whether a change that was made from `view` may be put in force.
    fn is_still(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.config, &view.config)
            && (self.firmware, self.pairing) == (view.firmware, view.pairing)
    }
}

impl Device {
    /// A device as it comes up.
    #[must_use]
    pub fn new(
        setup: Setup,
        clock: Clock,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
    ) -> Arc<Self> {
        let Setup {
            identity,
            actions: settings,
            definition,
            config,
            access,
            meter,
            site,
            hardware,
            seed,
            resumed,
            sd_dir,
        } = setup;
        let meter = Meter::new(&meter, seed, identity.id.as_str(), clock.civil(VirtualTime::ZERO));
        let initial = Initial { definition, config };
        let mut state = DeviceState::new(&initial, &identity, settings, seed, 0);
        match resumed {
            Some(resumed) => {
                resumed.apply(&mut state, &identity.id, seed, &meter, clock.now());
            }
            None => state.offline = power::records_alone(&state.config, state.firmware, &site),
        }
        let state = Mutex::new(state);
        let sd = hardware.sd_card.clone().map(|plan| SdCard::new(plan, sd_dir));
        let (changes, kept) = (watch::Sender::new(0), Watermark::default());
        Arc::new(Self {
            identity,
            settings,
            access,
            hardware,
            initial,
            meter,
            site,
            sd,
            console: Console::default(),
            seed,
            clock,
            engine,
            journal,
            state,
            turn: Mutex::default(),
            changing: Mutex::default(),
            changes,
            broker: AtomicBool::new(false),
            kept,
            modbus_followed: Watermark::default(),
        })
    }

    /// Who it is; the firmware is the one it first came up with, see [`View::firmware`].
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it is plugged into and what is around it.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// How its actions behave.
    #[must_use]
    pub fn action_policy(&self) -> ActionPolicy {
        self.settings
    }

    /// Who gets in.
    #[must_use]
    pub fn access(&self) -> &AccessPolicy {
        &self.access
    }

    /// What it is built of.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// Its SD card; none where the slot is empty.
    #[must_use]
    pub fn sd(&self) -> Option<&SdCard> {
        self.sd.as_ref()
    }

    /// Where its script prints.
    pub(super) fn console(&self) -> &Console {
        &self.console
    }

    /// The house's clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The house's log of decisions.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether its MQTT client is connected to a broker.
    #[must_use]
    pub fn broker_connected(&self) -> bool {
        self.broker.load(Ordering::Acquire)
    }

    /// Said by the MQTT client, with each change.
    pub fn set_broker_connected(&self, connected: bool) {
        self.broker.store(connected, Ordering::Release);
    }

    /// Tells the journal of something that a surface did.
    pub fn tell(&self, event: impl FnOnce(Arc<str>) -> Event) {
        self.journal.record(event(self.identity.id.shared()));
    }

    /// Up to which count of changes everything outlives the process.
    pub(super) fn persisted_watermark(&self) -> &Watermark {
        &self.kept
    }

    pub(super) fn modbus_watermark(&self) -> &Watermark {
        &self.modbus_followed
    }

    /// What all its randomness comes from.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// What it is at this moment, its meter aside.
    #[must_use]
    pub fn view(&self) -> View {
        self.state().view()
    }

    /// Its network as it is in `snapshot`.
    #[must_use]
    pub fn network(&self, snapshot: &Snapshot) -> NetworkState {
        let plug = self.meter.interface();
        NetworkState::of(snapshot, plug, &self.identity.id, &self.site, self.seed)
    }

    /// Whether it has a network, by cable or not, as it is in `view`.
    #[must_use]
    pub fn is_online(&self, view: &View) -> bool {
        let (id, site, wifi) = (&self.identity.id, &self.site, &view.config.wifi);
        site.ethernet_up(&view.config)
            || Neighbourhood { id, site, seed: self.seed, wifi }.lets_in(view.pairing.is_some())
    }

    /// The voltages on its plugs as they are in `snapshot`.
    #[must_use]
    pub fn plug_voltages(&self, snapshot: &Snapshot) -> PlugVoltages {
        let plug = PlugVoltages::of(
            snapshot,
            self.meter.interface(),
            &self.identity.id,
            &self.site,
            self.seed,
        );
        match self.v_scap() {
            Some(volts) => PlugVoltages { scap: Decimal::from_f64(volts, 3), ..plug },
            None => plug,
        }
    }

    /// What a scan for Wi-Fi networks finds at this moment, the strongest first.
    #[must_use]
    pub fn scan(&self) -> Vec<Sighting> {
        let (id, site, seed) = (&self.identity.id, &self.site, self.seed);
        let wifi = &self.view().config.wifi;
        Neighbourhood { id, site, seed, wifi }.scan(self.clock.now())
    }

    /// Opens the window of a WPS pairing, anew where one is open.
    pub fn start_pairing(&self) {
        let mut state = self.state();
        state.pairing = Some(Pairing { since: self.clock.now() });
        self.pairing_told("started");
        self.changed(state);
    }

    /// Ends `pairing` where it is still under way: with the router's network where that took part,
    /// else with the earlier settings, or with Wi-Fi off where the device was an access point
    /// (documented).
    pub fn end_pairing(&self, pairing: Pairing) {
        let (_, paired) = pairing.end(&self.site);
        let device = || self.identity.id.shared();
        let outcome = if paired { "paired" } else { "timed out" };
        // Where it is over by now, so is this.
        let _: Result<(), ()> = self.change(|view| {
            if view.pairing != Some(pairing) {
                return Err(());
            }
            let mut config = Config::clone(&view.config);
            match self.site.wps.as_ref().filter(|_| paired) {
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
            let told = vec![Event::Wps { device: device(), outcome }];
            Ok((ConfigChange { config, pairing: None, told }, ()))
        });
    }

    fn pairing_told(&self, outcome: &'static str) {
        self.journal.record(Event::Wps { device: self.identity.id.shared(), outcome });
    }

    /// Changes the configuration as a whole: `change` is given a copy, which comes into force only
    /// where it succeeds; another one where a restore or a reset came between.
    ///
    /// # Errors
    /// What `change` says, with nothing changed.
    pub fn configure<T, E>(
        &self,
        mut change: impl FnMut(&mut Config) -> Result<T, E>,
    ) -> Result<T, E> {
        self.change(|view| {
            let mut config = Config::clone(&view.config);
            let result = change(&mut config)?;
            Ok((ConfigChange { config, pairing: view.pairing, told: Vec::new() }, result))
        })
    }

    /// Puts a configuration in force that is made from the one before. It is made without the device's
    /// lock, and made anew where that is not the one in force any more: who changes the configuration
    /// waits for their turn, so that only a restore, a reset, a boot or a pairing can come between.
    fn change<T, E>(
        &self,
        mut make: impl FnMut(&View) -> Result<(ConfigChange, T), E>,
    ) -> Result<T, E> {
        let _turn = self.changing.lock();
        loop {
            let view = self.view();
            let (ConfigChange { config, pairing, told }, result) = make(&view)?;
            let (mut state, _) = self.caught_up();
            if !state.is_still(&view) {
                continue;
            }
            state.pairing = pairing;
            self.put_in_force(&mut state, config);
            for event in told {
                self.journal.record(event);
            }
            // The configuration before is freed with the view, without the lock.
            self.changed(state);
            return Ok(result);
        }
    }

    /// Every change of the configuration goes this way.
    pub(super) fn put_in_force(&self, state: &mut DeviceState, config: Config) {
        // What the meter said up to now was read with the keys of the old one.
        self.follow(state, self.clock.now());
        // Other settings of Wi-Fi put an end to a pairing.
        if config.wifi != state.config.wifi && state.pairing.take().is_some() {
            self.pairing_told("given up");
        }
        state.config = Arc::new(config);
    }

    /// Writes one object of the configuration, as a PUT or POST of its path does, and returns what it
    /// is then. The journal is told, without values.
    ///
    /// # Errors
    /// Every field that was refused, with nothing changed.
    pub fn write<T: Clone>(
        &self,
        object: &Object<T>,
        given: &serde_json::Value,
        write: Write,
    ) -> Result<T, Vec<Problem>> {
        let written = self.change(|view| {
            let before = &view.config;
            let around =
                WriteContext { before: Some(before), id: &self.identity.id, site: &self.site };
            let now = (object.of.get)(before);
            let Applied { value, changed, unknown } =
                object.apply(now, given, write, view.firmware, &around)?;
            let mut config = Config::clone(before);
            (object.of.get_mut)(&mut config).clone_from(&value);
            let (device, object) = (|| self.identity.id.shared(), object.name);
            let ignored = (!unknown.is_empty()).then(|| Event::KeysIgnored {
                device: device(),
                object,
                keys: unknown,
            });
            let changed = Event::SettingsChanged { device: device(), object, fields: changed };
            let told = ignored.into_iter().chain([changed]).collect();
            Ok((ConfigChange { config, pairing: view.pairing, told }, value))
        });
        written.inspect_err(|errors: &Vec<_>| self.write_refused(object.name, errors))
    }

    /// Puts another value in place of one part of the configuration, which `name` is what the journal
    /// calls; the rules of a write do not hold here.
    pub fn replace_part<T: Clone>(&self, name: &'static str, part: Lens<Config, T>, value: &T) {
        let changed: Result<(), Infallible> = self.change(|view| {
            let mut config = Config::clone(&view.config);
            (part.get_mut)(&mut config).clone_from(value);
            let (device, fields) = (self.identity.id.shared(), Vec::new());
            let told = vec![Event::SettingsChanged { device, object: name, fields }];
            Ok((ConfigChange { config, pairing: view.pairing, told }, ()))
        });
        // It cannot fail.
        let Ok(()) = changed;
    }

    /// Tells the journal of a write that changed nothing.
    pub fn write_refused(&self, object: &'static str, errors: &[Problem]) {
        let field = errors.first().map_or_else(String::new, |error| error.path.clone());
        let (device, field) = (self.identity.id.shared(), journal::truncate_text(field));
        self.journal.record(Event::SettingsRefused { device, object, field });
    }

    /// Counts the changes of what lasts (configuration, actions, firmware, boots), as a value that
    /// can be waited on: what has to follow them, a listener or a connection to a broker, looks at
    /// [`Device::view`] after each and acts on the newest state alone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Counts a change, and lets go of the state only then: nobody acts on a change that does not
    /// count yet, and so is not waited for where it is to be kept.
    pub(super) fn changed(&self, state: MutexGuard<'_, DeviceState>) {
        self.changes.send_modify(|count| *count += 1);
        drop(state);
    }

    /// The action definition in force; none where none was set or it was deleted.
    #[must_use]
    pub fn definition(&self) -> Option<Arc<Definition>> {
        self.state().definition.clone()
    }

    /// Replaces the action definition. Requests under way go on with the one they began with.
    pub fn store(&self, definition: Arc<Definition>) {
        let actions = definition.actions().len();
        let device = self.identity.id.shared();
        self.replace(Some(definition), Event::DefinitionStored { device, actions });
    }

    /// Deletes the action definition. Requests under way go on.
    pub fn delete_definition(&self) {
        let device = self.identity.id.shared();
        self.replace(None, Event::DefinitionDeleted { device });
    }

    fn replace(&self, definition: Option<Arc<Definition>>, event: Event) {
        let mut state = self.state();
        let replaced = std::mem::replace(&mut state.definition, definition);
        self.journal.record(event);
        self.changed(state);
        // Freed only now, as it may be large.
        drop(replaced);
    }

    /// Calls an action: all checks in their documented order, and the admission, as one step.
    ///
    /// # Errors
    /// [`CallRefused`], with nothing changed.
    pub fn call(self: &Arc<Self>, id: &str) -> Result<Run, CallRefused> {
        let mut state = self.state();
        let Some(definition) = state.definition.clone() else {
            return Err(self.refused(id, CallRefused::Unknown));
        };
        let Some(action) = definition.action(id) else {
            return Err(self.refused(id, CallRefused::Unknown));
        };
        let reserved = state.queue.reserved();
        let ids =
            self.admit(&mut state.queue, action).map_err(|refused| self.refused(id, refused))?;
        let status_ids: Vec<u64> = ids.clone().collect();
        let dropped = action.enabled().count() - status_ids.len();
        let more = state.queue.reserved() != reserved;
        self.journal.record(Event::CallAdmitted {
            device: self.identity.id.shared(),
            action: Arc::clone(&action.id),
            status_ids,
            dropped,
        });
        let epoch = state.epoch;
        // Before there is a ticket: dropping one takes the lock.
        if more {
            // No caller is told of ids that a killed process would give out once more.
            self.changed(state);
        } else {
            drop(state);
        }
        let name = Arc::clone(&action.id);
        let ticket = |id| Ticket {
            device: Arc::clone(self),
            action: Arc::clone(&name),
            epoch,
            id,
            finished: false,
        };
        let requests = ids.map(ticket).zip(action.enabled().cloned()).collect();
        Ok(Run { definition, action: name, requests, dropped })
    }

    /// The checks of a known action, and its admission. The rules are asked here, so that a call of
    /// an unknown action counts for none of them.
    fn admit(&self, queue: &mut Queue, action: &Action) -> Result<Range<u64>, CallRefused> {
        let call = ActionCall { device: self.identity.id.as_str(), action: &action.id };
        let verdict = self.engine.admission(&call);
        if verdict.disabled || !action.enable {
            return Err(CallRefused::Disabled);
        }
        let wanted = action.enabled().count();
        if wanted == 0 {
            return Err(CallRefused::NothingEnabled);
        }
        let capacity = Capacity {
            limit: verdict.limit.saturating_sub(verdict.occupied),
            all_or_nothing: self.settings.admission == Admission::All,
        };
        queue.admit(&action.id, wanted, capacity).map_err(|refusal| match refusal {
            AdmissionRefusal::Busy => CallRefused::Busy,
            AdmissionRefusal::Full => CallRefused::Full,
        })
    }

    fn refused(&self, id: &str, refused: CallRefused) -> CallRefused {
        self.journal.record(Event::CallRefused {
            device: self.identity.id.shared(),
            action: shortened(id).into(),
            status: refused.status(),
            reason: refused.reason(),
        });
        refused
    }

    /// The entries of these status ids, in the order asked; unknown ones are left out.
    #[must_use]
    pub fn status(&self, ids: &[u64]) -> Vec<RequestStatus> {
        self.state().queue.status(ids)
    }

    /// How many requests are in progress.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.state().queue.in_progress()
    }

    /// Back to how it came up. What is still under way ends without a trace.
    pub fn reset(&self) {
        let mut state = self.state();
        let epoch = state.epoch + 1;
        *state = DeviceState::new(&self.initial, &self.identity, self.settings, self.seed, epoch);
        state.offline = power::records_alone(&state.config, state.firmware, &self.site);
        self.changed(state);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, DeviceState> {
        self.state.lock()
    }
}

/// An admitted call: the requests that were queued, to be carried out.
#[derive(Debug)]
#[must_use = "dropping a run ends its requests with -1"]
pub struct Run {
    /// The definition in force at the call, with its constants.
    pub definition: Arc<Definition>,
    /// The action's id.
    pub action: Arc<str>,
    /// The queued requests, in order.
    pub requests: Vec<(Ticket, Arc<ActionRequest>)>,
    /// Requests that found no place.
    pub dropped: usize,
}

/// The place of one request in progress. Whatever becomes of its holder, the status id ends with
/// exactly one final status: a ticket that is dropped unfinished ends with −1.
#[derive(Debug)]
pub struct Ticket {
    device: Arc<Device>,
    action: Arc<str>,
    epoch: u64,
    id: u64,
    finished: bool,
}

impl Ticket {
    /// The status id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The action's id.
    #[must_use]
    pub fn action(&self) -> &Arc<str> {
        &self.action
    }

    /// The request starts now: `exe_time` counts from here. `to` is where it goes.
    pub fn start(&self, to: impl FnOnce() -> String) {
        let to = to();
        let now = self.device.clock.now();
        let mut state = self.device.state();
        if state.epoch == self.epoch && state.queue.start(self.id, now) {
            self.device.journal.record(Event::RequestStarted {
                device: self.device.identity.id.shared(),
                action: Arc::clone(&self.action),
                id: self.id,
                to,
            });
        }
    }

    /// The request ended with `code`; `cause` says what stands behind it.
    pub fn finish(mut self, code: i32, cause: impl Into<String>) {
        self.end(code, cause.into());
    }

    fn end(&mut self, code: i32, cause: String) {
        self.finished = true;
        let now = self.device.clock.now();
        let mut state = self.device.state();
        if state.epoch != self.epoch {
            return;
        }
        if let Some(exe_time) = state.queue.finish(self.id, code, now) {
            self.device.journal.record(Event::RequestFinished {
                device: self.device.identity.id.shared(),
                action: Arc::clone(&self.action),
                id: self.id,
                code,
                exe_time: exe_time.as_secs_f64(),
                cause,
            });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.end(-1, "given up".to_owned());
        }
    }
}

/// An id from a client, cut to what the journal is willing to carry: no known id is longer.
fn shortened(id: &str) -> &str {
    id.char_indices().nth(*limits::ACTION_ID_CHARS.end() + 1).map_or(id, |(end, _)| &id[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Speed;
    use crate::device::{DeviceId, Firmware, License};
    use crate::fault::{ActionEffect, ActionPlace, Fault, QueueEffect, Rule, Trigger};

    /// A device, and all that it needs around it.
    struct DeviceFixture {
        clock: Clock,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        device: Arc<Device>,
    }

    impl DeviceFixture {
        fn new(actions: &Value, settings: ActionPolicy) -> Self {
            let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
            let journal = Arc::new(Journal::new(clock.clone()));
            let engine = Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new());
            let engine = Arc::new(engine);
            let identity = Identity {
                id: "A842E39F8124".parse::<DeviceId>().unwrap(),
                firmware: Firmware::DEFAULT,
                license: License::Plus,
            };
            let setup = Setup {
                actions: settings,
                definition: Some(definition(actions)),
                ..Setup::of(identity)
            };
            let (rules, log) = (Arc::clone(&engine), Arc::clone(&journal));
            let device = Device::new(setup, clock.clone(), rules, log);
            Self { clock, engine, journal, device }
        }

        fn refused(&self, id: &str) -> CallRefused {
            self.device.call(id).expect_err("the call is refused")
        }

        fn rule(&self, id: &str, fault: Fault) {
            self.engine.add(Rule { id: id.into(), fault, when: Trigger::default() }).unwrap();
        }

        /// What the journal tells, by the names of its events.
        fn told(&self) -> Vec<String> {
            let entries = self.journal.entries_after(0, usize::MAX, |_| true);
            let name = |entry| {
                let json = serde_json::to_value(entry).unwrap();
                json["event"].as_str().map(str::to_owned)
            };
            entries.iter().filter_map(name).collect()
        }

        fn codes(&self, ids: &[u64]) -> Vec<(u64, i32)> {
            self.device.status(ids).iter().map(|status| (status.id, status.code)).collect()
        }
    }

    fn definition(actions: &Value) -> Arc<Definition> {
        Arc::new(Definition::parse_value(&json!({ "actions": actions })).unwrap())
    }

    /// An action with so many requests.
    fn action(id: &str, requests: usize) -> Value {
        let request = json!({"http": {"url": "http://host/"}});
        json!({"id": id, "requests": vec![request; requests]})
    }

    fn ids(run: &Run) -> Vec<u64> {
        run.requests.iter().map(|(ticket, _)| ticket.id()).collect()
    }

    #[test]
    fn a_call_is_checked_in_the_documented_order() {
        let off = json!({"http": {"url": "http://host/", "enable": false}});
        let actions = json!([
            {"id": "off", "enable": false, "requests": [off]},
            {"id": "all off", "requests": [off, off]},
            {"id": "none", "requests": []},
            action("a", 20),
            action("b", 1),
        ]);
        let bench = DeviceFixture::new(&actions, ActionPolicy::default());
        let run = bench.device.call("a").unwrap();
        for (id, refused, status) in [
            ("nobody", CallRefused::Unknown, 404),
            ("off", CallRefused::Disabled, 400),
            ("all off", CallRefused::NothingEnabled, 400),
            ("none", CallRefused::NothingEnabled, 400),
            ("a", CallRefused::Busy, 409),
            ("b", CallRefused::Full, 429),
        ] {
            assert_eq!((bench.refused(id), refused.status()), (refused, status), "{id}");
        }
        drop(run);
        bench.device.delete_definition();
        assert_eq!(bench.refused("a"), CallRefused::Unknown);
    }

    #[test]
    fn only_enabled_requests_run_and_in_their_order() {
        let request = |host: &str, enable: bool| json!({"http": {"url": format!("http://{host}/"), "enable": enable}});
        let requests = json!([request("one", true), request("two", false), request("three", true)]);
        let actions = json!([{"id": "a", "requests": requests}]);
        let bench = DeviceFixture::new(&actions, ActionPolicy::default());
        let run = bench.device.call("a").unwrap();
        assert_eq!((ids(&run), run.dropped), (vec![1, 2], 0));
        let all = bench.device.definition().unwrap().actions()[0].requests.clone();
        assert!(Arc::ptr_eq(&run.requests[0].1, &all[0]));
        assert!(Arc::ptr_eq(&run.requests[1].1, &all[2]));
    }

    #[test]
    fn a_call_that_does_not_fit_is_cut_or_refused_as_set() {
        let actions = json!([action("a", 18), action("b", 3)]);
        let fit = DeviceFixture::new(&actions, ActionPolicy::default());
        let _first = fit.device.call("a").unwrap();
        let cut = fit.device.call("b").unwrap();
        assert_eq!((ids(&cut), cut.dropped), (vec![19, 20], 1));
        let settings = ActionPolicy { admission: Admission::All, ..ActionPolicy::default() };
        let all = DeviceFixture::new(&actions, settings);
        let _first = all.device.call("a").unwrap();
        assert_eq!(all.refused("b"), CallRefused::Full);
    }

    #[test]
    fn rules_disable_actions_and_occupy_places() {
        let actions = json!([action("a", 3), action("b", 3)]);
        let bench = DeviceFixture::new(&actions, ActionPolicy::default());
        let place = ActionPlace { action: Some("a".into()), ..ActionPlace::default() };
        bench.rule("off", Fault::Action(place, ActionEffect::Disable));
        assert_eq!(bench.refused("a"), CallRefused::Disabled);
        let occupy = |places| Fault::Queue { device: None, effect: QueueEffect::Occupy(places) };
        bench.rule("most", occupy(18));
        assert_eq!(bench.device.call("b").unwrap().dropped, 1);
        bench.rule("rest", occupy(2));
        assert_eq!(bench.refused("b"), CallRefused::Full);
    }

    // Ruling: FAULT-4.
    #[test]
    fn a_call_of_an_unknown_action_counts_for_no_rule() {
        let bench = DeviceFixture::new(&json!([]), ActionPolicy::default());
        bench.rule("off", Fault::Action(ActionPlace::default(), ActionEffect::Disable));
        assert_eq!(bench.refused("nobody"), CallRefused::Unknown);
        assert_eq!(bench.engine.get("off").unwrap().evaluated, 0);
    }

    // Ruling: ACTION-15.
    #[tokio::test]
    async fn exe_time_counts_from_the_start_of_the_request() {
        let bench = DeviceFixture::new(&json!([action("a", 1)]), ActionPolicy::default());
        let mut run = bench.device.call("a").unwrap();
        let (ticket, _) = run.requests.pop().unwrap();
        bench.clock.advance(Duration::from_secs(3)).await.unwrap();
        ticket.start(|| "http://host/".to_owned());
        assert_eq!(bench.device.status(&[1])[0].exe_time, Duration::ZERO);
        bench.clock.advance(Duration::from_millis(133)).await.unwrap();
        ticket.finish(200, "answered");
        let status = &bench.device.status(&[1])[0];
        assert_eq!((status.code, status.exe_time), (200, Duration::from_millis(133)));
        assert_eq!(bench.told(), ["call_admitted", "request_started", "request_finished"]);
    }

    #[test]
    fn a_ticket_that_is_dropped_ends_its_request() {
        let bench = DeviceFixture::new(&json!([action("a", 2)]), ActionPolicy::default());
        let run = bench.device.call("a").unwrap();
        assert_eq!(bench.device.in_progress(), 2);
        drop(run);
        assert_eq!(bench.device.in_progress(), 0);
        assert_eq!(bench.codes(&[1, 2]), [(1, -1), (2, -1)]);
        assert!(bench.device.status(&[1]).iter().all(|status| !status.exe_time.is_zero()));
    }

    // Ruling: ACTION-16.
    #[test]
    fn a_new_definition_changes_nothing_for_requests_under_way() {
        let bench = DeviceFixture::new(&json!([action("a", 1)]), ActionPolicy::default());
        let run = bench.device.call("a").unwrap();
        bench.device.store(definition(&json!([action("a", 2), action("b", 1)])));
        assert_eq!(run.definition.actions().len(), 1);
        assert_eq!(bench.refused("a"), CallRefused::Busy, "409 follows the id");
        assert!(bench.device.call("b").is_ok());
        drop(run);
        assert_eq!(bench.device.call("a").unwrap().requests.len(), 2);
    }

    #[test]
    fn what_comes_from_before_a_reset_is_discarded() {
        let settings = ActionPolicy { first_status_id: Some(139), ..ActionPolicy::default() };
        let bench = DeviceFixture::new(&json!([action("a", 1)]), settings);
        let mut before = bench.device.call("a").unwrap();
        bench.device.delete_definition();
        bench.device.reset();
        bench.journal.clear();
        let after = bench.device.call("a").unwrap();
        assert_eq!(ids(&after), [139]);
        let (ticket, _) = before.requests.pop().unwrap();
        ticket.start(|| "http://host/".to_owned());
        ticket.finish(200, "answered");
        assert_eq!(bench.codes(&[139]), [(139, -1)]);
        assert_eq!(bench.device.in_progress(), 1);
        assert_eq!(bench.told(), ["call_admitted"]);
    }

    #[test]
    fn a_change_of_the_configuration_is_made_without_the_lock() {
        let bench = DeviceFixture::new(&json!([]), ActionPolicy::default());
        let changed = bench.device.configure(|config| {
            let (send, receive) = std::sync::mpsc::channel();
            let device = Arc::clone(&bench.device);
            thread::spawn(move || send.send(device.view().boot.ordinal));
            config.script = Some("print(1)".into());
            receive.recv_timeout(Duration::from_secs(10))
        });
        assert_eq!(changed, Ok(0), "others look at the device meanwhile");
        assert_eq!(bench.device.view().config.script.as_deref(), Some("print(1)"));
    }

    /// Notes whether the device's state is locked when it wakes.
    struct Notes {
        device: Arc<Device>,
        locked: AtomicBool,
    }

    impl std::task::Wake for Notes {
        fn wake(self: Arc<Self>) {
            self.locked.store(self.device.state.try_lock().is_none(), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_change_counts_before_anybody_sees_it() {
        let bench = DeviceFixture::new(&json!([]), ActionPolicy::default());
        let device = Arc::clone(&bench.device);
        let notes = Arc::new(Notes { device, locked: AtomicBool::new(false) });
        let waker = Arc::clone(&notes).into();
        let mut changes = bench.device.changes();
        let mut next = std::pin::pin!(changes.changed());
        let mut context = std::task::Context::from_waker(&waker);
        assert!(next.as_mut().poll(&mut context).is_pending());
        bench.device.start_pairing();
        assert!(next.as_mut().poll(&mut context).is_ready());
        assert!(notes.locked.load(Ordering::Relaxed), "it counted when the lock was let go");
    }

    #[test]
    fn a_change_that_was_overtaken_is_made_anew() {
        let bench = DeviceFixture::new(&json!([]), ActionPolicy::default());
        let set = |script: &str| {
            let script = Some(script.into());
            bench.device.configure(|config| {
                config.script.clone_from(&script);
                Ok::<_, ()>(())
            })
        };
        set("print(1)").unwrap();
        let mut seen = Vec::new();
        let changed = bench.device.configure(|config| {
            seen.push(config.script.clone());
            if seen.len() == 1 {
                bench.device.restore();
            }
            config.meter.time_offset = 7;
            Ok::<_, ()>(())
        });
        changed.unwrap();
        assert_eq!(seen, [Some("print(1)".into()), None]);
        let config = &bench.device.view().config;
        assert_eq!((config.script.as_deref(), config.meter.time_offset), (None, 7));
    }

    #[test]
    fn an_id_from_a_client_is_cut_for_the_journal() {
        let bench = DeviceFixture::new(&json!([]), ActionPolicy::default());
        bench.refused(&"ü".repeat(5_000));
        let entries = bench.journal.entries_after(0, 1, |_| true);
        let Event::CallRefused { action, .. } = &entries[0].event else { panic!("{entries:?}") };
        assert_eq!(&**action, "ü".repeat(16));
    }

    /// What the racing threads know of each other.
    struct Race {
        bench: DeviceFixture,
        /// Runs under way of each action.
        running: Vec<AtomicUsize>,
        /// Requests under way, at least.
        requests: AtomicUsize,
        admitted: AtomicUsize,
    }

    impl Race {
        const THREADS: usize = 8;
        const ACTIONS: usize = 10;
        const CALLS: usize = 1000;

        fn new() -> Self {
            let action = |n: usize| action(&n.to_string(), n % 5 + 1);
            let actions: Vec<Value> = (0..Self::ACTIONS).map(action).collect();
            Self {
                bench: DeviceFixture::new(&json!(actions), ActionPolicy::default()),
                running: (0..Self::ACTIONS).map(|_| AtomicUsize::new(0)).collect(),
                requests: AtomicUsize::new(0),
                admitted: AtomicUsize::new(0),
            }
        }

        fn call(&self, action: usize) -> Option<(usize, Run)> {
            let run = match self.bench.device.call(&action.to_string()) {
                Ok(run) => run,
                Err(CallRefused::Busy | CallRefused::Full) => return None,
                Err(other) => panic!("{other}"),
            };
            let others = self.running[action].fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "action {action} runs twice at once");
            let requests = run.requests.len();
            let before = self.requests.fetch_add(requests, Ordering::SeqCst);
            assert!(before + requests <= 20, "{} requests in progress", before + requests);
            assert!(self.bench.device.in_progress() <= 20);
            self.admitted.fetch_add(requests, Ordering::SeqCst);
            Some((action, run))
        }

        /// Ends a run; every third request by dropping its ticket.
        fn end(&self, (action, mut run): (usize, Run)) {
            while let Some((ticket, _)) = run.requests.pop() {
                // Counted down before, so that whatever the device admits next finds it done.
                self.requests.fetch_sub(1, Ordering::SeqCst);
                if run.requests.is_empty() {
                    self.running[action].fetch_sub(1, Ordering::SeqCst);
                }
                if ticket.id().is_multiple_of(3) {
                    drop(ticket);
                } else {
                    ticket.start(|| "http://host/".to_owned());
                    ticket.finish(200, "answered");
                }
            }
        }

        fn run(&self, thread: usize, together: &Barrier) {
            // Everyone calls everything and keeps what it got: there is room for 20 of 30.
            let order = (0..Self::ACTIONS).map(|n| (n + thread) % Self::ACTIONS);
            let mut kept: VecDeque<_> = order.filter_map(|action| self.call(action)).collect();
            together.wait();
            let full = self.bench.device.in_progress();
            together.wait();
            for n in 0..Self::CALLS / Self::THREADS - Self::ACTIONS {
                kept.extend(self.call((n * (thread + 1) + thread) % Self::ACTIONS));
                if kept.len() > 1 {
                    self.end(kept.pop_front().unwrap());
                }
            }
            for run in kept {
                self.end(run);
            }
            assert_eq!(full, 20);
        }
    }

    #[test]
    fn racing_calls_never_pass_20_never_overlap_and_every_id_ends_once() {
        let race = Race::new();
        let together = Barrier::new(Race::THREADS);
        thread::scope(|scope| {
            for thread in 0..Race::THREADS {
                let (race, together) = (&race, &together);
                scope.spawn(move || race.run(thread, together));
            }
        });
        assert_eq!(race.bench.device.in_progress(), 0);
        let mut calls = 0;
        let mut ends: HashMap<u64, (u32, u32)> = HashMap::new();
        for entry in race.bench.journal.entries_after(0, usize::MAX, |_| true) {
            match entry.event {
                Event::CallAdmitted { status_ids, .. } => {
                    calls += 1;
                    for id in status_ids {
                        ends.entry(id).or_default().0 += 1;
                    }
                }
                Event::CallRefused { .. } => calls += 1,
                Event::RequestFinished { id, code, .. } => {
                    ends.entry(id).or_default().1 += 1;
                    assert_eq!(code, if id.is_multiple_of(3) { -1 } else { 200 });
                }
                _ => {}
            }
        }
        assert_eq!(calls, Race::CALLS);
        let handed_out = race.admitted.load(Ordering::SeqCst);
        assert_eq!(ends.len(), handed_out);
        for id in 1..=handed_out as u64 {
            assert_eq!(ends.get(&id), Some(&(1, 1)), "id {id}: handed out and ended once each");
        }
    }
}
