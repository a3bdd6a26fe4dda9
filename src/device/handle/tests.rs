//! Tests of the handle: calls and tickets, changes of the configuration, and its locks.

use std::collections::{HashMap, VecDeque};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::locks::NoLock;
use super::*;
use crate::clock::Speed;
use crate::device::actions::{Admission, CallRefusal, Definition};
use crate::device::{DeviceId, License};
use crate::fault::{ActionEffect, ActionPlace, Fault, QueueEffect, Rule, Trigger};

/// A device, and the parts of a house that it needs.
struct DeviceFixture {
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    device: Arc<Device>,
}

impl DeviceFixture {
    fn new(actions: &Value, policy: ActionPolicy) -> Self {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new());
        let engine = Arc::new(engine);
        let id = "A842E39F8124".parse::<DeviceId>().unwrap();
        let identity = Identity { id, license: License::Plus };
        let setup = Setup {
            action_policy: policy,
            definition: Some(definition(actions)),
            ..Setup::new(identity)
        };
        let device = Device::new(setup, clock.clone(), Arc::clone(&engine), Arc::clone(&journal));
        Self { clock, engine, journal, device }
    }

    fn refusal(&self, id: &str) -> CallRefusal {
        self.device.call(id).expect_err("the call is refused")
    }

    fn rule(&self, id: &str, fault: Fault) {
        self.engine
            .add(Rule { id: id.into(), fault, devices: None, when: Trigger::default() })
            .unwrap();
    }

    /// Returns the names of the events in the journal.
    fn event_names(&self) -> Vec<String> {
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

/// Returns an action with so many requests.
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
    let fixture = DeviceFixture::new(&actions, ActionPolicy::default());
    let run = fixture.device.call("a").unwrap();
    for (id, refused, status) in [
        ("nobody", CallRefusal::Unknown, 404),
        ("off", CallRefusal::Disabled, 400),
        ("all off", CallRefusal::NothingEnabled, 400),
        ("none", CallRefusal::NothingEnabled, 400),
        ("a", CallRefusal::Busy, 409),
        ("b", CallRefusal::Full, 429),
    ] {
        assert_eq!((fixture.refusal(id), refused.status()), (refused, status), "{id}");
    }
    drop(run);
    fixture.device.delete_definition();
    assert_eq!(fixture.refusal("a"), CallRefusal::Unknown);
}

#[test]
fn only_enabled_requests_run_in_the_order_of_the_definition() {
    let request = |host: &str, enable: bool| json!({"http": {"url": format!("http://{host}/"), "enable": enable}});
    let requests = json!([request("one", true), request("two", false), request("three", true)]);
    let actions = json!([{"id": "a", "requests": requests}]);
    let fixture = DeviceFixture::new(&actions, ActionPolicy::default());
    let run = fixture.device.call("a").unwrap();
    assert_eq!((ids(&run), run.dropped), (vec![1, 2], 0));
    let all = fixture.device.definition().unwrap().actions()[0].requests.clone();
    assert!(Arc::ptr_eq(&run.requests[0].1, &all[0]));
    assert!(Arc::ptr_eq(&run.requests[1].1, &all[2]));
}

#[test]
fn a_call_that_does_not_fit_is_cut_or_refused_by_policy() {
    let actions = json!([action("a", 18), action("b", 3)]);
    let fit = DeviceFixture::new(&actions, ActionPolicy::default());
    let _first = fit.device.call("a").unwrap();
    let cut = fit.device.call("b").unwrap();
    assert_eq!((ids(&cut), cut.dropped), (vec![19, 20], 1));
    let policy = ActionPolicy { admission: Admission::AllOrNothing, ..ActionPolicy::default() };
    let all = DeviceFixture::new(&actions, policy);
    let _first = all.device.call("a").unwrap();
    assert_eq!(all.refusal("b"), CallRefusal::Full);
}

#[test]
fn rules_disable_actions_and_occupy_places() {
    let actions = json!([action("a", 3), action("b", 3)]);
    let fixture = DeviceFixture::new(&actions, ActionPolicy::default());
    let place = ActionPlace { action: Some("a".into()), ..ActionPlace::default() };
    fixture.rule("off", Fault::Action(place, ActionEffect::Disable));
    assert_eq!(fixture.refusal("a"), CallRefusal::Disabled);
    let occupy = |places| Fault::Queue { device: None, effect: QueueEffect::Occupy(places) };
    fixture.rule("most", occupy(18));
    assert_eq!(fixture.device.call("b").unwrap().dropped, 1);
    fixture.rule("rest", occupy(2));
    assert_eq!(fixture.refusal("b"), CallRefusal::Full);
}

// Ruling: FAULT-4.
#[test]
fn a_call_of_an_unknown_action_counts_for_no_rule() {
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    fixture.rule("off", Fault::Action(ActionPlace::default(), ActionEffect::Disable));
    assert_eq!(fixture.refusal("nobody"), CallRefusal::Unknown);
    assert_eq!(fixture.engine.get("off").unwrap().evaluated, 0);
}

// Ruling: ACTION-15.
#[tokio::test]
async fn exe_time_counts_from_the_start_of_the_request() {
    let fixture = DeviceFixture::new(&json!([action("a", 1)]), ActionPolicy::default());
    let mut run = fixture.device.call("a").unwrap();
    let (ticket, _) = run.requests.pop().unwrap();
    fixture.clock.advance(Duration::from_secs(3)).await.unwrap();
    ticket.start(|| "http://host/".to_owned());
    assert_eq!(fixture.device.status(&[1])[0].exe_time, Duration::ZERO);
    fixture.clock.advance(Duration::from_millis(133)).await.unwrap();
    ticket.finish(200, "answered");
    let status = &fixture.device.status(&[1])[0];
    assert_eq!((status.code, status.exe_time), (200, Duration::from_millis(133)));
    assert_eq!(fixture.event_names(), ["call_admitted", "request_started", "request_finished"]);
}

#[test]
fn a_dropped_ticket_ends_its_request() {
    let fixture = DeviceFixture::new(&json!([action("a", 2)]), ActionPolicy::default());
    let run = fixture.device.call("a").unwrap();
    assert_eq!(fixture.device.in_progress(), 2);
    drop(run);
    assert_eq!(fixture.device.in_progress(), 0);
    assert_eq!(fixture.codes(&[1, 2]), [(1, -1), (2, -1)]);
    assert!(fixture.device.status(&[1]).iter().all(|status| !status.exe_time.is_zero()));
}

// Ruling: ACTION-16.
#[test]
fn a_new_definition_does_not_affect_requests_in_progress() {
    let fixture = DeviceFixture::new(&json!([action("a", 1)]), ActionPolicy::default());
    let run = fixture.device.call("a").unwrap();
    fixture.device.set_definition(definition(&json!([action("a", 2), action("b", 1)])));
    assert_eq!(run.definition.actions().len(), 1);
    assert_eq!(fixture.refusal("a"), CallRefusal::Busy, "409 follows the id");
    assert!(fixture.device.call("b").is_ok());
    drop(run);
    assert_eq!(fixture.device.call("a").unwrap().requests.len(), 2);
}

#[test]
fn requests_from_before_a_reset_are_discarded() {
    let policy = ActionPolicy { first_status_id: Some(139), ..ActionPolicy::default() };
    let fixture = DeviceFixture::new(&json!([action("a", 1)]), policy);
    let mut before = fixture.device.call("a").unwrap();
    fixture.device.delete_definition();
    fixture.device.reset();
    fixture.journal.clear();
    let after = fixture.device.call("a").unwrap();
    assert_eq!(ids(&after), [139]);
    let (ticket, _) = before.requests.pop().unwrap();
    ticket.start(|| "http://host/".to_owned());
    ticket.finish(200, "answered");
    assert_eq!(fixture.codes(&[139]), [(139, -1)]);
    assert_eq!(fixture.device.in_progress(), 1);
    assert_eq!(fixture.event_names(), ["call_admitted"]);
}

#[test]
fn a_configuration_is_changed_without_the_state_lock() {
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    let changed = fixture.device.configure(|config| {
        let (send, receive) = std::sync::mpsc::channel();
        let device = Arc::clone(&fixture.device);
        thread::spawn(move || send.send(device.view().boot.ordinal));
        config.script = Some("print(1)".into());
        receive.recv_timeout(Duration::from_secs(10))
    });
    assert_eq!(changed, Ok(0), "other callers can read the device meanwhile");
    assert_eq!(fixture.device.view().config.script.as_deref(), Some("print(1)"));
}

/// A waker that notes whether the device's state is locked when it wakes.
struct LockProbe {
    device: Arc<Device>,
    locked: AtomicBool,
}

impl std::task::Wake for LockProbe {
    fn wake(self: Arc<Self>) {
        self.locked.store(self.device.locks.is_state_locked(), Ordering::Relaxed);
    }
}

#[test]
fn a_change_is_counted_before_the_lock_is_released() {
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    let device = Arc::clone(&fixture.device);
    let probe = Arc::new(LockProbe { device, locked: AtomicBool::new(false) });
    let waker = Arc::clone(&probe).into();
    let mut changes = fixture.device.changes();
    let mut next = std::pin::pin!(changes.changed());
    let mut context = std::task::Context::from_waker(&waker);
    assert!(next.as_mut().poll(&mut context).is_pending());
    fixture.device.start_pairing();
    assert!(next.as_mut().poll(&mut context).is_ready());
    assert!(probe.locked.load(Ordering::Relaxed), "the change was counted under the lock");
}

#[test]
fn a_change_is_made_again_after_a_concurrent_restore() {
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    let set = |script: &str| {
        let script = Some(script.into());
        fixture.device.configure(|config| {
            config.script.clone_from(&script);
            Ok::<_, ()>(())
        })
    };
    set("print(1)").unwrap();
    let mut scripts = Vec::new();
    let changed = fixture.device.configure(|config| {
        scripts.push(config.script.clone());
        if scripts.len() == 1 {
            fixture.device.restore_factory_settings();
        }
        config.meter.time_offset = 7;
        Ok::<_, ()>(())
    });
    changed.unwrap();
    assert_eq!(scripts, [Some("print(1)".into()), None]);
    let config = &fixture.device.view().config;
    assert_eq!((config.script.as_deref(), config.meter.time_offset), (None, 7));
}

#[test]
fn an_id_from_a_client_is_cut_for_the_journal() {
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    fixture.refusal(&"ü".repeat(5_000));
    let entries = fixture.journal.entries_after(0, 1, |_| true);
    let Event::CallRefused { action, .. } = &entries[0].event else { panic!("{entries:?}") };
    assert_eq!(&**action, "ü".repeat(16));
}

/// The state that the racing threads share.
struct Race {
    fixture: DeviceFixture,
    /// The number of runs in progress of each action.
    running: Vec<AtomicUsize>,
    /// A lower bound of the number of requests in progress.
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
            fixture: DeviceFixture::new(&json!(actions), ActionPolicy::default()),
            running: (0..Self::ACTIONS).map(|_| AtomicUsize::new(0)).collect(),
            requests: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
        }
    }

    fn call(&self, action: usize) -> Option<(usize, Run)> {
        let run = match self.fixture.device.call(&action.to_string()) {
            Ok(run) => run,
            Err(CallRefusal::Busy | CallRefusal::Full) => return None,
            Err(other) => panic!("{other}"),
        };
        let others = self.running[action].fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "action {action} runs twice at once");
        let requests = run.requests.len();
        let before = self.requests.fetch_add(requests, Ordering::SeqCst);
        assert!(before + requests <= 20, "{} requests in progress", before + requests);
        assert!(self.fixture.device.in_progress() <= 20);
        self.admitted.fetch_add(requests, Ordering::SeqCst);
        Some((action, run))
    }

    /// Ends a run: every third request by a drop of its ticket.
    fn end(&self, (action, mut run): (usize, Run)) {
        while let Some((ticket, _)) = run.requests.pop() {
            // Counted down first: the device may admit the next request before this thread goes on.
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

    fn run(&self, thread: usize, barrier: &Barrier) {
        // Every thread calls every action and holds its runs: there are slots for 20 of 30 requests.
        let order = (0..Self::ACTIONS).map(|n| (n + thread) % Self::ACTIONS);
        let mut runs: VecDeque<_> = order.filter_map(|action| self.call(action)).collect();
        barrier.wait();
        let full = self.fixture.device.in_progress();
        barrier.wait();
        for n in 0..Self::CALLS / Self::THREADS - Self::ACTIONS {
            runs.extend(self.call((n * (thread + 1) + thread) % Self::ACTIONS));
            if runs.len() > 1 {
                self.end(runs.pop_front().unwrap());
            }
        }
        for run in runs {
            self.end(run);
        }
        assert_eq!(full, 20);
    }
}

#[test]
fn racing_calls_stay_within_20_and_every_id_ends_once() {
    let race = Race::new();
    let barrier = Barrier::new(Race::THREADS);
    thread::scope(|scope| {
        for thread in 0..Race::THREADS {
            let (race, barrier) = (&race, &barrier);
            scope.spawn(move || race.run(thread, barrier));
        }
    });
    assert_eq!(race.fixture.device.in_progress(), 0);
    let mut calls = 0;
    let mut ends: HashMap<u64, (u32, u32)> = HashMap::new();
    for entry in race.fixture.journal.entries_after(0, usize::MAX, |_| true) {
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
    let given_out = race.admitted.load(Ordering::SeqCst);
    assert_eq!(ends.len(), given_out);
    for id in 1..=given_out as u64 {
        assert_eq!(ends.get(&id), Some(&(1, 1)), "id {id}: given out and ended once each");
    }
}

#[test]
fn a_long_catch_up_blocks_neither_the_device_nor_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let fixture = DeviceFixture::new(&json!([]), ActionPolicy::default());
    runtime.block_on(fixture.clock.jump(Duration::from_hours(365 * 24))).unwrap();
    // A caller of `snapshot` now waits for this lock.
    let catch_up = fixture.device.locks.catch_up(NoLock);
    let device = Arc::clone(&fixture.device);
    let snapshot = runtime.spawn(async move { device.snapshot().meter.reading.unwrap().id });
    // The only worker runs another task meanwhile, and the state is not locked.
    runtime.block_on(runtime.spawn(async {})).unwrap();
    assert_eq!(fixture.device.view().boot.at, VirtualTime::ZERO);
    assert!(!snapshot.is_finished());
    drop(catch_up);
    let id = fixture.device.snapshot().meter.reading.unwrap().id;
    assert_eq!(runtime.block_on(snapshot).unwrap(), id);
}
