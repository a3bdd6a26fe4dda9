"""The measurements. Each returns what docs/performance.md shows of it, and what its pictures draw.

Whatever is compared takes turns within a round, because a machine drifts.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import selectors
import socket
import statistics
import subprocess
import time

from peers import PEERS, SLAVES, Bare, Twin, TwinSlave
from processes import Skipped, get, reply

REQUESTS = [("GET", "/api/v1/actions/status?id=1,2"), ("GET", "/api/v1/report"), ("GET", "/api/v1/system"),
            ("GET", "/api/v1/variables"), ("GET", "/api/v1/settings"), ("POST", "/api/v1/actions/call?id=unknown")]
# The path whose reply the peers serve, because clients of a device poll it most.
POLLED = "/api/v1/report"
# The report has values once the meter has been recognized and has sent.
FIRST_READING = 12
# Seconds of load before the peers are measured.
WARM_UP = 5
ACTION = ("device: {actions: {actions: [{id: toggle, requests: ["
          "{http: {url: 'http://bulb.local/a'}}, {http: {url: 'http://bulb.local/b'}}]}]}}\n"
          "http_targets: {bulb: {hosts: [bulb.local]}}\n")


class Plan:
    def __init__(self, tools, rounds, seconds, say):
        self.tools, self.rounds, self.seconds, self.say = tools, rounds, seconds, say


def load(url, connections, seconds, process, method="GET"):
    """A run of wrk: requests a second, and microseconds of CPU of the server for a request."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    if method != "GET":
        command += ["-s", pathlib.Path(__file__).parent / f"{method.lower()}.lua"]
    # A thousand connections are sometimes not open before a short run is over.
    for _ in range(3):
        begin = process.cpu_seconds()
        output = subprocess.run([*command, url], check=True, stdout=subprocess.PIPE, text=True).stdout
        cpu = process.cpu_seconds() - begin
        requests = int(re.search(r"(\d+) requests in", output)[1])
        if requests:
            break
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if refused and method == "GET":
        raise RuntimeError(f"{url}: {refused[1]} of {requests} requests were refused")
    if requests == 0:
        raise RuntimeError(f"{url} answers nothing: {output}")
    return float(re.search(r"Requests/sec: *([\d.]+)", output)[1]), 1e6 * cpu / requests


class Series:
    """Runs of several servers, from which medians are taken."""

    def __init__(self):
        self.runs = {}

    def add(self, key, rate, cpu):
        self.runs.setdefault(key, []).append((rate, cpu))

    def median(self, key):
        return [statistics.median(column) for column in zip(*self.runs[key])]

    def ratio(self, key, base):
        """Medians over the rounds: of the rate by that of the base, and of the CPU."""
        pairs = list(zip(self.runs[key], self.runs[base]))
        rates = [ours[0] / theirs[0] for ours, theirs in pairs]
        cpu = [ours[1] / theirs[1] for ours, theirs in pairs if theirs[1]]
        return [statistics.median(rates), statistics.median(cpu) if cpu else None]


def start_with_reading(tools):
    """A twin that knows two statuses and has a reading."""
    twin = Twin(tools, "meter: {kind: ensor}\n" + ACTION)
    subprocess.run(["curl", "-sf", "-X", "POST", f"{twin.url}/api/v1/actions/call?id=toggle"], check=True)
    time.sleep(FIRST_READING)
    if b'"energy"' not in get(twin.port, POLLED)[0]:
        raise RuntimeError("the report has no reading")
    return twin


def http(plan):
    """The device's API beside the bare server, for each path and number of connections."""
    rows = []
    with start_with_reading(plan.tools) as twin:
        for method, path in REQUESTS:
            with Bare(plan.tools, twin.url + path, method) as bare:
                size = len(reply(twin.port, path, method)[2])
                if size != len(reply(bare.port, path, method)[2]):
                    raise RuntimeError(f"the bare server does not give the reply of the twin to {method} {path}")
                for connections in (1, 16, 64, 256):
                    series = Series()
                    for _ in range(plan.rounds):
                        for name, server in (("bare", bare), ("twin", twin)):
                            series.add(name, *load(server.url + path, connections, plan.seconds, server.process,
                                                   method))
                    row = {"path": path if method == "GET" else f"{method} {path}", "bytes": size, "connections": connections, "bare": series.median("bare"),
                           "twin": series.median("twin"), "ratio": series.ratio("twin", "bare")}
                    rows.append(row)
                    plan.say(f"{path} at {connections}: {row['twin'][0]:.0f}/s, {row['ratio'][0]:.2f} of bare")
    return {"rows": rows}


def peers(plan):
    """The twin, the bare server and other HTTP simulators with the same reply: requests, CPU, start, memory."""
    tools, rows, skipped = plan.tools, [], {}
    with start_with_reading(tools) as model, contextlib.ExitStack() as stack:
        body, kind = get(model.port, POLLED)
        servers = [stack.enter_context(Bare(tools, model.url + POLLED)), model]
        for peer in PEERS:
            try:
                plan.say(f"starting {peer.name}")
                server = stack.enter_context(peer(tools, POLLED, body, kind))
                given = get(server.port, POLLED)[0]
                if json.loads(given) != json.loads(body):
                    raise RuntimeError(f"{peer.name} gives another body: {given[:200]}")
                servers.append(server)
            except (Skipped, RuntimeError, OSError) as reason:
                skipped[peer.name] = str(reason)
                plan.say(f"skipped: {peer.name}: {reason}")
        rest = {server.name: server.process.resident_mb() for server in servers}
        results = {}
        for server in servers:
            # The compilers of Java and Node need a while.
            load(server.url + POLLED, 64, WARM_UP, server.process)
        for connections in (16, 64):
            series = results[connections] = Series()
            for number in range(plan.rounds):
                for server in servers:
                    series.add(server.name, *load(server.url + POLLED, connections, plan.seconds, server.process))
                plan.say(f"peers at {connections} connections: round {number + 1} of {plan.rounds}")
        for server in servers:
            rows.append({
                "name": server.name, "version": server.version(tools), "rest": rest[server.name],
                "loaded": server.process.resident_mb(),
                "load": {connections: series.median(server.name) for connections, series in results.items()}})
    for row in rows:
        cls = next((cls for cls in [Twin, *PEERS] if cls.name == row["name"]), None)
        row["start"] = cls and start_time(plan, cls, body, kind)
    return {"rows": rows, "skipped": skipped, "bytes": len(body)}


def start_time(plan, cls, body, kind):
    """The median time from the start of the process to the first reply, in milliseconds."""
    times = []
    for _ in range(plan.rounds):
        server = cls(plan.tools, path=POLLED) if cls is Twin else cls(plan.tools, POLLED, body, kind)
        with server:
            times.append(server.ready_ms)
    plan.say(f"{cls.name} is ready after {statistics.median(times):.0f} ms")
    return statistics.median(times)


def slaves(plan):
    """A slave of the twin beside other Modbus servers: reads of ten registers in closed loops."""
    tools, rows, skipped = plan.tools, [], {}
    with contextlib.ExitStack() as stack:
        servers = []
        for cls in SLAVES:
            try:
                servers.append(stack.enter_context(cls(tools)))
            except (Skipped, RuntimeError, OSError) as reason:
                skipped[cls.name] = str(reason)
                plan.say(f"skipped: {cls.name}: {reason}")
        rest = {server.name: server.process.resident_mb() for server in servers}
        for connections in (1, 16, 256):
            series = Series()
            for _ in range(plan.rounds):
                for server in servers:
                    series.add(server.name, *modbus_load(tools, server, connections, plan.seconds))
            for server in servers:
                rows.append({
                    "name": server.name, "version": server.version(tools), "connections": connections,
                    "load": series.median(server.name), "rest": rest[server.name], "start": server.ready_ms,
                    "ratio": series.ratio("wwsim", server.name)})
                plan.say(f"{server.name} at {connections}: {rows[-1]['load'][0]:.0f}/s")
    return {"rows": rows, "skipped": skipped}


def modbus_load(tools, server, connections, seconds):
    pids = server.process.pids()
    output = subprocess.run([tools.modbus_load, str(server.port), str(connections), str(seconds), *map(str, pids)],
                            check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(output[0]), sum(map(float, output[4:]))


def connections(plan):
    """Growth with connections: requests, CPU and memory."""
    rows = []
    with start_with_reading(plan.tools) as twin, Bare(plan.tools, twin.url + POLLED) as bare:
        for number in (1, 4, 16, 64, 256, 1000):
            series = Series()
            for _ in range(plan.rounds):
                for name, server in (("bare", bare), ("twin", twin)):
                    series.add(name, *load(server.url + POLLED, number, plan.seconds, server.process))
            rows.append({"connections": number, "bare": series.median("bare"), "twin": series.median("twin")})
            plan.say(f"{number} connections: {rows[-1]['twin'][0]:.0f}/s")
    idle = []
    for number in (0, 100, 1000):
        with Twin(plan.tools) as twin, contextlib.ExitStack() as stack:
            for _ in range(number):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", twin.port)))
                connection.sendall(b"GET /api/v1/settings HTTP/1.1\r\nHost: x\r\n\r\n")
                connection.recv(4096)
            idle.append({"connections": number, "memory": twin.process.resident_mb()})
    return {"rows": rows, "idle": idle}


def has_fleets(tools):
    return "--fleet" in subprocess.run([tools.wwsim, "run", "--help"], stdout=subprocess.PIPE, text=True).stdout


def devices(plan):
    """Growth with devices: the time until all of them listen, memory, and CPU at rest."""
    rows = []
    is_fleet = has_fleets(plan.tools)
    for number in (1, 10, 100, 1000) + ((10_000,) if is_fleet else ()):
        times, memory, cpu = [], [], []
        for _ in range(plan.rounds):
            scenario = "mdns: off\nmeter: {kind: kamstrup}\n"
            scenario += f"fleet: {{count: {number}}}\n" if is_fleet else many(number)
            # The first device answers once all listen, because the ready file comes then.
            with Twin(plan.tools, scenario) as twin:
                times.append(twin.ready_ms)
                time.sleep(1)
                begin = twin.process.cpu_seconds()
                time.sleep(2)
                cpu.append(100 * (twin.process.cpu_seconds() - begin) / 2)
                memory.append(twin.process.resident_mb())
        rows.append({"devices": number, "ready": statistics.median(times), "memory": statistics.median(memory),
                     "cpu": statistics.median(cpu)})
        plan.say(f"{number} devices: ready after {rows[-1]['ready']:.0f} ms, {rows[-1]['memory']:.0f} MB")
    base = rows[0]["memory"]
    for row in rows[1:]:
        row["each"] = 1024 * (row["memory"] - base) / (row["devices"] - rows[0]["devices"])
    return {"rows": rows, "fleet": is_fleet}


def rules(plan):
    """Growth with fault rules that do not match: CPU of an API call and of a slave's read."""
    rows = []
    numbers = (0, 10, 100, 1000)
    with contextlib.ExitStack() as stack:
        houses = {}
        for number in numbers:
            houses[number] = stack.enter_context(TwinSlave(plan.tools, unmatched_rules(number)))
        api, slave = Series(), Series()
        for round_number in range(plan.rounds):
            for number, house in houses.items():
                url = f"http://127.0.0.1:{house.devices[0].port}/api/v1/settings"
                api.add(number, *load(url, 16, plan.seconds, house.process))
                slave.add(number, *modbus_load(plan.tools, house, 16, plan.seconds))
            plan.say(f"rules: round {round_number + 1} of {plan.rounds}")
        for number in numbers:
            rows.append({"rules": number, "api": api.median(number), "api_ratio": api.ratio(number, 0),
                         "slave": slave.median(number), "slave_ratio": slave.ratio(number, 0)})
    return {"rows": rows}


def unmatched_rules(number):
    """Rules that do not match: half of them where the load goes, at other methods and addresses, half elsewhere."""
    places = ["{{api: {{route: /api/v1/settings, method: PUT}}}}", "{{slave: meter, function: 3, address: {address}}}",
              "{{api: /api/v1/system}}", "{{target: bulb, path: /light/{n}}}"]
    rules = [f"  - {{at: {places[n % 4].format(n=n, address=50 + n % 50)}, effect: {{delay: 1s}}}}\n"
             for n in range(number)]
    return "http_targets: {bulb: {}}\n" + ("faults:\n" + "".join(rules) if rules else "")


def live(plan):
    """Growth with live clients, one for each device: CPU of an event, and memory."""
    rows = []
    is_fleet = has_fleets(plan.tools)
    for number in (1, 10, 100, 1000) + ((10_000,) if is_fleet else ()):
        scenario = "mdns: off\nmeter: {kind: ensor}\n"
        scenario += f"fleet: {{count: {number}, listen: shared, route_by: path}}\n" if is_fleet else many(number)
        with Twin(plan.tools, scenario) as twin, contextlib.ExitStack() as stack:
            before = twin.process.resident_mb()
            waiting = selectors.DefaultSelector()
            for device in twin.devices:
                stream = stack.enter_context(socket.create_connection(("127.0.0.1", device.port)))
                stream.sendall(f"GET {device.path}/api/v1/live HTTP/1.1\r\nHost: {device.netloc}\r\n\r\n".encode())
                stream.setblocking(False)
                waiting.register(stream, selectors.EVENT_READ)
            follow(waiting, FIRST_READING)
            begin = twin.process.cpu_seconds()
            seconds = max(10, plan.seconds)
            events = follow(waiting, seconds)
            cpu = twin.process.cpu_seconds() - begin
            rows.append({"clients": number, "events": events / seconds, "core": 100 * cpu / seconds,
                         "cpu": 1e6 * cpu / max(events, 1), "memory": twin.process.resident_mb(),
                         "each": 1024 * (twin.process.resident_mb() - before) / number})
            plan.say(f"{number} live clients: {events / seconds:.0f} events/s, {rows[-1]['core']:.1f} % of a core")
    return {"rows": rows, "fleet": is_fleet}


def many(number):
    return f"devices: [{', '.join(['{}'] * number)}]\n"


def follow(waiting, seconds):
    """Reads live streams for a time, and returns the number of events."""
    end, events = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            piece = key.fileobj.recv(65536)
            if not piece:
                raise RuntimeError("a live stream has ended")
            events += piece.count(b"event: live")
    return events


MEASURES = [http, peers, slaves, connections, devices, rules, live]


def raise_limit():
    """The load opens a thousand connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return os.sysconf("SC_NPROCESSORS_ONLN")
