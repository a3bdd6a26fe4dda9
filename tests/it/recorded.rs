//! Recorded runs: every built-in house answers a fixed list of requests, byte for byte as recorded. So does
//! a workshop with older and newer devices and with registers of every kind, which no built-in house has.
//!
//! Replies, registers, journal entries, control calls and error texts are an interface. Each test runs
//! the binary on a manual clock, sends the requests of `recorded/requests.rs` and `recorded/faults.rs` over
//! sockets, and compares what it sees with `fixtures/recorded/*.txt`. `recorded/transcript.rs` explains the
//! form of these files and lists everything that is masked.
//!
//! The command `WWSIM_RECORD=1 cargo test --test it recorded` writes the files again. That is allowed in a
//! commit that changes this interface on purpose, and in one that adds requests. Read the difference of the
//! files before the commit, and name the change in the changelog. A change of the code that is not meant to
//! be seen from outside never needs it.

mod command_line;
mod faults;
mod lists;
mod player;
mod process;
mod requests;
mod transcript;

use self::process::{WORKSHOP, output};

/// Sends the requests to a house and compares the transcript with its file.
fn check(house: &str) {
    requests::play(house).compare(house);
}

macro_rules! houses {
    ($($test:ident: $house:literal,)*) => {
        $(#[test]
        fn $test() {
            check($house);
        })*

        const HOUSES: &[&str] = &[$($house),*];
    };
}

houses! {
    default: "default",
    disabled_actions: "disabled-actions",
    slow_slaves: "slow-slaves",
    queue_saturation: "queue-saturation",
    flaky_modbus: "flaky-modbus",
    every_result_code: "every-result-code",
    family_house: "family-house",
    pv_and_battery: "pv-and-battery",
    heat_pump_winter: "heat-pump-winter",
    single_phase: "single-phase",
    clock_change_october: "clock-change-october",
    meter_trouble: "meter-trouble",
}

#[test]
fn every_builtin_house_is_recorded() {
    let list = String::from_utf8(output(&["list"]).stdout).unwrap();
    let listed: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, HOUSES, "each house needs a test here and a recording");
}

#[test]
fn workshop() {
    check(WORKSHOP);
}

#[test]
fn command_line() {
    command_line::play().compare("command-line");
}
