//! The house's log of decisions: what was asked, what was decided, which rule struck.
//!
//! Bounded: the newest [`limits::JOURNAL_ENTRIES`] are kept and older ones are counted. Entries carry
//! virtual time and no ports, so that two runs of the same scenario on a manual clock write the same
//! bytes. Held high in the module order, because everything that decides writes here.

use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{Clock, VirtualTime};
use crate::limits;
use crate::modbus::wire::FunctionCode;

/// Something that was decided or done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields say it; the variants are explained")]
pub enum Event {
    /// An action definition replaced the one before.
    DefinitionStored { device: Arc<str>, actions: usize },
    /// The action definition was deleted.
    DefinitionDeleted { device: Arc<str> },
    /// A call was accepted and these requests queued.
    CallAdmitted { device: Arc<str>, action: Arc<str>, status_ids: Vec<u64>, dropped: usize },
    /// A call was refused with this HTTP status.
    CallRefused { device: Arc<str>, action: Arc<str>, status: u16, reason: &'static str },
    /// A request of an action started; `to` is its URL or `modbus host:port`.
    RequestStarted { device: Arc<str>, action: Arc<str>, id: u64, to: String },
    /// A request of an action ended. `cause` says what stands behind the code.
    RequestFinished {
        device: Arc<str>,
        action: Arc<str>,
        id: u64,
        code: i32,
        exe_time: f64,
        cause: String,
    },
    /// A write changed these fields of an object of the API; none where all stayed as it was.
    SettingsChanged { device: Arc<str>, object: &'static str, fields: Vec<&'static str> },
    /// A WPS pairing was started, or ended: `started`, `paired`, `timed out`, `given up`.
    Wps { device: Arc<str>, outcome: &'static str },
    /// A write was refused for this field, empty for the whole.
    SettingsRefused { device: Arc<str>, object: &'static str, field: String },
    /// A write named keys that the device does not know; they had no effect.
    KeysIgnored { device: Arc<str>, object: &'static str, keys: Vec<String> },
    /// The outbound policy kept a request in.
    OutboundDenied { device: Arc<str>, host: String, policy: &'static str },
    /// A device's MQTT client was taken by its broker.
    MqttConnected { device: Arc<str>, broker: String },
    /// It got no connection; said once, however many tries come to the same.
    MqttNotConnected { device: Arc<str>, broker: String, reason: String },
    /// Its connection ended.
    MqttDisconnected { device: Arc<str>, broker: String, reason: String },
    /// It published a message of so many bytes.
    MqttPublished { device: Arc<str>, topic: String, bytes: usize },
    /// A message that was due did not go out.
    MqttNotPublished { device: Arc<str>, topic: String, reason: &'static str },
    /// A rule struck.
    FaultFired { rule: Arc<str>, seam: &'static str, at: String },
    /// A slave handled a request. `values` are what it writes, registers or bits as 0 and 1;
    /// `outcome` is `ok`, `exception n`, or what a fault made of it.
    SlaveRequest {
        slave: Arc<str>,
        unit: u8,
        function: FunctionCode,
        address: u16,
        quantity: u16,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        values: Vec<u16>,
        outcome: Cow<'static, str>,
    },
    /// A slave received bytes that are no Modbus frame, and closed the connection.
    SlaveGarbage { slave: Arc<str>, reason: String },
    /// A slave closed or reopened its listener.
    SlaveListening { slave: Arc<str>, listening: bool },
    /// The device's own Modbus server answered otherwise than with registers: `exception n`, or what
    /// a fault made of it.
    ModbusRequest {
        device: Arc<str>,
        unit: u8,
        function: FunctionCode,
        address: u16,
        quantity: u16,
        outcome: Cow<'static, str>,
    },
    /// The device's Modbus server received bytes that are no Modbus frame, and closed the connection.
    ModbusGarbage { device: Arc<str>, reason: String },
    /// The device's Modbus server opened or closed its listener.
    ModbusListening { device: Arc<str>, listening: bool },
    /// A target answered.
    TargetRequest { target: Arc<str>, method: String, path: String, status: u16 },
    /// A client follows the live stream of a device.
    LiveFollowed { device: Arc<str> },
    /// The device ended a live stream: `taken over`, `thrown out`, `cut` or `not read`.
    LiveEnded { device: Arc<str>, cause: &'static str },
    /// A device goes down, to come up again.
    Rebooting { device: Arc<str>, cause: &'static str },
    /// A device came up.
    Started { device: Arc<str>, firmware: String, boot_id: String },
    /// A device forgot what its user had set.
    Restored { device: Arc<str> },
    /// Rows of the SD log cannot be written, from this one on.
    SdNotWritten { device: Arc<str>, error: String },
    /// Rows of the SD log are written again.
    SdGoesOn { device: Arc<str> },
    /// A firmware image was uploaded; `firmware` is what it is, where the scenario says so.
    FirmwareUploaded { device: Arc<str>, name: String, size: u64, firmware: Option<String> },
    /// A Berry script was started or stopped.
    ScriptRuns { device: Arc<str>, running: bool },
    /// Something that is to outlive the process could not be written down.
    StateNotWritten { what: Arc<str>, error: String },
    /// It can again, and was.
    StateGoesOn { what: Arc<str> },
    /// The control plane changed a rule: `added`, `armed`, `disarmed`, `removed` or `released`.
    RuleChanged { rule: Arc<str>, change: &'static str },
    /// The control plane wrote registers or coils.
    RegistersSet { slave: Arc<str>, unit: u8, table: &'static str, address: u16, count: usize },
    /// The clock was moved or its speed set.
    ClockMoved { how: &'static str, value: String },
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    /// Counts from 1, also over entries no longer kept.
    pub seq: u64,
    /// Seconds of virtual time since the scenario's start.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The journal. Written from everywhere, read by the control plane and by tests.
#[derive(Debug)]
pub struct Journal {
    clock: Clock,
    ring: Mutex<Ring>,
    newest: watch::Sender<Newest>,
}

/// How far the journal is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// How often it began anew.
    pub beginning: u64,
    /// The number of the newest entry since then; 0 where there is none.
    pub seq: u64,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<JournalEntry>,
    written: u64,
    beginning: u64,
}

impl Ring {
    fn newest(&self) -> Newest {
        Newest { beginning: self.beginning, seq: self.written }
    }
}

impl Journal {
    /// An empty journal that dates its entries by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, ring: Mutex::default(), newest: watch::Sender::default() }
    }

    /// Writes an entry; the oldest gives way where the journal is full.
    pub fn write(&self, event: Event) {
        tracing::debug!(?event, "journal");
        let mut ring = self.ring();
        // Read under the lock, so that entries stand in the order of their times.
        let t = self.clock.now().as_secs_f64();
        ring.written += 1;
        let seq = ring.written;
        if ring.entries.len() == limits::JOURNAL_ENTRIES {
            ring.entries.pop_front();
        }
        ring.entries.push_back(JournalEntry { seq, t, event });
        // Telling nobody would be half the cost of a write.
        if self.newest.receiver_count() > 0 {
            self.newest.send_replace(ring.newest());
        }
    }

    /// The kept entries after `seq` that `wanted` accepts, oldest first, at most `limit` of them.
    pub fn after(
        &self,
        seq: u64,
        limit: usize,
        wanted: impl Fn(&JournalEntry) -> bool,
    ) -> Vec<JournalEntry> {
        let ring = self.ring();
        // The kept entries are numbered without a gap.
        let forgotten = ring.written - ring.entries.len() as u64;
        let passed = usize::try_from(seq.saturating_sub(forgotten)).unwrap_or(usize::MAX);
        ring.entries
            .range(passed.min(ring.entries.len())..)
            .filter(|entry| wanted(entry))
            .take(limit)
            .cloned()
            .collect()
    }

    /// How far the journal is, as a value that can be waited on.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Newest> {
        // Under the lock, so that no write comes between the number and its first listener.
        let ring = self.ring();
        self.newest.send_replace(ring.newest());
        self.newest.subscribe()
    }

    /// How many entries were written, and how many of them are no longer kept.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let ring = self.ring();
        (ring.written, ring.written - ring.entries.len() as u64)
    }

    /// Forgets everything and counts from 1 again.
    pub fn clear(&self) {
        let mut ring = self.ring();
        *ring = Ring { beginning: ring.beginning + 1, ..Ring::default() };
        self.newest.send_replace(ring.newest());
    }

    /// The time of the clock that dates the entries.
    #[must_use]
    pub fn now(&self) -> VirtualTime {
        self.clock.now()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }
}

/// A text as an entry carries it: whole where an action sent it, and cut where a stranger's is longer
/// than anything an action can say.
#[must_use]
pub fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::JOURNAL_TEXT));
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
    fn the_oldest_gives_way_and_is_counted() {
        let journal = Journal::new(Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual));
        for _ in 0..limits::JOURNAL_ENTRIES + 5 {
            journal.write(change());
        }
        let kept = journal.after(0, usize::MAX, |_| true);
        assert_eq!(kept.len(), limits::JOURNAL_ENTRIES);
        assert_eq!(kept[0].seq, 6);
        let seqs = |seq| {
            let entries = journal.after(seq, 2, |entry| entry.seq % 2 == 0);
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
        assert_eq!(journal.counts(), (limits::JOURNAL_ENTRIES as u64 + 5, 5));
    }

    #[test]
    fn whoever_asks_for_the_newest_entry_is_told_of_later_ones() {
        let journal = Journal::new(Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual));
        journal.write(change());
        let mut newest = journal.newest();
        assert!(!newest.has_changed().unwrap());
        assert_eq!(*newest.borrow_and_update(), Newest { beginning: 0, seq: 1 });
        journal.write(change());
        assert!(newest.has_changed().unwrap());
        assert_eq!(newest.borrow_and_update().seq, 2);
        journal.clear();
        assert_eq!(*newest.borrow_and_update(), Newest { beginning: 1, seq: 0 });
        drop(newest);
        journal.write(change());
        assert_eq!(*journal.newest().borrow(), Newest { beginning: 1, seq: 1 });
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
