//! A slave that breaks in four ways, and the result codes that the device makes of them.
//!
//! `cargo run --example broken_slave`

use std::time::Duration;

use wwsim::modbus::fault::{ReplyFault, ReplyPhase, WireFault};
use wwsim::{House, inject};

const SCENARIO: &str = "
device:
  actions:
    actions:
      - {id: heat, requests: [{modbus: {host: pump.local, func: 6, address: 10, type: short, value: '21'}}]}
slaves:
  pump: {hosts: [pump.local], units: {0: {holding: [{address: 10, type: short, value: 20}]}}}
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let house = House::builder().scenario(SCENARIO).manual_clock().any_port().start().await?;
    let faults = [
        ("no fault", None),
        ("a wrong transaction id", Some(ReplyFault::from(WireFault::WrongTransactionId))),
        ("two bytes missing", Some(WireFault::Truncated(2).into())),
        ("a reset in the middle of the reply", Some(ReplyFault::Reset(ReplyPhase::Middle))),
        ("silence", Some(ReplyFault::Silence)),
    ];
    for (what, fault) in faults {
        let injected = fault.map(|fault| house.inject(inject::slave("pump").reply(fault)));
        let ids = house.device().call("heat")?;
        house.clock().advance(Duration::from_secs(15)).await?;
        let codes: Vec<i32> = house.device().status(&ids).iter().map(|entry| entry.code).collect();
        println!("{what}: {codes:?}");
        if let Some(injected) = injected {
            injected.assert_fired(1);
        }
    }
    house.stop().await;
    Ok(())
}
