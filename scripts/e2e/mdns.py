"""mdns.py DEVICE CONTROL: browses loopback for the device as docs/device-modbus.md says it announces itself."""

import socket
import sys
import threading
import time
import urllib.parse

import requests
from zeroconf import DNSIncoming, DNSService, IPVersion, ServiceBrowser, ServiceListener, Zeroconf

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


class Listener:
    """Hears what is multicast, asks nothing: a browser that asks would be told anyway."""

    QUIET = 4

    def __init__(self, name):
        self.name, self.socket = name, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(("224.0.0.251", 5353))
        group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        self.socket.settimeout(0.2)

    def wait(self, what):
        """Listens until nothing has been heard of the service for a while: it has to be there then."""
        ttl, heard, begun = None, time.monotonic(), time.monotonic()
        while time.monotonic() < heard + self.QUIET and time.monotonic() < begun + STUCK:
            try:
                message = DNSIncoming(self.socket.recv(9000))
            except socket.timeout:
                continue
            for record in message.answers() if message.is_response() else []:
                if isinstance(record, DNSService) and record.name.startswith(self.name):
                    ttl, heard = record.ttl, time.monotonic()
        if not ttl:
            sys.exit(f"FAILED: {what}: the last one had the TTL {ttl}")
        print(f"ok: {what}")


def equal(what, expected, got):
    if expected != got:
        sys.exit(f"FAILED: {what}: expected {expected!r}, got {got!r}")
    print(f"ok: {what}")


def settings(change):
    requests.put(f"{DEVICE}/api/v1/settings", json=change, timeout=STUCK).raise_for_status()


HTTP, MODBUS, SERVER = "_http._tcp.local.", "_modbus._tcp.local.", "_server._sub._http._tcp.local."
WEB, SLAVE = f"whatwatt Go D15CE2 WebUI.{HTTP}", f"ModbusTCP Slave D15CE2.{MODBUS}"

listener = Listener("whatwatt Go D15CE2 WebUI")
# Not before somebody listens.
for broadcast in [False, True]:
    settings({"services": {"broadcast": broadcast}})
    time.sleep(0.2)
listener.wait("announced at the start")
for broadcast in [False, True, False, True]:
    settings({"services": {"broadcast": broadcast}})
    time.sleep(0.2)
listener.wait("announced after a quick change")
requests.post(f"{CONTROL}/control/v1/clock", json={"speed": 60}, timeout=STUCK).raise_for_status()
requests.post(f"{DEVICE}/api/v1/reboot", timeout=STUCK).raise_for_status()
listener.wait("announced after a quick reboot")

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
