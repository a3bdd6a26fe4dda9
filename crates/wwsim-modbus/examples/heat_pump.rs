//! A heat pump that serves in real time until Enter is pressed: try it with any Modbus client.
//!
//! `cargo run --example heat_pump` prints its address; 127.0.0.1:1502 if that is free.

use std::net::SocketAddr;
use std::time::Duration;

use wwsim_modbus::bank::{
    Computed, Reaction, ReactionChange, Register, RegisterType, Table, UnitLayout,
};
use wwsim_modbus::fault::ReplyFault;
use wwsim_modbus::simulator::{SlaveRule, SlaveSimulator};
use wwsim_modbus::slave::SlaveEvent;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let outside = Computed::Sine {
        mean: 5.0,
        amplitude: 8.0,
        period: Duration::from_hours(24),
        phase: Duration::ZERO,
    };
    // The flow temperature follows the setpoint at 0.5 K a second.
    let follow = Reaction {
        after: Duration::ZERO,
        table: Table::HoldingRegisters,
        address: 12,
        change: ReactionChange::RampToWritten { per_second: 0.5 },
    };
    let setpoint = Register {
        limits: Some(20.0..=60.0),
        reactions: vec![follow],
        ..Register::stored(10, RegisterType::Float, 35.0)
    };
    let unit = UnitLayout::new()
        .with_coils(0..=0, true)
        .with_input(Register::computed(0, RegisterType::Float, outside))
        .with_holding(setpoint)
        .with_holding(Register::stored(12, RegisterType::Float, 35.0));
    let builder = SlaveSimulator::builder()
        .name("heat pump")
        .unit(1, unit)
        // One in twenty requests is lost, as on a bad line.
        .rule(SlaveRule::reply(ReplyFault::Silence).probability(0.05));
    let wanted = SocketAddr::from(([127, 0, 0, 1], 1502));
    let simulator = match builder.clone().listen(wanted).start().await {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("{error}; taking a free port");
            builder.start().await?
        }
    };
    println!("a heat pump, unit 1, at {}; Enter ends it", simulator.address());
    println!(
        "input 0: outside; holding 10: setpoint (20 to 60); holding 12: flow; floats, high word first"
    );
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    for logged in simulator.events() {
        if let SlaveEvent::Request { unit, function, address, outcome, .. } = logged.event {
            let t = logged.at.as_secs_f64();
            println!("{t:8.3} s  unit {unit}, function {function}, address {address}: {outcome}");
        }
    }
    simulator.stop().await;
    Ok(())
}
