"""Processes under measurement: started, waited for, and what the system says about them."""
import contextlib
import http.client
import os
import pathlib
import random
import signal
import socket
import subprocess
import time


def cpu_clock(pid):
    """The clock of a process's CPU time, to the nanosecond; /proc counts in hundredths of a second."""
    # As clock_getcpuclockid(3) makes it on Linux.
    return (~pid << 3) | 2


class Skipped(Exception):
    """A part that cannot be measured on this machine, with the reason."""


class Process:
    """A process with its children: Node and Java programs are often started by a script."""

    def __init__(self, command, log, **options):
        self.begin = time.monotonic()
        self.log = log
        with open(log, "wb") as output:
            self.popen = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=options.pop("stdout", output),
                stderr=output, start_new_session=True, **options)

    def pids(self):
        found, left = [], [self.popen.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):
                    left += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self):
        """User and system time so far."""
        seconds = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                seconds += time.clock_gettime(cpu_clock(pid))
        return seconds

    def resident_mb(self):
        """Resident memory; what children share is counted for each of them."""
        kib = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                kib += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return kib / 1024

    def check(self):
        if self.popen.poll() is not None:
            tail = pathlib.Path(self.log).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.popen.args[0]} ended with {self.popen.returncode}: {tail}")

    def wait_for(self, condition, seconds=120):
        """Waits until the condition returns something, and returns it."""
        while True:
            found = condition()
            if found:
                return found
            self.check()
            if time.monotonic() - self.begin > seconds:
                raise RuntimeError(f"{self.popen.args[0]} is not ready after {seconds} s: {self.log}")
            time.sleep(0.001)

    def wait_for_reply(self, port, path):
        """Waits until a GET of the path is answered with 200, and returns the milliseconds since the start."""
        def answers():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", path)
                return connection.getresponse().status == 200
        self.wait_for(answers)
        return 1000 * (time.monotonic() - self.begin)

    def wait_for_port(self, port):
        def accepts():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True
        self.wait_for(accepts)
        return 1000 * (time.monotonic() - self.begin)

    def stop(self):
        """Ends the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


def free_port():
    """A port below those that the system gives to others, so that nobody takes it until the program has it."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def reply(port, path, method="GET"):
    """Returns the status, the type and the body of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type"), response.read()


def get(port, path):
    """Returns the body and the type of a reply that has to be 200."""
    status, kind, body = reply(port, path)
    if status != 200:
        raise RuntimeError(f"GET {path} is answered with {status}")
    return body, kind
