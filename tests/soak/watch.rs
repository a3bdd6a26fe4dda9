//! The checks that run all along: the journal is followed without a gap, and counters are compared with what they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::house::{CALLED, DEVICES, House, REBOOTED, TARGETS, UNDISTURBED};
use crate::http::Client;

/// Requests that a device may have in progress.
const IN_PROGRESS: usize = 20;

/// Entries that are read at once.
const PAGE: usize = 5000;

/// The follower of the journal. The lock is held over a reset, so that no entry is read in the wrong epoch.
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    /// Entries that were written and not read when the journal was last read.
    lag: AtomicU64,
}

struct Seen {
    control: Client,
    devices: Vec<Client>,
    /// The resets so far.
    epoch: u64,
    after: u64,
    boots: HashMap<String, Boot>,
    /// Lists of ids that clients were given for a call: the device, the ids, and the epoch of the call.
    promised: Vec<(String, Vec<u64>, u64)>,
    admitted: BTreeSet<(String, Vec<u64>)>,
    counters: HashMap<String, f64>,
    finished: u64,
}

/// The requests of a device since it started.
#[derive(Default)]
struct Boot {
    last_id: u64,
    /// Ids in progress, with true for those that were started.
    open: HashMap<u64, bool>,
}

/// The number of things that were checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) finished: u64,
    pub(crate) resets: u64,
}

impl Watch {
    pub(crate) fn new(house: &House) -> Self {
        let seen = Seen {
            control: Client::new(house.control),
            devices: house.devices.iter().map(|address| Client::new(*address)).collect(),
            epoch: 0,
            after: 0,
            boots: HashMap::new(),
            promised: Vec::new(),
            admitted: BTreeSet::new(),
            counters: HashMap::new(),
            finished: 0,
        };
        Self { seen: Mutex::new(seen), lag: AtomicU64::new(0) }
    }

    /// Returns how many entries the checks are behind the house, about.
    pub(crate) fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Notes that a call was answered with these ids. `epoch` is that of the time before the call.
    pub(crate) fn promise(&self, device: &str, ids: Vec<u64>, epoch: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.promised.push((device.to_owned(), ids, epoch));
    }

    /// Reads the new entries of the journal.
    pub(crate) fn follow(&self) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let lag = seen.read()?;
            self.lag.store(lag, Ordering::Relaxed);
            if lag == 0 {
                return Ok(());
            }
        }
    }

    /// Compares the counters with what they were.
    pub(crate) fn compare_counters(&self) -> Result<(), String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).compare_counters()
    }

    /// Resets the house, after everything before it has been read.
    pub(crate) fn reset(&self) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.read()? > 0 {}
        let answer = seen.control.send("POST", "/control/v1/reset", b"");
        let status = answer.map_err(|error| format!("a reset: {error}"))?.status;
        if status >= 300 {
            return Err(format!("a reset is answered with {status}"));
        }
        seen.epoch += 1;
        seen.after = 0;
        seen.boots.clear();
        seen.admitted.clear();
        seen.counters.clear();
        Ok(())
    }

    /// Returns true if no request is in progress.
    pub(crate) fn is_at_rest(&self) -> Result<bool, String> {
        self.follow()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = seen.requests_in_progress()?.iter().any(|requests| *requests > 0);
        let open = seen.boots.values().any(|boot| !boot.open.is_empty());
        Ok(!busy && !open)
    }

    /// Names what is in progress, for a report.
    pub(crate) fn describe(&self) -> String {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let reported = seen.requests_in_progress();
        let open: Vec<_> = seen.boots.iter().map(|(device, boot)| (device, &boot.open)).collect();
        format!("the house reports {reported:?}; the journal has {open:?}")
    }

    /// Checks at rest: every promised id was admitted, and every status that is remembered is final.
    pub(crate) fn check_at_rest(&self) -> Result<(), String> {
        self.follow()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        for (device, ids, epoch) in seen.promised.drain(..) {
            if epoch == seen.epoch && !seen.admitted.contains(&(device.clone(), ids.clone())) {
                return Err(format!("{device} answered 202 for {ids:?}, which were not admitted"));
            }
        }
        seen.admitted.clear();
        for index in [CALLED, REBOOTED] {
            let last = seen.boots.get(DEVICES[index]).map_or(0, |boot| boot.last_id);
            if last == 0 {
                continue;
            }
            let ids: Vec<String> =
                (last.saturating_sub(39).max(1)..=last).map(|id| id.to_string()).collect();
            let path = format!("/api/v1/actions/status?id={}", ids.join(","));
            let answer =
                seen.devices[index].get(&path).map_err(|error| format!("{path}: {error}"))?;
            // 404 if a reboot after the last entry has forgotten all of them.
            let statuses = if answer.status == 404 { Value::Null } else { answer.json()? };
            for status in statuses.as_array().into_iter().flatten() {
                if status["exe_time"].as_f64().is_none_or(|time| time <= 0.0) {
                    return Err(format!("{} is at rest, but has {status}", DEVICES[index]));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn checked(&self) -> Checked {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Checked { finished: seen.finished, resets: seen.epoch }
    }
}

impl Seen {
    /// Reads a page of the journal, and returns how many entries are left.
    fn read(&mut self) -> Result<u64, String> {
        let page = self.get(&format!("/control/v1/journal?after={}&limit={PAGE}", self.after))?;
        let written = page["written"].as_u64().unwrap_or(0);
        let entries = page["entries"].as_array().map_or(&[][..], Vec::as_slice);
        for entry in entries {
            let number = entry["seq"].as_u64().unwrap_or(0);
            if number != self.after + 1 {
                return Err(format!(
                    "the journal goes on with {number} after {}: it was overrun, or has a gap",
                    self.after
                ));
            }
            self.after = number;
            self.judge(entry).map_err(|reason| format!("{reason}: {entry}"))?;
        }
        if written < self.after {
            return Err(format!("the journal has {written} entries after {}", self.after));
        }
        Ok(written - self.after)
    }

    fn judge(&mut self, entry: &Value) -> Result<(), String> {
        let Some(device) = entry["device"].as_str() else { return Ok(()) };
        let boot = self.boots.entry(device.to_owned()).or_default();
        let id = entry["id"].as_u64().unwrap_or(0);
        match entry["event"].as_str().unwrap_or_default() {
            "rebooting" | "started" => *boot = Boot::default(),
            "call_admitted" => {
                let ids = entry["status_ids"].as_array().into_iter().flatten();
                let ids: Vec<u64> = ids.filter_map(Value::as_u64).collect();
                for id in &ids {
                    if *id <= boot.last_id {
                        return Err(format!("the id {id} is given after {}", boot.last_id));
                    }
                    boot.last_id = *id;
                    boot.open.insert(*id, false);
                }
                if boot.open.len() > IN_PROGRESS {
                    return Err(format!("{} requests are in progress", boot.open.len()));
                }
                self.admitted.insert((device.to_owned(), ids));
            }
            "request_started" => match boot.open.get_mut(&id) {
                Some(is_started @ false) => *is_started = true,
                Some(true) => return Err(format!("the request {id} is started twice")),
                None => return Err(format!("the request {id} is started and not in progress")),
            },
            "request_finished" => {
                if boot.open.remove(&id).is_none() {
                    return Err(format!("the request {id} ends and is not in progress"));
                }
                self.finished += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn requests_in_progress(&mut self) -> Result<Vec<u64>, String> {
        let state = self.get("/control/v1/state")?;
        let devices = state["devices"].as_array().into_iter().flatten();
        Ok(devices.map(|device| device["in_progress"].as_u64().unwrap_or(u64::MAX)).collect())
    }

    fn compare_counters(&mut self) -> Result<(), String> {
        for (device, requests) in DEVICES.iter().zip(self.requests_in_progress()?) {
            if requests > IN_PROGRESS as u64 {
                return Err(format!("{device} has {requests} requests in progress"));
            }
        }
        let rules = self.get("/control/v1/faults")?;
        for rule in rules["faults"].as_array().into_iter().flatten() {
            for key in ["evaluated", "fired", "overruled"] {
                self.compare(&format!("rule {} {key}", rule["id"]), &rule[key])?;
            }
        }
        for target in TARGETS {
            let requests = self.get(&format!("/control/v1/targets/{target}/requests?limit=1"))?;
            self.compare(&format!("target {target} received"), &requests["received"])?;
        }
        let clock = self.get("/control/v1/clock")?;
        self.compare("virtual time", &clock["t"])?;
        let answer = self.devices[UNDISTURBED].get("/api/v1/report");
        let answer = answer.map_err(|error| format!("the undisturbed device: {error}"))?;
        if answer.status != 200 {
            return Err(format!("the undisturbed device answers with {}", answer.status));
        }
        let report = answer.json()?;
        let energy = &report["report"]["energy"]["active"];
        self.compare("report.id", &report["report"]["id"])?;
        self.compare("imported energy", &energy["positive"]["total"])?;
        self.compare("exported energy", &energy["negative"]["total"])?;
        self.compare("uptime", &report["system"]["time_since_boot"])
    }

    /// Returns an error if a counter has fallen. A counter that is not there counts as unchanged.
    fn compare(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let Some(value) = value.as_f64() else { return Ok(()) };
        let before = self.counters.insert(name.to_owned(), value).unwrap_or(value);
        if value < before {
            return Err(format!("{name} has fallen from {before} to {value}"));
        }
        Ok(())
    }

    fn get(&mut self, path: &str) -> Result<Value, String> {
        let answer = self.control.get(path).map_err(|error| format!("{path}: {error}"))?;
        if answer.status != 200 {
            return Err(format!("{path} is answered with {}", answer.status));
        }
        answer.json()
    }
}
