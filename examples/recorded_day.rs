//! A day of a house, recorded by the device on its SD card and played again by another house's meter.
//!
//! `cargo run --example recorded_day`

use std::time::Duration;

use wwsim::House;

const HOUR: Duration = Duration::from_hours(1);

const RECORDING: &str = "
clock: {start: 2026-01-15T00:00:00+01:00}
device:
  sd_card: {}
  settings: {services: {sd: {enable: true, frequency: 900}}}
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("wwsim-recorded-day-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;

    // A day passes in a moment; the device writes a row each quarter of an hour.
    let house = House::builder().scenario(RECORDING).manual_clock().any_port().start().await?;
    house.clock().advance(24 * HOUR).await?;
    let csv = house.device().sd_file("/20260115.CSV").await.ok_or("no log")?;
    house.stop().await;
    std::fs::write(folder.join("day.csv"), &csv)?;
    println!("recorded {} rows", csv.split(|byte| *byte == b'\n').count() - 2);

    // The meter of the second house says what the first one said.
    let scenario = "
clock: {start: 2026-01-15T00:00:00+01:00}
device: {}
meter: {replay: day.csv}
";
    std::fs::write(folder.join("house.yaml"), scenario)?;
    let house =
        House::builder().file(folder.join("house.yaml")).manual_clock().any_port().start().await?;
    for hour in (0..24).step_by(3) {
        house.clock().advance(3 * HOUR).await?;
        let power = house.device().active_power();
        println!("{:02}:00  {} kW", hour + 3, power.map_or_else(String::new, |kw| kw.to_string()));
    }
    house.stop().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
