//! A slave with a ramp, and a client that gets a wrong transaction id at its third read.

use std::time::Duration;

use tokio_modbus::client::tcp;
use tokio_modbus::prelude::*;
use wwsim_modbus::bank::{Computed, Register, RegisterType, UnitLayout};
use wwsim_modbus::fault::WireFault;
use wwsim_modbus::simulator::{SlaveRule, SlaveSimulator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // From 0 to 100 in 100 seconds.
    let ramp =
        Computed::Ramp { from: 0.0, to: 100.0, over: Duration::from_secs(100), repeat: false };
    let unit = UnitLayout::new()
        .with_holding(Register::computed(0, RegisterType::Short, ramp))
        .with_holding(Register::stored(10, RegisterType::Float, 21.5));
    let simulator = SlaveSimulator::builder().manual_clock().unit(1, unit).start().await?;

    let wrong = simulator.inject(SlaveRule::reply(WireFault::WrongTransactionId).nth([3]));
    let mut client = tcp::connect_slave(simulator.address(), Slave(1)).await?;
    for seconds in [10, 20, 30] {
        simulator.clock().advance(Duration::from_secs(10)).await?;
        println!("after {seconds} s: {:?}", client.read_holding_registers(0, 1).await);
    }
    println!("the fault fired {} times", wrong.fired());
    simulator.stop().await;
    Ok(())
}
