"""What `scripts/e2e/day` checks, with nothing but Python's standard library, curl and mosquitto_sub.

Energies are compared as numbers read from text, so that "the same" means the same digits.
"""

import csv
import io
import json
import socket
import struct
import subprocess
import sys
import time
import urllib.request

device, control, modbus, broker_port, work = sys.argv[1:]
host, port = modbus.rsplit(":", 1)


def ask(url, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text[:1] in b"[{" else text.decode()


def report():
    return ask(f"{device}/api/v1/report")


def variables():
    merged = {}
    for pair in ask(f"{device}/api/v1/variables"):
        merged.update(pair)
    return merged


def registers(address, count):
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, address, count))
        reply = b""
        while len(reply) < 9 + 2 * count:
            piece = peer.recv(4096)
            if not piece:
                raise SystemExit(f"FAILED: the Modbus reply broke off: {reply.hex()}")
            reply += piece
    return reply[9:]


def imported_wh():
    """Active energy imported, in Wh, from the default map's tariff registers (doubles)."""
    t1, t2 = struct.unpack(">dd", registers(801, 8))
    return t1, t2


def check(what, good, detail=""):
    if not good:
        raise SystemExit(f"FAILED: {what}: {detail}")
    print(f"ok: {what}")


def clock(change):
    return ask(f"{control}/control/v1/clock", "POST", change)


ask(f"{device}/api/v1/settings", "PUT", {
    "services": {"modbus": {"enable": True}, "sd": {"enable": True, "frequency": 60}, "report_interval": 60},
})
ask(f"{device}/api/v1/mqtt/settings", "PUT", {
    "enable": True,
    "url": f"mqtt://127.0.0.1:{broker_port}",
    "publish": {
        "topic": "house",
        "template": '{"at": "${meter.date_time}", "in": ${1_8_0}, "out": ${2_8_0}, "p": ${1_7_0}}',
    },
})
subscriber = subprocess.Popen(
    ["mosquitto_sub", "-p", broker_port, "-t", "house"],
    stdout=open(f"{work}/mqtt", "w"),
)
live = subprocess.Popen(
    ["curl", "-sN", f"{device}/api/v1/live"],
    stdout=open(f"{work}/live", "w"),
)
# Both are there once the device has had its first readings; the clock stands still meanwhile.
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    clock({"advance": "2m"})
    if open(f"{work}/mqtt").read() and open(f"{work}/live").read():
        break
    time.sleep(0.1)
check("live stream and subscriber are there", open(f"{work}/mqtt").read() and open(f"{work}/live").read())



def live_events():
    return [json.loads(line[6:]) for line in open(f"{work}/live").read().splitlines()
            if line.startswith("data: ") and line.endswith("}")]


def settled(what, wanted, got):
    """Waits until what was sent has been written down by those who follow."""
    limit = time.monotonic() + 10
    while wanted != got() and time.monotonic() < limit:
        time.sleep(0.05)
    check(what, wanted == got(), (wanted, got()))


reading, events = report()["report"]["id"], len(live_events())
begin = clock({"speed": 3600})["t"]
started = time.monotonic()
before, rounds = 0.0, 0
while time.monotonic() - started < 24:
    first = report()["report"]["energy"]["active"]["positive"]["total"]
    wh = sum(imported_wh()) / 1000
    second = report()["report"]["energy"]["active"]["positive"]["total"]
    if not (before <= first <= wh + 0.0015 and wh <= second + 0.0015):
        raise SystemExit(f"FAILED: {before} <= {first} <= {wh} <= {second} does not hold")
    before, rounds = second, rounds + 1
    time.sleep(0.05)
clock({"speed": "manual"})
# Whatever was due at the last moment happens.
now = clock({"advance": "0"})["t"]
print(f"{now - begin:.0f} s of simulated time in 24 s, {rounds} rounds of report, Modbus, report")
check("a day has passed", now - begin > 23 * 3600, now - begin)

last, seen = report(), variables()
energy = last["report"]["energy"]["active"]
t1, t2 = imported_wh()
check("Modbus shows the report's energy",
      round(t1 + t2) == round(1000 * energy["positive"]["total"]), (t1, t2, energy))
check("the variables show the report's energy", float(seen["1_8_0"]) == energy["positive"]["total"], seen["1_8_0"])
check("the variables show the report's power",
      float(seen["1_7_0"]) == last["report"]["instantaneous_power"]["active"]["positive"]["total"], seen["1_7_0"])

readings = last["report"]["id"] - reading
check("readings came", readings > 10_000, readings)
settled(f"each of {readings} readings was a live event", readings, lambda: len(live_events()) - events)
events = live_events()
by_time = {}
for event in events:
    by_time.setdefault(f"{event['Date']}T{event['Time']}Z", []).append(event)
energies = [event["E_In"] for event in events]
check("live energies never fall", all(a <= b for a, b in zip(energies, energies[1:])))
check("the last live event is the report", energies[-1] == energy["positive"]["total"], energies[-1])

rows = []
for file in ask(f"{device}/sdcard/")["files"]:
    rows += list(csv.DictReader(io.StringIO(ask(f"{device}/sdcard/{file['name']}"))))
check("a row a minute was logged", 1300 <= len(rows) <= 1500, len(rows))
check("logged energies never fall",
      all(float(a["EAP_T"]) <= float(b["EAP_T"]) for a, b in zip(rows, rows[1:])))
first = min(by_time)
rows_seen = [row for row in rows if row["TIME"] >= first]
lost = [row["TIME"] for row in rows_seen if not any(
    event["E_In"] == float(row["EAP_T"]) and event["P_In"] == float(row["IPAP_T"]) for event in by_time.get(row["TIME"], []))]
check(f"{len(rows_seen)} rows are readings that the live stream had, too", len(rows_seen) > 1000 and not lost, lost[:3])

messages = [json.loads(line) for line in open(f"{work}/mqtt").read().splitlines() if line.endswith("}")]
check("a message a minute was published", 1300 <= len(messages) <= 1500, len(messages))
strange = [message for message in messages if message["at"] >= first and not any(
    event["E_In"] == message["in"] and event["P_In"] == message["p"] for event in by_time.get(message["at"], []))]
check("messages are readings that the live stream had, too", not strange, strange[:3])

# From here on one moment, looked at from every side.
clock({"advance": "61s"})
last, seen = report(), variables()
t1, t2 = imported_wh()
energy = last["report"]["energy"]["active"]["positive"]
check("after advance all agree", float(seen["1_8_0"]) == energy["total"] and round(t1 + t2) == round(1000 * energy["total"]),
      (seen["1_8_0"], energy, t1, t2))
live.terminate()
subscriber.terminate()
