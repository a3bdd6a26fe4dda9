//! A house as the fixture of a test: a client under test, a manual clock, and assertions.
//!
//! `cargo run --example fixture`

use std::time::Duration;

use wwsim::House;

const SCENARIO: &str = "
clock: {start: 2026-01-15T18:00:00+01:00}
device:
  actions:
    actions:
      - id: heat
        requests:
          - modbus: {host: pump.local, func: 6, address: 10, type: short, value: '21'}
          - http: {url: 'http://bulb.local/on'}
slaves:
  pump: {hosts: [pump.local], latency: 200ms, units: {0: {holding: [{address: 10, type: short, value: 20}]}}}
http_targets:
  bulb: {hosts: [bulb.local]}
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let house = House::builder().scenario(SCENARIO).manual_clock().any_port().start().await?;

    // A client would POST to this URL; a Rust test may call the action itself.
    println!("POST {}/api/v1/actions/call?id=heat", house.device().url());
    let ids = house.device().call("heat")?;

    // The slave answers after 200 ms. No real time passes.
    house.clock().advance(Duration::from_millis(100)).await?;
    println!("after 100 ms: {:?}", house.device().status(&ids));
    house.clock().advance(Duration::from_millis(100)).await?;
    println!("after 200 ms: {:?}", house.device().status(&ids));

    house.device().assert_codes(&ids, &[1, 200]);
    house.slave("pump").assert_holding(10, 21);
    house.target("bulb").assert_requests(&["GET /on"]);
    house.stop().await;
    Ok(())
}
