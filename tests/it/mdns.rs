//! Announcements of devices, found by a browser of the same library on loopback.

use std::convert::Infallible;
use std::time::Duration;

use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::time::Instant;
use wwsim::device::Config;

use crate::support::house::{FreePort, TestHouse};

/// Real time within which an announcement has to come: probing alone takes three quarters of a second.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Real time after which no announcement is expected any more, for tests of its absence.
const QUIET_TIME: Duration = Duration::from_millis(1500);

/// A browser for the announcements of one device.
struct Browser {
    daemon: ServiceDaemon,
    id: String,
}

impl Browser {
    /// Makes a browser with a device id for the test with this number. All tests on this machine, also those
    /// of other processes, announce in one multicast group, where a name belongs to the first claimant,
    /// so each test needs an id of its own.
    fn new(test: u32) -> Self {
        assert!(test < 8, "three bits beside 21 of a process id");
        let daemon = ServiceDaemon::new().unwrap();
        daemon.enable_interface(vec![IfKind::LoopbackV4]).unwrap();
        let own = (std::process::id() << 3 | test) & 0xFF_FFFF;
        Self { daemon, id: format!("A842E3{own:06X}") }
    }

    /// Returns the last six digits of the device's id, which its names contain.
    fn short(&self) -> &str {
        &self.id[6..]
    }

    fn browse(&self, kind: &str) -> Receiver<ServiceEvent> {
        self.daemon.browse(kind).unwrap()
    }

    /// Waits for an announcement of the device that satisfies the predicate.
    fn find(
        &self,
        events: &Receiver<ServiceEvent>,
        predicate: impl Fn(&ResolvedService) -> bool,
    ) -> ResolvedService {
        let begun = Instant::now();
        loop {
            let left = TIMEOUT.checked_sub(begun.elapsed()).expect("nothing was announced");
            match events.recv_timeout(left) {
                Ok(ServiceEvent::ServiceResolved(service))
                    if service.fullname.contains(self.short()) && predicate(&service) =>
                {
                    return *service;
                }
                Ok(_) => {}
                Err(error) => panic!("nothing was announced: {error}"),
            }
        }
    }

    /// Waits until an announcement of the device is withdrawn.
    fn wait_withdrawn(&self, events: &Receiver<ServiceEvent>) {
        let begun = Instant::now();
        loop {
            let left = TIMEOUT.checked_sub(begun.elapsed()).expect("it was not withdrawn");
            match events.recv_timeout(left) {
                Ok(ServiceEvent::ServiceRemoved(_, name)) if name.contains(self.short()) => return,
                Ok(_) => {}
                Err(error) => panic!("it was not withdrawn: {error}"),
            }
        }
    }

    /// Returns true if the device announces a service of this kind.
    fn is_announced(&self, kind: &str) -> bool {
        let events = self.browse(kind);
        let begun = Instant::now();
        while let Some(left) = QUIET_TIME.checked_sub(begun.elapsed()) {
            if let Ok(ServiceEvent::ServiceResolved(service)) = events.recv_timeout(left)
                && service.fullname.contains(self.short())
            {
                return true;
            }
        }
        false
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

fn scenario(id: &str, mdns: &str) -> String {
    format!("mdns: {mdns}\ndevice: {{id: {id}}}")
}

fn configure(house: &TestHouse, change: impl Fn(&mut Config)) {
    let Ok(()) = house.device().configure(|config| {
        change(config);
        Ok::<_, Infallible>(())
    });
}

const HTTP: &str = "_http._tcp.local.";
const MODBUS: &str = "_modbus._tcp.local.";

// Ruling: ACCESS-3, DISCOVERY-1, DISCOVERY-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_web_service_follows_the_settings() {
    let browser = Browser::new(0);
    let house = TestHouse::start(&scenario(&browser.id, "loopback")).await;
    let web = browser.browse(HTTP);
    let service = browser.find(&web, |_| true);
    assert_eq!(
        service.fullname,
        format!("whatwatt Go {} WebUI._http._tcp.local.", browser.short())
    );
    assert_eq!(service.host, format!("whatwatt-{}.local.", browser.short()));
    assert_eq!(service.port, house.api_address().port());
    assert!(service.addresses.iter().any(|ip| ip.to_ip_addr() == house.api_address().ip()));
    assert_eq!(service.txt_properties.get_property_val_str("id"), Some(&*browser.id));
    assert_eq!(service.txt_properties.get_property_val_str("type"), Some("100"));
    assert!(browser.is_announced("_server._sub._http._tcp.local."), "by its subtype");

    let cellar = format!("cellar-{}", browser.short());
    configure(&house, |config| config.settings.system.host_name = cellar.clone());
    browser.find(&web, |service| service.host == format!("{cellar}.local."));
    configure(&house, |config| config.settings.services.broadcast = false);
    browser.wait_withdrawn(&web);
    configure(&house, |config| config.settings.services.broadcast = true);
    browser.find(&web, |_| true);
    house.house.stop().await;
    browser.wait_withdrawn(&web);
}

// Ruling: DISCOVERY-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_modbus_server_is_announced_while_it_listens() {
    let browser = Browser::new(1);
    let house = TestHouse::start(&scenario(&browser.id, "loopback")).await;
    let modbus = browser.browse(MODBUS);
    configure(&house, |config| config.settings.services.modbus.enable = true);
    let service = browser.find(&modbus, |_| true);
    assert_eq!(
        service.fullname,
        format!("ModbusTCP Slave {}._modbus._tcp.local.", browser.short())
    );
    assert_eq!(service.host, format!("whatwatt-{}.local.", browser.short()));
    assert_eq!(service.port, house.addresses().devices[0].modbus.unwrap().port());
    let free = FreePort::new();
    let port = free.number();
    configure(&house, |config| config.settings.services.modbus.port = port);
    browser.find(&modbus, |service| service.port == port);
    configure(&house, |config| config.settings.services.modbus.enable = false);
    browser.wait_withdrawn(&modbus);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_house_is_not_announced_by_default() {
    for (test, mode) in [(2, "auto"), (3, "off")] {
        let browser = Browser::new(test);
        let _twin = TestHouse::start(&scenario(&browser.id, mode)).await;
        assert!(!browser.is_announced(HTTP), "{mode}");
    }
}

// Ruling: DISCOVERY-4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_house_with_an_id_gets_another_name() {
    let browser = Browser::new(4);
    let first = TestHouse::start(&scenario(&browser.id, "loopback")).await;
    let web = browser.browse(HTTP);
    let earlier = browser.find(&web, |service| service.port == first.api_address().port());
    let second = TestHouse::start(&scenario(&browser.id, "loopback")).await;
    let later = browser.find(&web, |service| service.port == second.api_address().port());
    assert_ne!(earlier.fullname, later.fullname);
    assert!(later.fullname.contains(browser.short()), "{}", later.fullname);
}
