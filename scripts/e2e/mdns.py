"""mdns.py DEVICE CONTROL: browses loopback for the device as docs/device-modbus.md says it announces itself."""

import sys
import threading
import urllib.parse

import requests
from zeroconf import IPVersion, ServiceBrowser, ServiceListener, Zeroconf

DEVICE, CONTROL = sys.argv[1:]
PORT = urllib.parse.urlsplit(DEVICE).port
STUCK = 20


class Found(ServiceListener):
    """Names that are announced now."""

    def __init__(self):
        self.names, self.changed = set(), threading.Condition()

    def add_service(self, zc, kind, name):
        with self.changed:
            self.names.add(name)
            self.changed.notify_all()

    def update_service(self, zc, kind, name):
        self.add_service(zc, kind, name)

    def remove_service(self, zc, kind, name):
        with self.changed:
            self.names.discard(name)
            self.changed.notify_all()

    def wait(self, what, wanted):
        with self.changed:
            if not self.changed.wait_for(lambda: wanted(self.names), STUCK):
                sys.exit(f"FAILED: {what}: {self.names}")
        print(f"ok: {what}")


def equal(what, expected, got):
    if expected != got:
        sys.exit(f"FAILED: {what}: expected {expected!r}, got {got!r}")
    print(f"ok: {what}")


def settings(change):
    requests.put(f"{DEVICE}/api/v1/settings", json=change, timeout=STUCK).raise_for_status()


HTTP, MODBUS, SERVER = "_http._tcp.local.", "_modbus._tcp.local.", "_server._sub._http._tcp.local."
WEB, SLAVE = f"whatwatt Go D15CE2 WebUI.{HTTP}", f"ModbusTCP Slave D15CE2.{MODBUS}"

with Zeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only) as zeroconf:
    web, slave, server = Found(), Found(), Found()
    for kind, found in [(HTTP, web), (MODBUS, slave), (SERVER, server)]:
        ServiceBrowser(zeroconf, kind, found)
    web.wait("the page is announced", lambda names: WEB in names)
    slave.wait("the Modbus server is announced", lambda names: SLAVE in names)
    server.wait("by its subtype too", lambda names: any("D15CE2" in name for name in names))

    info = zeroconf.get_service_info(HTTP, WEB, 3000)
    equal("its host", "whatwatt-D15CE2.local.", info.server)
    equal("its port", PORT, info.port)
    equal("its address", ["127.0.0.1"], info.parsed_addresses())
    equal("its TXT", {b"id": b"A842E3D15CE2", b"type": b"100"}, info.properties)
    modbus = requests.get(f"{CONTROL}/control/v1/state", timeout=STUCK).json()["devices"][0]["modbus"]
    port = zeroconf.get_service_info(MODBUS, SLAVE, 3000).port
    equal("the port of the Modbus server", int(modbus["address"].rsplit(":", 1)[1]), port)

    settings({"services": {"modbus": {"enable": False}}})
    slave.wait("it is taken back when it stops", lambda names: SLAVE not in names)
    settings({"services": {"broadcast": False}})
    web.wait("all of it when the device is told so", lambda names: WEB not in names)
    settings({"services": {"broadcast": True}})
    web.wait("and announced again", lambda names: WEB in names)
