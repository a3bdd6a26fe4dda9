//! The journal of a house: the requests that arrived, the decisions that were made, the rules that
//! fired.
//!
//! The journal is bounded: it holds the newest [`limits::JOURNAL_ENTRIES`] entries and counts the
//! older ones. Entries carry virtual time, and no port that the system chose: they name devices, slaves
//! and targets by their ids, and a request of an action by the host and port of its definition. So two
//! runs of one scenario on a manual clock write the same bytes. The module stands near the top of the
//! list in `lib.rs`, because everything that decides writes here.
//!
//! `docs/journal.md` is generated from the comments on [`Event`] by `scripts/regenerate`.

use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{Clock, VirtualTime};
use crate::limits;
use crate::modbus::wire::FunctionCode;

/// An event in a house: a request that arrived, a decision, a fault, or a change of state.
///
/// The names in the journal (`serde(rename)`) are part of the control API and do not change, even if
/// a variant gets a better name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// An action definition replaced the previous one.
    DefinitionStored {
        /// The device's id.
        device: Arc<str>,
        /// The number of actions in the definition.
        actions: usize,
    },
    /// The action definition was deleted.
    DefinitionDeleted {
        /// The device's id.
        device: Arc<str>,
    },
    /// A call of an action was accepted and its requests were queued.
    CallAdmitted {
        /// The device's id.
        device: Arc<str>,
        /// The action's id.
        action: Arc<str>,
        /// The status ids of the queued requests.
        status_ids: Vec<u64>,
        /// The number of requests that were not queued, because too many are in progress.
        dropped: usize,
    },
    /// A call of an action was refused.
    CallRefused {
        /// The device's id.
        device: Arc<str>,
        /// The id of the action as the client wrote it.
        action: Arc<str>,
        /// The HTTP status of the reply.
        status: u16,
        /// `unknown`, `disabled`, `nothing enabled`, `busy` or `full`.
        reason: &'static str,
    },
    /// A request of an action was started.
    RequestStarted {
        /// The device's id.
        device: Arc<str>,
        /// The action's id.
        action: Arc<str>,
        /// The status id of the request.
        id: u64,
        /// The URL of the request, or `modbus host:port`.
        to: String,
    },
    /// A request of an action ended.
    RequestFinished {
        /// The device's id.
        device: Arc<str>,
        /// The action's id.
        action: Arc<str>,
        /// The status id of the request.
        id: u64,
        /// The result code.
        code: i32,
        /// The execution time in seconds.
        exe_time: f64,
        /// The reason for the code, in plain words.
        cause: String,
    },
    /// A write to an object of the API was accepted. Also recorded if no field has another value
    /// than before.
    SettingsChanged {
        /// The device's id.
        device: Arc<str>,
        /// The object, such as `settings` or `mqtt/settings`.
        object: &'static str,
        /// The fields that have another value than before. May be empty.
        fields: Vec<&'static str>,
    },
    /// A WPS pairing was started or ended.
    #[serde(rename = "wps")]
    WpsPairing {
        /// The device's id.
        device: Arc<str>,
        /// `started`, `paired`, `timed out` or `given up`.
        outcome: &'static str,
    },
    /// A write to an object of the API was refused.
    SettingsRefused {
        /// The device's id.
        device: Arc<str>,
        /// The object, such as `settings` or `mqtt/settings`.
        object: &'static str,
        /// The field that is wrong. Empty if the object as a whole is wrong.
        field: String,
    },
    /// A write named keys that the device does not know. They had no effect.
    KeysIgnored {
        /// The device's id.
        device: Arc<str>,
        /// The object, such as `settings` or `mqtt/settings`.
        object: &'static str,
        /// The first unknown keys, at most 16.
        keys: Vec<String>,
    },
    /// A request of an action was not sent, because the outbound policy denies its host, or because the host
    /// is the control plane of the house.
    OutboundDenied {
        /// The device's id.
        device: Arc<str>,
        /// The host of the request.
        host: String,
        /// The policy, `deny` or `loopback`; or `control plane`.
        policy: &'static str,
    },
    /// A broker accepted the connection of a device's MQTT client.
    MqttConnected {
        /// The device's id.
        device: Arc<str>,
        /// The URL of the broker.
        broker: String,
    },
    /// A device's MQTT client could not connect. Consecutive attempts with the same reason are
    /// recorded once.
    MqttNotConnected {
        /// The device's id.
        device: Arc<str>,
        /// The URL of the broker.
        broker: String,
        /// The reason, in plain words.
        reason: String,
    },
    /// The connection of a device's MQTT client ended.
    MqttDisconnected {
        /// The device's id.
        device: Arc<str>,
        /// The URL of the broker.
        broker: String,
        /// The reason, in plain words.
        reason: String,
    },
    /// A device's MQTT client published a message.
    MqttPublished {
        /// The device's id.
        device: Arc<str>,
        /// The topic of the message.
        topic: String,
        /// The number of bytes of the payload.
        bytes: usize,
    },
    /// A message that was due was not published.
    MqttNotPublished {
        /// The device's id.
        device: Arc<str>,
        /// The topic of the message.
        topic: String,
        /// The reason, in plain words.
        reason: &'static str,
    },
    /// A fault rule fired.
    FaultFired {
        /// The id of the rule.
        rule: Arc<str>,
        /// The seam at which it fired: `api`, `admission`, `run`, `connect`, `slave`, `target`,
        /// `listener`, `modbus`, `mqtt`, `live` or `meter`.
        seam: &'static str,
        /// The request, connection or device that the rule affected, at most 255 bytes. At `api` as
        /// `GET /path`; at `admission`, `run` and `connect` as `device action id`; at `slave` and
        /// `modbus` as `name unit 1 function 3`; at `target` as `name GET /path`; at `mqtt` as
        /// `device topic`; at `listener`, `live` and `meter` as the name alone.
        at: String,
    },
    /// A slave handled a request.
    SlaveRequest {
        /// The slave's name.
        slave: Arc<str>,
        /// The unit id.
        unit: u8,
        /// The function code.
        #[schemars(with = "u8")]
        function: FunctionCode,
        /// The first address. For function 23 the first address that is written. 0 if the request
        /// has no address: for function 17, an unknown function, or malformed data.
        address: u16,
        /// The number of registers or bits. For function 23 the number that is written. 0 if
        /// the request has no address.
        quantity: u16,
        /// The values that the request writes: registers, or bits as 0 and 1. Left out if there are
        /// none.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        values: Vec<u16>,
        /// `ok`, `exception` and its code, `no such unit`, or the effect of a fault.
        outcome: Cow<'static, str>,
    },
    /// A slave received bytes that are no Modbus frame, and closed the connection.
    #[serde(rename = "slave_garbage")]
    SlaveInvalidFrame {
        /// The slave's name.
        slave: Arc<str>,
        /// The reason, in plain words.
        reason: String,
    },
    /// A slave closed or reopened its listener.
    SlaveListening {
        /// The slave's name.
        slave: Arc<str>,
        /// True if the slave accepts connections now.
        listening: bool,
    },
    /// The device's own Modbus server refused a request, or a fault affected the reply. Other
    /// requests are not recorded.
    #[serde(rename = "modbus_request")]
    DeviceModbusRequest {
        /// The device's id.
        device: Arc<str>,
        /// The unit id.
        unit: u8,
        /// The function code.
        #[schemars(with = "u8")]
        function: FunctionCode,
        /// The first address. For function 23 the first address that is written. 0 if the request
        /// has no address: for function 17, an unknown function, or malformed data.
        address: u16,
        /// The number of registers or bits. For function 23 the number that is written. 0 if
        /// the request has no address.
        quantity: u16,
        /// `exception` and its code, or the effect of a fault. The device replies for every unit id.
        outcome: Cow<'static, str>,
    },
    /// The device's own Modbus server received bytes that are no Modbus frame, and closed the
    /// connection.
    #[serde(rename = "modbus_garbage")]
    DeviceModbusInvalidFrame {
        /// The device's id.
        device: Arc<str>,
        /// The reason, in plain words.
        reason: String,
    },
    /// The device's own Modbus server opened or closed its listener.
    #[serde(rename = "modbus_listening")]
    DeviceModbusListening {
        /// The device's id.
        device: Arc<str>,
        /// True if the server accepts connections now.
        listening: bool,
    },
    /// An HTTP target answered a request.
    TargetRequest {
        /// The target's name.
        target: Arc<str>,
        /// The method, at most its first 255 bytes.
        method: String,
        /// The path with its query, at most its first 255 bytes.
        path: String,
        /// The HTTP status of the reply.
        status: u16,
    },
    /// A client subscribed to the live stream of a device.
    #[serde(rename = "live_followed")]
    LiveSubscribed {
        /// The device's id.
        device: Arc<str>,
    },
    /// The device ended a live stream.
    LiveEnded {
        /// The device's id.
        device: Arc<str>,
        /// `taken over`, `thrown out`, `cut` or `not read`.
        cause: &'static str,
    },
    /// A device shuts down to start again.
    Rebooting {
        /// The device's id.
        device: Arc<str>,
        /// `asked to`, `factory reset`, `firmware upload`, `supercapacitor empty` or `stage of the fleet`.
        cause: &'static str,
    },
    /// A device was switched off.
    SwitchedOff {
        /// The device's id.
        device: Arc<str>,
    },
    /// A device of the fleet entered a stage.
    StageEntered {
        /// The device's id.
        device: Arc<str>,
        /// `online`, `weak_wifi`, `updated` or `gone`; `off` before it went online for the first time.
        from: &'static str,
        /// `online`, `weak_wifi`, `rebooting`, `updated` or `gone`.
        to: &'static str,
    },
    /// A device started.
    Started {
        /// The device's id.
        device: Arc<str>,
        /// The firmware that runs.
        firmware: String,
        /// The boot id of this start.
        boot_id: String,
    },
    /// A factory reset discarded the settings of a device.
    #[serde(rename = "restored")]
    FactoryReset {
        /// The device's id.
        device: Arc<str>,
    },
    /// A row of the SD log could not be written. Recorded once until a row can be written again.
    #[serde(rename = "sd_not_written")]
    SdWriteFailed {
        /// The device's id.
        device: Arc<str>,
        /// The error.
        error: String,
    },
    /// A row of the SD log was written again.
    #[serde(rename = "sd_goes_on")]
    SdWriteRecovered {
        /// The device's id.
        device: Arc<str>,
    },
    /// A firmware image was uploaded.
    FirmwareUploaded {
        /// The device's id.
        device: Arc<str>,
        /// The file name of the image.
        name: String,
        /// The size of the image in bytes.
        size: u64,
        /// The firmware in the image. Null if the scenario does not list the image.
        firmware: Option<String>,
    },
    /// A Berry script was started or stopped.
    #[serde(rename = "script_runs")]
    ScriptStateChanged {
        /// The device's id.
        device: Arc<str>,
        /// True if the script runs now.
        running: bool,
    },
    /// A document could not be written to the state directory. Recorded once until it can be
    /// written again.
    #[serde(rename = "state_not_written")]
    StateWriteFailed {
        /// The owner of the document: a device's id, or `the house`.
        what: Arc<str>,
        /// The error.
        error: String,
    },
    /// A document was written to the state directory again.
    #[serde(rename = "state_goes_on")]
    StateWriteRecovered {
        /// The owner of the document: a device's id, or `the house`.
        what: Arc<str>,
    },
    /// The control plane changed a fault rule.
    RuleChanged {
        /// The id of the rule.
        rule: Arc<str>,
        /// `added`, `armed`, `disarmed`, `removed` or `released`.
        change: &'static str,
    },
    /// The control plane wrote registers or bits of a slave.
    #[serde(rename = "registers_set")]
    SlaveValuesSet {
        /// The slave's name.
        slave: Arc<str>,
        /// The unit id.
        unit: u8,
        /// `coils`, `discrete`, `holding` or `input`.
        table: &'static str,
        /// The first address.
        address: u16,
        /// The number of registers or bits.
        count: usize,
    },
    /// The control plane moved the clock or set its speed.
    #[serde(rename = "clock_moved")]
    ClockChanged {
        /// `advance`, `jump` or `speed`.
        how: &'static str,
        /// The duration as the client wrote it, or the speed.
        value: String,
    },
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct JournalEntry {
    /// The number of the entry. Entries count from 1, including those that were discarded.
    pub seq: u64,
    /// Seconds of virtual time since the scenario's start.
    pub t: f64,
    /// The event, whose fields stand beside `seq` and `t`.
    #[serde(flatten)]
    pub event: Event,
}

/// The journal. Every part of the house writes to it; the control plane and tests read it.
#[derive(Debug)]
pub struct Journal {
    clock: Clock,
    ring: Mutex<Ring>,
    position: watch::Sender<JournalPosition>,
}

/// The position of the newest entry of a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct JournalPosition {
    /// The number of times that the journal was cleared.
    generation: u64,
    /// The number of the newest entry of this generation; 0 if there is none.
    seq: u64,
}

/// The numbers of entries since the journal was last cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// The entries that were recorded.
    pub recorded: u64,
    /// The recorded entries that the journal has discarded, because it was full.
    pub discarded: u64,
}

/// Some entries of a journal, and what the journal held when they were read.
#[derive(Debug)]
pub(crate) struct JournalPage {
    /// The number of times that the journal was cleared.
    pub(crate) generation: u64,
    /// The number of the newest entry.
    pub(crate) newest: u64,
    /// The number of entries that were discarded.
    pub(crate) discarded: u64,
    /// The entries, oldest first.
    pub(crate) entries: Vec<JournalEntry>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<JournalEntry>,
    recorded: u64,
    generation: u64,
}

impl Ring {
    fn position(&self) -> JournalPosition {
        JournalPosition { generation: self.generation, seq: self.recorded }
    }

    fn discarded(&self) -> u64 {
        self.recorded - self.entries.len() as u64
    }

    /// Returns the entries after number `seq`, oldest first.
    fn after(&self, seq: u64) -> impl Iterator<Item = &JournalEntry> {
        // The entries are numbered without a gap.
        let skipped = usize::try_from(seq.saturating_sub(self.discarded())).unwrap_or(usize::MAX);
        self.entries.range(skipped.min(self.entries.len())..)
    }
}

/// The position of somebody who reads the journal again after each change.
#[derive(Debug)]
pub(crate) struct JournalReader {
    newest: watch::Receiver<JournalPosition>,
    read: JournalPosition,
}

impl JournalReader {
    /// Returns the number of the last entry that was read. It is 0 at first, and after the journal was cleared.
    /// The entries that the journal has now count as read from now on.
    pub(crate) fn begin(&mut self) -> u64 {
        // Before the entries are read, so that a concurrent write is a change.
        let now = *self.newest.borrow_and_update();
        let after = if now.generation == self.read.generation { self.read.seq } else { 0 };
        self.read = now;
        after
    }

    /// Waits for a change since [`JournalReader::begin`].
    pub(crate) async fn changed(&mut self) {
        // This cannot fail: the sender lives as long as the journal.
        let _ = self.newest.changed().await;
    }
}

impl Journal {
    /// Creates an empty journal whose entries carry the time of `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, ring: Mutex::default(), position: watch::Sender::default() }
    }

    /// Records an event. If the journal is full, its oldest entry is discarded.
    pub fn record(&self, event: Event) {
        tracing::debug!(?event, "journal");
        let mut ring = self.ring();
        // Read under the lock, so that entries stand in the order of their times.
        let t = self.clock.now().as_secs_f64();
        ring.recorded += 1;
        let seq = ring.recorded;
        if ring.entries.len() == limits::JOURNAL_ENTRIES {
            ring.entries.pop_front();
        }
        ring.entries.push_back(JournalEntry { seq, t, event });
        // A notification without a receiver would be half the cost of an entry.
        if self.position.receiver_count() > 0 {
            self.position.send_replace(ring.position());
        }
    }

    /// Returns the entries after number `seq` that `filter` accepts, oldest first, at most `limit` of
    /// them. 0 returns the entries from the oldest on, because numbers begin with 1.
    pub fn entries_after(
        &self,
        seq: u64,
        limit: usize,
        filter: impl Fn(&JournalEntry) -> bool,
    ) -> Vec<JournalEntry> {
        let ring = self.ring();
        ring.after(seq).filter(|entry| filter(entry)).take(limit).cloned().collect()
    }

    /// Returns the entries after number `seq`, oldest first, at most `limit` of them, and the state of the
    /// journal at the same moment.
    pub(crate) fn page(&self, seq: u64, limit: usize) -> JournalPage {
        let ring = self.ring();
        JournalPage {
            generation: ring.generation,
            newest: ring.recorded,
            discarded: ring.discarded(),
            entries: ring.after(seq).take(limit).cloned().collect(),
        }
    }

    /// Calls `read` with the number of the last entry that it has read, at once and after each new entry,
    /// until it returns something. The number is 0 at first, and after the journal was cleared.
    pub async fn read_until<T>(&self, mut read: impl FnMut(u64) -> Option<T>) -> T {
        let mut reader = self.reader();
        loop {
            if let Some(found) = read(reader.begin()) {
                return found;
            }
            reader.changed().await;
        }
    }

    /// Returns a reader that has read nothing.
    pub(crate) fn reader(&self) -> JournalReader {
        JournalReader { newest: self.subscribe(), read: JournalPosition::default() }
    }

    /// Returns a receiver that is notified of each change of the position of the newest entry.
    fn subscribe(&self) -> watch::Receiver<JournalPosition> {
        // Under the lock, so that no entry comes between the position and its first receiver.
        let ring = self.ring();
        self.position.send_replace(ring.position());
        self.position.subscribe()
    }

    /// Returns the numbers of recorded and of discarded entries.
    #[must_use]
    pub fn counts(&self) -> JournalCounts {
        let ring = self.ring();
        JournalCounts { recorded: ring.recorded, discarded: ring.discarded() }
    }

    /// Discards all entries and counts from 1 again.
    pub fn clear(&self) {
        let mut ring = self.ring();
        *ring = Ring { generation: ring.generation + 1, ..Ring::default() };
        self.position.send_replace(ring.position());
    }

    /// Returns the time of the clock that dates the entries.
    #[must_use]
    pub fn now(&self) -> VirtualTime {
        self.clock.now()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }
}

/// Truncates a text of a client to the maximum length of a text in an entry. The texts of an action
/// definition are never longer; those of other clients may be.
#[must_use]
pub fn truncate_text(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::JOURNAL_TEXT_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::Speed;

    fn change() -> Event {
        Event::RuleChanged { rule: "r".into(), change: "armed" }
    }

    #[test]
    fn a_full_journal_discards_and_counts_its_oldest_entries() {
        let journal = Journal::new(Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual));
        for _ in 0..limits::JOURNAL_ENTRIES + 5 {
            journal.record(change());
        }
        let held = journal.entries_after(0, usize::MAX, |_| true);
        assert_eq!(held.len(), limits::JOURNAL_ENTRIES);
        assert_eq!(held[0].seq, 6);
        let seqs = |seq| {
            let entries = journal.entries_after(seq, 2, |entry| entry.seq % 2 == 0);
            entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        assert_eq!(
            (seqs(3), seqs(5), seqs(6), seqs(7)),
            (vec![6, 8], vec![6, 8], vec![8, 10], vec![8, 10])
        );
        let newest = limits::JOURNAL_ENTRIES as u64 + 5;
        assert_eq!(
            (seqs(newest - 2), seqs(newest), seqs(u64::MAX)),
            (vec![newest - 1], vec![], vec![])
        );
        assert_eq!(journal.counts(), JournalCounts { recorded: newest, discarded: 5 });
    }

    #[test]
    fn a_subscriber_is_notified_of_later_entries() {
        let journal = Journal::new(Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual));
        journal.record(change());
        let mut position = journal.subscribe();
        assert!(!position.has_changed().unwrap());
        assert_eq!(*position.borrow_and_update(), JournalPosition { generation: 0, seq: 1 });
        journal.record(change());
        assert!(position.has_changed().unwrap());
        assert_eq!(position.borrow_and_update().seq, 2);
        journal.clear();
        assert_eq!(*position.borrow_and_update(), JournalPosition { generation: 1, seq: 0 });
        drop(position);
        journal.record(change());
        assert_eq!(*journal.subscribe().borrow(), JournalPosition { generation: 1, seq: 1 });
    }

    #[test]
    fn an_entry_is_one_flat_object() {
        let event = Event::FaultFired { rule: "r".into(), seam: "slave", at: "pump unit 1".into() };
        let entry = JournalEntry { seq: 1, t: 0.5, event };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"seq":1,"t":0.5,"event":"fault_fired","rule":"r","seam":"slave","at":"pump unit 1"}"#
        );
    }
}
