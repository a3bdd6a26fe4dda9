//! The cost of a device that does nothing, and of one whose services are switched on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_modbus::client::tcp::connect_slave;
use tokio_modbus::prelude::{Reader as _, Slave};
use wwsim::house::House;
use wwsim::scenario::{self, ModbusBind};

use crate::support::house::{TestHouse, http, within};

/// Tasks of the runtime that are alive.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Starts a house of so many devices with everything switched off, on a manual clock.
async fn idle_house(devices: usize) -> TestHouse {
    TestHouse::start(&format!("devices: [{}]", "{sd_card: true}, ".repeat(devices))).await
}

#[tokio::test]
async fn an_idle_device_has_no_timer_and_one_task() {
    let few = idle_house(10).await;
    few.settle().await;
    let tasks_of_few = tasks();
    let many = idle_house(210).await;
    many.settle().await;
    let tasks_of_many = tasks() - tasks_of_few;
    assert_eq!(tasks_of_many - tasks_of_few, 200, "the task that accepts connections");
    assert_eq!((few.clock().timer_count(), many.clock().timer_count()), (0, 0));
    many.advance(Duration::from_hours(24)).await;
    assert_eq!((many.clock().timer_count(), tasks()), (0, tasks_of_few + tasks_of_many));
}

#[tokio::test]
async fn a_task_lives_as_long_as_its_service_is_on() {
    let house = idle_house(1).await;
    house.settle().await;
    let idle = tasks();
    let on_and_off = |change: fn(&mut wwsim::device::Config, bool), on: bool| {
        let Ok(()) = house.device().configure(|config| {
            change(config, on);
            Ok::<_, Infallible>(())
        });
    };
    let services: [fn(&mut wwsim::device::Config, bool); 4] = [
        |config, on| config.settings.services.sd.enable = on,
        |config, on| config.settings.services.modbus.enable = on,
        |config, on| {
            // Nobody listens there.
            config.mqtt.url = "mqtt://127.0.0.1:9".into();
            config.mqtt.enable = on;
        },
        |config, on| config.settings.services.berry_auto_run = on,
    ];
    for (index, service) in services.into_iter().enumerate() {
        for _ in 0..3 {
            on_and_off(service, true);
            house.settle().await;
            assert!(tasks() > idle, "service {index} is on");
            on_and_off(service, false);
            house.settle().await;
            assert_eq!(tasks(), idle, "service {index} is off");
        }
    }
    // A reboot ends all of them, and they are on again after it.
    for service in services {
        on_and_off(service, true);
    }
    house.settle().await;
    let busy = tasks();
    assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
    house.settle().await;
    assert!(tasks() < busy);
    house.advance(Duration::from_mins(1)).await;
    within(async {
        while tasks() != busy {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.reset().await;
    house.settle().await;
    assert_eq!(tasks(), idle, "as at the start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_comes_when_the_log_that_it_switched_on_runs() {
    let house = TestHouse::start("meter: {kind: ensor}").await;
    for round in 0..20 {
        for (on, body) in [
            (true, json!({"services": {"sd": {"enable": true, "frequency": 1}}})),
            (false, json!({"services": {"sd": {"enable": false}}})),
        ] {
            let before = rows(&house).await;
            let body = body.to_string();
            let answer = http(house.api_address(), "PUT", "/api/v1/settings", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            house.advance(Duration::from_secs(5)).await;
            assert_eq!(rows(&house).await > before, on, "round {round}");
        }
    }
}

/// Returns the number of rows on the SD card.
async fn rows(house: &TestHouse) -> usize {
    let now = house.clock().civil(house.clock().now());
    let file = now.strftime("%Y%m%d.CSV").to_string();
    let log = house.device().sd_file(&file).await.unwrap_or_default();
    String::from_utf8(log).unwrap().lines().count()
}

/// Starts a house whose device takes its Modbus port when the service is switched on.
async fn start_when_on(scenario: &str) -> TestHouse {
    let yaml = format!("control: 127.0.0.1:0\nclock: {{speed: manual}}\n{scenario}");
    let mut scenario = scenario::load(&yaml, "test.yaml", None).unwrap();
    scenario.any_port();
    scenario.devices[0].modbus.bind = ModbusBind::WhenOn;
    TestHouse { house: House::start(scenario).await.unwrap() }
}

fn switch_modbus(house: &TestHouse, enable: bool) {
    let Ok(()) = house.device().configure(|config| {
        config.settings.services.modbus.enable = enable;
        Ok::<_, Infallible>(())
    });
}

/// Returns what the control plane shows of the first device's Modbus server.
async fn state(house: &TestHouse) -> Value {
    let state = http(house.control_address(), "GET", "/control/v1/state", "").await.json();
    state["devices"][0]["modbus"].clone()
}

async fn read(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = tokio_modbus::client::tcp::attach_slave(stream, Slave(1));
    client.read_input_registers(211, 2).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_modbus_port_may_be_taken_when_the_service_is_switched_on() {
    let house = start_when_on("device: {reboot_time: 3s}").await;
    let device = &house.addresses().devices[0];
    assert_eq!(device.modbus, None);
    assert!(!serde_json::to_string(device).unwrap().contains("modbus"));
    let off =
        json!({"enabled": false, "port": 502, "address": null, "listening": false, "note": null});
    assert_eq!(state(&house).await, off);
    for _ in 0..2 {
        switch_modbus(&house, true);
        let on = state(&house).await;
        assert_eq!((&on["listening"], &on["note"]), (&json!(true), &Value::Null));
        let address: SocketAddr = on["address"].as_str().unwrap().parse().unwrap();
        read(address).await;
        assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
        house.settle().await;
        assert!(TcpStream::connect(address).await.is_err());
        assert!(listen(address).is_err(), "it stays the device's while that reboots");
        house.advance(Duration::from_secs(3)).await;
        assert_eq!(state(&house).await, on);
        read(address).await;
        switch_modbus(&house, false);
        house.settle().await;
        assert_eq!(state(&house).await, off);
        drop(listen(address).unwrap());
    }
    switch_modbus(&house, true);
    house.reset().await;
    house.settle().await;
    assert_eq!(state(&house).await, off);
}

#[tokio::test]
async fn a_modbus_server_that_is_on_at_the_start_has_its_port_then() {
    let on = "device: {settings: {services: {modbus: {enable: true}}}}";
    let house = start_when_on(on).await;
    let address = house.addresses().devices[0].modbus.unwrap();
    read(address).await;
    house.reset().await;
    read(address).await;
    connect_slave(address, Slave(1)).await.unwrap();
}

/// Listens at an address as another process does that wants it at any price.
fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket)
}

// Ruling: POWER-1.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_gets_the_ports_of_a_device_that_reboots() {
    let on = "settings: {services: {modbus: {enable: true}}}";
    let house = TestHouse::start(&format!("device: {{reboot_time: 1s, {on}}}")).await;
    let ports = [house.api_address(), house.addresses().devices[0].modbus.unwrap()];
    let (halt, halted) = std::sync::mpsc::channel::<()>();
    let thief = std::thread::spawn(move || {
        let mut attempts = 0_u64;
        while halted.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            for port in ports {
                assert!(listen(port).is_err(), "{port} at attempt {attempts}");
                attempts += 1;
            }
        }
        attempts
    });
    for _ in 0..50 {
        read(ports[1]).await;
        assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
        house.settle().await;
        for port in ports {
            assert!(TcpStream::connect(port).await.is_err());
        }
        house.advance(Duration::from_secs(1)).await;
        assert_eq!(house.get("/api/v1/system").await.status, 200);
    }
    drop(halt);
    assert!(thief.join().unwrap() > 1000);
    house.house.stop().await;
    for port in ports {
        drop(listen(port).unwrap());
    }
}
