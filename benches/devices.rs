//! A house of many devices, each with its own port: the time until it is ready, and what each device takes.
//!
//! `cargo bench --bench devices` prints a line for each size. Each house is in a process of its own, so that it takes
//! no memory over from the one before.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "it measures real time, and a bench that cannot run ends"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wwsim::device::Config;
use wwsim::house::House;
use wwsim::scenario::{DevicePlan, ModbusBind, Scenario};

const SIZES: [u64; 3] = [2_500, 5_000, 10_000];
/// The argument with which the program measures one size.
const ONE: &str = "--devices";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let one = arguments.iter().position(|argument| argument == ONE);
    if let Some(devices) = one.and_then(|index| arguments.get(index + 1)) {
        measure(devices.parse().expect("a number of devices"));
        return;
    }
    for devices in SIZES {
        let own = std::env::current_exe().expect("this program");
        let status = Command::new(own).args([ONE, &devices.to_string()]).status().expect("runs");
        assert!(status.success());
    }
}

/// Returns the scenario of so many devices with everything switched off.
fn scenario(devices: u64) -> Scenario {
    let template = DevicePlan::default();
    let device = |index| {
        let mut plan = template.clone();
        plan.identity.id = DevicePlan::default_id(index);
        plan.config = Arc::new(Config::factory(&plan.identity.id));
        plan.modbus.bind = ModbusBind::WhenOn;
        plan
    };
    let mut scenario =
        Scenario { devices: (0..devices).map(device).collect(), ..Scenario::default() };
    scenario.any_port();
    scenario
}

fn measure(devices: u64) {
    // As the program does at its start.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let empty = status("VmRSS:");
    let begin = Instant::now();
    let scenario = scenario(devices);
    runtime.block_on(async move {
        let house = House::start(scenario).await.expect("the house starts");
        let ready = begin.elapsed();
        // Real time, because this is about the process.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let kib = status("VmRSS:").saturating_sub(empty);
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        println!(
            "{devices} devices: ready after {} ms; {} bytes a device; {descriptors} descriptors",
            ready.as_millis(),
            kib * 1024 / devices,
        );
        house.stop().await;
    });
}

/// Returns a number of this process's status, in KiB.
fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
