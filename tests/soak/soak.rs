//! The rounds of the soak, what its clients share, and the verdict.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broken::{flooder, idler, slow_reader, vandal};
use crate::clients::{
    broker, caller, clockmaker, configurator, follower, modbus_client, operator, poller, prober,
    rebooter, resetter, saboteur,
};
use crate::draws::Draws;
use crate::house::{BESIEGED, CALLED, Folder, House, REBOOTED, Usage};
use crate::http::{Answer, Client};
use crate::watch::Watch;

/// The time in which clients work in a round.
const ROUND: Duration = Duration::from_secs(10);

/// Rounds after which every buffer has had its largest size.
const WARM_UP: usize = 2;

/// The longest time after which nothing is left of the clients of a round.
const REST: Duration = Duration::from_mins(1);

/// Entries by which the checks may be behind before the clients wait for them; the journal holds 10 000.
const LAG: u64 = 2000;

/// Descriptors that may come and go: the MQTT clients connect anew at any time.
const SPARE_DESCRIPTORS: usize = 8;

/// Threads that may come and go: those that do what blocks stay for some seconds after it.
const SPARE_THREADS: u64 = 32;

/// Memory by which the house may grow after the warm-up: what the allocator keeps varies by this much.
const GROWTH_KIB: u64 = 8 * 1024;

struct Settings {
    seconds: u64,
    seed: u64,
    idle_connections: usize,
    binary: PathBuf,
}

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let idle_connections = number("SOAK_CONNECTIONS", 10_000)?;
        Ok(Self {
            seconds: number("SOAK_SECONDS", 120)?,
            seed: number("SOAK_SEED", now.as_secs())?,
            idle_connections: usize::try_from(idle_connections).unwrap_or(usize::MAX),
            binary: std::env::var_os("WWSIM")
                .map_or_else(|| env!("CARGO_BIN_EXE_wwsim").into(), PathBuf::from),
        })
    }
}

fn number(name: &str, default: u64) -> Result<u64, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name} is {text:?}: a number is expected")),
        Err(_) => Ok(default),
    }
}

/// The state that the clients of a round share.
pub(crate) struct Soak {
    pub(crate) house: House,
    pub(crate) watch: Watch,
    pub(crate) idle_connections: usize,
    stops: AtomicBool,
    rules: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    findings: Mutex<Vec<String>>,
}

impl Soak {
    /// Returns false if the round has ended. Waits until the checks have kept pace, and a little.
    pub(crate) fn goes_on(&self, draws: &mut Draws) -> bool {
        thread::sleep(Duration::from_micros(draws.below(3000)));
        while self.goes_on_at_once() && self.watch.lag() > LAG {
            thread::sleep(Duration::from_millis(5));
        }
        self.goes_on_at_once()
    }

    pub(crate) fn goes_on_at_once(&self) -> bool {
        !self.stops.load(Ordering::Relaxed)
    }

    /// Sleeps for a time, at most until the round ends.
    pub(crate) fn sleep(&self, time: Duration) {
        let begin = Instant::now();
        while self.goes_on_at_once() && begin.elapsed() < time {
            thread::sleep(Duration::from_millis(10).min(time));
        }
    }

    /// Notes a mistake of the house, which ends the soak.
    pub(crate) fn find(&self, what: String) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        self.stops.store(true, Ordering::Relaxed);
    }

    pub(crate) fn find_error(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.find(what);
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// Returns an id that no rule had before, so that its counters are its own.
    pub(crate) fn new_rule(&self) -> String {
        format!("soak-{}", self.rules.fetch_add(1, Ordering::Relaxed))
    }

    /// Finds a status that no request and no rule of the soak leads to.
    pub(crate) fn judge_status(&self, path: &str, answer: &Answer) {
        if answer.status >= 500 && answer.status != 503 {
            let body = String::from_utf8_lossy(&answer.body);
            self.find(format!("{path} is answered with {}: {body}", answer.status));
        }
    }

    /// Finds an answer of the control plane that did not come. A reset may end the connection.
    pub(crate) fn judge_control(&self, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) {
            self.find(format!("the control plane: {error}"));
        }
    }

    /// Counts an answer of the control plane that is as expected: below 300, or one of `others`. Finds any other.
    pub(crate) fn judge_control_answer(
        &self,
        what: &str,
        answer: &io::Result<Answer>,
        others: &[u16],
        counted: &'static str,
    ) {
        match answer {
            Ok(answer) if answer.status < 300 || others.contains(&answer.status) => {
                self.count(counted);
            }
            Ok(answer) => {
                let reply = String::from_utf8_lossy(&answer.body);
                self.find(format!("{what} is refused with {}: {reply}", answer.status));
            }
            Err(error) => self.judge_control(error),
        }
    }

    pub(crate) fn note_idle(&self, connections: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let most = counts.entry("idle connections at once").or_default();
        *most = (*most).max(connections as u64);
    }

    /// Notes that the machine, or a full backlog, takes no more idle connections.
    pub(crate) fn note_idle_failure(&self, error: &io::Error) {
        if error.kind() == ErrorKind::ConnectionRefused {
            self.find(format!("an idle connection: {error}"));
        }
        self.count("listeners that took fewer idle connections");
    }

    fn verdict(&self) -> Result<(), String> {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
    }

    /// Lets clients of every kind work for a time.
    fn work(&self, seed: u64, round: u64, time: Duration) {
        type Work = fn(&Soak, &mut Draws);
        let clients: [Work; 24] = [
            |soak, draws| caller(soak, draws, CALLED),
            |soak, draws| caller(soak, draws, CALLED),
            |soak, draws| caller(soak, draws, REBOOTED),
            |soak, draws| poller(soak, draws, CALLED),
            |soak, draws| poller(soak, draws, REBOOTED),
            |soak, draws| poller(soak, draws, BESIEGED),
            prober,
            configurator,
            saboteur,
            saboteur,
            clockmaker,
            rebooter,
            resetter,
            modbus_client,
            modbus_client,
            follower,
            follower,
            operator,
            vandal,
            vandal,
            slow_reader,
            slow_reader,
            flooder,
            idler,
        ];
        self.stops.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for (client, work) in (0..).zip(clients) {
                let mut draws = Draws::new(seed, round, client);
                scope.spawn(move || work(self, &mut draws));
            }
            let begin = Instant::now();
            let mut compared = begin;
            while self.goes_on_at_once() && begin.elapsed() < time {
                self.find_error(self.watch.follow());
                if compared.elapsed() > Duration::from_millis(300) {
                    compared = Instant::now();
                    self.find_error(self.watch.compare_counters());
                    self.find_error(self.house.check());
                }
                thread::sleep(Duration::from_millis(20));
            }
            self.stops.store(true, Ordering::Relaxed);
        });
    }

    /// Removes the rules, waits until everything has ended, and returns what the house needs then.
    fn rest(&self, settled: Option<Usage>) -> Result<Usage, String> {
        let mut control = Client::new(self.house.control);
        let rules = control.get("/control/v1/faults").map_err(|error| error.to_string())?.json()?;
        for rule in rules["faults"].as_array().into_iter().flatten() {
            let path = format!("/control/v1/faults/{}", rule["id"].as_str().unwrap_or_default());
            control.send("DELETE", &path, b"").map_err(|error| format!("{path}: {error}"))?;
        }
        let speed = control.send("POST", "/control/v1/clock", br#"{"speed": 20}"#);
        speed.map_err(|error| format!("the speed: {error}"))?;
        let begin = Instant::now();
        while !self.watch.is_at_rest()? {
            if begin.elapsed() > REST {
                return Err(format!("requests go on after {REST:?}: {}", self.watch.describe()));
            }
            self.house.check()?;
            thread::sleep(Duration::from_millis(50));
        }
        self.watch.check_at_rest()?;
        self.watch.compare_counters()?;
        let begin = Instant::now();
        loop {
            self.house.check()?;
            let usage = self.house.usage()?;
            let Some(settled) = settled else { return Ok(usage) };
            if usage.descriptors <= settled.descriptors + SPARE_DESCRIPTORS
                && usage.threads <= settled.threads + SPARE_THREADS
            {
                return Ok(usage);
            }
            if begin.elapsed() > REST {
                return Err(format!(
                    "{REST:?} after the last client there are {usage:?}, before the first {settled:?}"
                ));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Returns an error if the house needs more memory at the end than after the warm-up.
fn judge_usage(rests: &[Usage]) -> Result<(), String> {
    let steady = &rests[WARM_UP.min(rests.len() - 1)..];
    let (early, late) = steady.split_at(steady.len().div_ceil(2));
    let most = |usages: &[Usage]| usages.iter().map(|usage| usage.resident_kib).max();
    let least = |usages: &[Usage]| usages.iter().map(|usage| usage.resident_kib).min();
    if let (Some(before), Some(after)) = (most(early), least(late))
        && after > before + GROWTH_KIB
    {
        return Err(format!(
            "memory grows: at most {before} KiB first, {after} KiB at least later"
        ));
    }
    Ok(())
}

fn run(settings: &Settings) -> Result<(), String> {
    let folder = Folder::new().map_err(|error| format!("a folder for the soak: {error}"))?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // The limit of this process; the house raises its own.
    let wanted = settings.idle_connections as u64 + 1000;
    let allowed = rlimit::increase_nofile_limit(wanted).unwrap_or(0);
    if allowed < wanted {
        return Err(format!(
            "{allowed} descriptors are allowed and {wanted} needed: raise `ulimit -n`, or lower SOAK_CONNECTIONS"
        ));
    }
    let is_persisted = settings.seed.is_multiple_of(2);
    let house =
        House::start(&settings.binary, folder.path(), settings.seed, address, is_persisted)?;
    let soak = Soak {
        watch: Watch::new(&house),
        house,
        idle_connections: settings.idle_connections,
        stops: AtomicBool::new(true),
        rules: AtomicU64::new(0),
        counts: Mutex::default(),
        findings: Mutex::default(),
    };
    let broker_stops = AtomicBool::new(false);
    let verdict = thread::scope(|scope| {
        scope.spawn(|| broker(&listener, &broker_stops));
        let verdict = rounds(&soak, settings);
        broker_stops.store(true, Ordering::Relaxed);
        verdict
    });
    let checked = soak.watch.checked();
    for (what, count) in soak.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("soak: {count} {what}");
    }
    println!("soak: {} requests ended, {} resets", checked.finished, checked.resets);
    verdict?;
    if checked.finished == 0 {
        return Err("no request has ended: nothing was checked".to_owned());
    }
    let status = soak.house.stop()?;
    if status.success() { Ok(()) } else { Err(format!("the house ended with {status}")) }
}

fn rounds(soak: &Soak, settings: &Settings) -> Result<(), String> {
    let begin = Instant::now();
    let whole = Duration::from_secs(settings.seconds);
    let before = soak.rest(None)?;
    let mut rests = Vec::new();
    let round_time = ROUND.min(whole / 4);
    for round in 0.. {
        soak.work(settings.seed, round, round_time);
        soak.verdict().map_err(|what| format!("in round {round}: {what}"))?;
        let usage =
            soak.rest(Some(before)).map_err(|what| format!("after round {round}: {what}"))?;
        println!(
            "soak: {:4} s, round {round}: {} MB, {} descriptors, {} threads",
            begin.elapsed().as_secs(),
            usage.resident_kib / 1024,
            usage.descriptors,
            usage.threads
        );
        rests.push(usage);
        if begin.elapsed() + round_time > whole && rests.len() > WARM_UP + 1 {
            break;
        }
    }
    judge_usage(&rests)
}

pub(crate) fn main() -> ExitCode {
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("soak: {message}");
            return ExitCode::from(2);
        }
    };
    println!("soak: SOAK_SEED={} SOAK_SECONDS={}", settings.seed, settings.seconds);
    match run(&settings) {
        Ok(()) => {
            println!("soak: passed");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!(
                "soak: FAILED: {what}\nsoak: again with SOAK_SEED={} SOAK_SECONDS={}",
                settings.seed, settings.seconds
            );
            ExitCode::FAILURE
        }
    }
}
