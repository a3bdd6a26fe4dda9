//! Announcements of devices, found by a browser of the same library on loopback.

use std::convert::Infallible;
use std::time::Duration;

use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::time::Instant;
use wwsim::device::Config;

use crate::harness::{FreePort, TestHouse};

/// Real time in which an announcement has to come: probing alone takes three quarters of a second.
const STUCK: Duration = Duration::from_secs(20);
/// Real time after which nothing more is to be expected. Only to see that nothing comes.
const QUIET: Duration = Duration::from_millis(1500);

/// A browser, and the device that it looks for.
struct Browser {
    daemon: ServiceDaemon,
    id: String,
}

impl Browser {
    /// The `test` numbers a device of its own: all tests of this machine, those of other processes
    /// too, announce in one multicast group, where a name belongs to the first who claims it.
    fn new(test: u32) -> Self {
        assert!(test < 8, "three bits beside 21 of a process id");
        let daemon = ServiceDaemon::new().unwrap();
        daemon.enable_interface(vec![IfKind::LoopbackV4]).unwrap();
        let own = (std::process::id() << 3 | test) & 0xFF_FFFF;
        Self { daemon, id: format!("A842E3{own:06X}") }
    }

    /// The last six digits of the device's id, which its names carry.
    fn short(&self) -> &str {
        &self.id[6..]
    }

    fn browse(&self, kind: &str) -> Receiver<ServiceEvent> {
        self.daemon.browse(kind).unwrap()
    }

    /// The device's announcement that `wanted` accepts.
    fn find(
        &self,
        found: &Receiver<ServiceEvent>,
        wanted: impl Fn(&ResolvedService) -> bool,
    ) -> ResolvedService {
        let begun = Instant::now();
        loop {
            let left = STUCK.checked_sub(begun.elapsed()).expect("nothing was announced");
            match found.recv_timeout(left) {
                Ok(ServiceEvent::ServiceResolved(service))
                    if service.fullname.contains(self.short()) && wanted(&service) =>
                {
                    return *service;
                }
                Ok(_) => {}
                Err(error) => panic!("nothing was announced: {error}"),
            }
        }
    }

    fn gone(&self, found: &Receiver<ServiceEvent>) {
        let begun = Instant::now();
        loop {
            let left = STUCK.checked_sub(begun.elapsed()).expect("it was not taken back");
            match found.recv_timeout(left) {
                Ok(ServiceEvent::ServiceRemoved(_, name)) if name.contains(self.short()) => return,
                Ok(_) => {}
                Err(error) => panic!("it was not taken back: {error}"),
            }
        }
    }

    /// Returns true if the device announces a service of this kind.
    fn hears(&self, kind: &str) -> bool {
        let found = self.browse(kind);
        let begun = Instant::now();
        while let Some(left) = QUIET.checked_sub(begun.elapsed()) {
            if let Ok(ServiceEvent::ServiceResolved(service)) = found.recv_timeout(left)
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

fn house(id: &str, mdns: &str) -> String {
    format!("mdns: {mdns}\ndevice: {{id: {id}}}")
}

fn set(twin: &TestHouse, change: impl Fn(&mut Config)) {
    let Ok(()) = twin.house.devices().next().unwrap().configure(|config| {
        change(config);
        Ok::<_, Infallible>(())
    });
}

const HTTP: &str = "_http._tcp.local.";
const MODBUS: &str = "_modbus._tcp.local.";

// Ruling: ACCESS-3, DISCOVERY-1, DISCOVERY-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_found_by_its_names_and_again_when_they_change() {
    let browser = Browser::new(0);
    let twin = TestHouse::start(&house(&browser.id, "loopback")).await;
    let web = browser.browse(HTTP);
    let service = browser.find(&web, |_| true);
    assert_eq!(
        service.fullname,
        format!("whatwatt Go {} WebUI._http._tcp.local.", browser.short())
    );
    assert_eq!(service.host, format!("whatwatt-{}.local.", browser.short()));
    assert_eq!(service.port, twin.device().port());
    assert!(service.addresses.iter().any(|ip| ip.to_ip_addr() == twin.device().ip()));
    assert_eq!(service.txt_properties.get_property_val_str("id"), Some(&*browser.id));
    assert_eq!(service.txt_properties.get_property_val_str("type"), Some("100"));
    assert!(browser.hears("_server._sub._http._tcp.local."), "by its subtype");

    let cellar = format!("cellar-{}", browser.short());
    set(&twin, |config| config.settings.system.host_name = cellar.clone());
    browser.find(&web, |service| service.host == format!("{cellar}.local."));
    set(&twin, |config| config.settings.services.broadcast = false);
    browser.gone(&web);
    set(&twin, |config| config.settings.services.broadcast = true);
    browser.find(&web, |_| true);
    twin.house.stop().await;
    browser.gone(&web);
}

// Ruling: DISCOVERY-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_modbus_server_is_announced_while_it_listens_and_where() {
    let browser = Browser::new(1);
    let twin = TestHouse::start(&house(&browser.id, "loopback")).await;
    let modbus = browser.browse(MODBUS);
    set(&twin, |config| config.settings.services.modbus.enable = true);
    let service = browser.find(&modbus, |_| true);
    assert_eq!(
        service.fullname,
        format!("ModbusTCP Slave {}._modbus._tcp.local.", browser.short())
    );
    assert_eq!(service.host, format!("whatwatt-{}.local.", browser.short()));
    assert_eq!(service.port, twin.house.addresses().devices[0].modbus.port());
    let free = FreePort::new();
    let port = free.number();
    set(&twin, |config| config.settings.services.modbus.port = port);
    browser.find(&modbus, |service| service.port == port);
    set(&twin, |config| config.settings.services.modbus.enable = false);
    browser.gone(&modbus);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_this_machine_reaches_is_not_announced_unless_asked_for() {
    for (test, mode) in [(2, "auto"), (3, "off")] {
        let browser = Browser::new(test);
        let _twin = TestHouse::start(&house(&browser.id, mode)).await;
        assert!(!browser.hears(HTTP), "{mode}");
    }
}

// Ruling: DISCOVERY-4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_of_two_houses_with_one_id_gets_another_name() {
    let browser = Browser::new(4);
    let first = TestHouse::start(&house(&browser.id, "loopback")).await;
    let web = browser.browse(HTTP);
    let earlier = browser.find(&web, |service| service.port == first.device().port());
    let second = TestHouse::start(&house(&browser.id, "loopback")).await;
    let later = browser.find(&web, |service| service.port == second.device().port());
    assert_ne!(earlier.fullname, later.fullname);
    assert!(later.fullname.contains(browser.short()), "{}", later.fullname);
}
