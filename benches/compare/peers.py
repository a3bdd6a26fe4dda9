"""The programs that are compared: how each is installed, configured and started.

An HTTP server is started for one path, whose reply it gives with the same body and type as the twin.
"""
import json
import os
import re
import shutil
import subprocess
import urllib.parse

from processes import Process, Skipped, free_port

# Changed together with the figures of docs/performance.md.
NPM = {"wiremock": "3", "@mockoon/cli": "9", "mountebank": "2", "@stoplight/prism-cli": "5"}
PYTHON = ["pymodbus==3.*"]


class Tools:
    """What is installed and built for the comparison, below `target/compare`."""

    def __init__(self, root, work):
        self.root, self.work = root, work
        self.target = root / os.environ.get("CARGO_TARGET_DIR", "target")
        self.node = work / "npm" / "node_modules"
        self.python = work / "py" / "bin" / "python"
        self.skipped = {}
        self.houses = 0

    def prepare(self, say):
        """Installs and builds everything; what cannot be had is noted in `skipped`."""
        self.install_packages(say)
        self.attempt("the HTTP peers", self.install_npm, say)
        self.attempt("pymodbus", self.install_python, say)
        say("building the twin and the bare server (profile dist)")
        self.wwsim = self.target / "dist" / "wwsim"
        subprocess.run(["cargo", "build", "--quiet", "--profile", "dist"], cwd=self.root, check=True)
        built = subprocess.run(
            ["cargo", "build", "--quiet", "--profile", "dist", "--bench", "bare_http", "--message-format=json"],
            cwd=self.root, check=True, stdout=subprocess.PIPE, text=True).stdout
        artifacts = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
        self.bare = next(a["executable"] for a in artifacts
                         if a["reason"] == "compiler-artifact" and a["target"]["name"] == "bare_http")
        self.modbus_load = self.compile("modbus_load")
        try:
            self.libmodbus = self.compile("libmodbus_server", "-lmodbus", "-I/usr/include/modbus")
        except subprocess.CalledProcessError:
            self.libmodbus = None
            self.skipped["libmodbus"] = "does not compile: is libmodbus-dev installed?"

    def attempt(self, name, step, say):
        try:
            step(say)
        except (subprocess.CalledProcessError, OSError) as error:
            self.skipped[name] = f"cannot be installed: {error}"
            say(f"skipped: {name}: {self.skipped[name]}")

    def install_packages(self, say):
        wanted = {"wrk": shutil.which("wrk"), "gcc": shutil.which("gcc"), "npm": shutil.which("npm"),
                  "default-jre-headless": shutil.which("java"),
                  "libmodbus-dev": os.path.exists("/usr/include/modbus/modbus.h")}
        missing = [package for package, found in wanted.items() if not found]
        if missing:
            say(f"installing {', '.join(missing)}")
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            for package in missing:
                # One that is not there leaves the others.
                done = subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", package],
                                      stdout=subprocess.DEVNULL)
                if done.returncode:
                    self.skipped[package] = "is no package of this system"

    def install_npm(self, say):
        folder = self.work / "npm"
        if all((self.node / name).exists() for name in NPM):
            return
        say("installing WireMock, Mockoon, mountebank and Prism")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        packages = [f"{name}@{version}" for name, version in NPM.items()]
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *packages], cwd=folder, check=True)

    def install_python(self, say):
        if not self.python.exists():
            say("installing pymodbus")
            subprocess.run(["python3", "-m", "venv", str(self.work / "py")], check=True)
        subprocess.run([str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON],
                       check=True)

    def compile(self, name, *more):
        output = self.work / name
        source = self.root / "benches" / "compare" / f"{name}.c"
        subprocess.run(["gcc", "-O2", str(source), "-o", str(output), *more], check=True)
        return output

    def package_version(self, name):
        try:
            return json.loads((self.node / name / "package.json").read_text())["version"]
        except OSError:
            raise Skipped(self.skipped.get("the HTTP peers", f"npm's {name} is not installed")) from None

    def log(self, name):
        return self.work / f"{name}.log"


class Server:
    """A server under measurement."""

    def __init__(self, tools):
        self.tools = tools

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Twin(Server):
    """`wwsim` with a scenario. It keeps its journal, which cannot be switched off."""
    name = "wwsim"

    @staticmethod
    def version(tools):
        return subprocess.run([tools.wwsim, "--version"], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.split()[-1]

    def __init__(self, tools, scenario="meter: {kind: ensor}\n", flags=(), path="/api/v1/settings"):
        super().__init__(tools)
        tools.houses += 1
        house, ready = tools.work / f"house-{tools.houses}.yaml", tools.work / f"ready-{tools.houses}.json"
        house.write_text(scenario)
        ready.unlink(missing_ok=True)
        self.process = Process(
            [tools.wwsim, "run", house, "--any-port", "--ready-file", ready, *flags], tools.log("wwsim"),
            stdout=subprocess.DEVNULL)
        self.process.wait_for(lambda: ready.exists() and ready.stat().st_size)
        self.addresses = json.loads(ready.read_text())
        # Requests to a shared port name their device by host or path.
        self.devices = [urllib.parse.urlsplit(device["http"]) for device in self.addresses["devices"]]
        self.port = self.devices[0].port
        self.ready_ms = self.process.wait_for_reply(self.port, self.devices[0].path + path)

    def slave_port(self, name):
        return int(self.addresses["slaves"][name].rsplit(":", 1)[1])


class Bare(Server):
    """A hyper server that gives one reply of the twin without looking at the request."""
    name = "bare hyper"

    @staticmethod
    def version(tools):
        # Another version of it may be in the tree of a development dependency.
        lock = (tools.root / "Cargo.lock").read_text()
        return next(version for version in re.findall(r'name = "hyper"\nversion = "([^"]+)"', lock)
                    if version.startswith("1."))

    def __init__(self, tools, url, method="GET"):
        super().__init__(tools)
        printed = tools.work / "bare"
        with open(printed, "wb") as output:
            self.process = Process([tools.bare, url, method], tools.log("bare"), stdout=output)
        text = self.process.wait_for(lambda: printed.read_text())
        self.port = int(text.strip().rsplit(":", 1)[1])


class Peer(Server):
    """An HTTP simulator from a registry, configured for one path."""

    def __init__(self, tools, path, body, kind):
        super().__init__(tools)
        self.port = free_port()
        self.folder = tools.work / type(self).__name__.lower()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.version(tools)
        self.process = Process(self.command(path, body.decode(), kind), tools.log(type(self).__name__.lower()),
                               env={**os.environ, "NODE_ENV": "production"}, cwd=self.folder)
        self.ready_ms = self.process.wait_for_reply(self.port, path)


class WireMock(Peer):
    name = "WireMock"

    @staticmethod
    def version(tools):
        return tools.package_version("wiremock")

    def command(self, path, body, kind):
        if not shutil.which("java"):
            raise Skipped("there is no Java")
        mappings = self.folder / "mappings"
        mappings.mkdir()
        (mappings / "reply.json").write_text(json.dumps({
            "request": {"method": "GET", "urlPath": path},
            "response": {"status": 200, "body": body, "headers": {"Content-Type": kind}}}))
        jar = next((self.tools.node / "wiremock" / "build").glob("*.jar"))
        # Its journal is bounded as ours is; without a bound it keeps every request.
        return ["java", "-jar", jar, "--port", self.port, "--root-dir", self.folder,
                "--max-request-journal-entries", 10000, "--disable-banner"]


class Mockoon(Peer):
    name = "Mockoon"

    @staticmethod
    def version(tools):
        return tools.package_version("@mockoon/cli")

    def command(self, path, body, kind):
        route = {
            "uuid": "2", "type": "http", "documentation": "", "method": "get", "endpoint": path.lstrip("/"),
            "responses": [{
                "uuid": "3", "body": body, "latency": 0, "statusCode": 200, "label": "", "default": True,
                "headers": [{"key": "Content-Type", "value": kind}], "bodyType": "INLINE", "filePath": "",
                "databucketID": "", "sendFileAsBody": False, "rules": [], "rulesOperator": "OR",
                "disableTemplating": True, "fallbackTo404": False, "crudKey": "id", "callbacks": []}],
            "responseMode": None, "streamingMode": None, "streamingInterval": 0}
        data = self.folder / "data.json"
        data.write_text(json.dumps({
            "uuid": "1", "lastMigration": 33, "name": "reply", "endpointPrefix": "", "latency": 0, "port": self.port,
            "hostname": "127.0.0.1", "folders": [], "routes": [route],
            "rootChildren": [{"type": "route", "uuid": "2"}], "proxyMode": False, "proxyHost": "",
            "proxyRemovePrefix": False, "tlsOptions": {
                "enabled": False, "type": "CERT", "pfxPath": "", "certPath": "", "keyPath": "", "caPath": "",
                "passphrase": ""},
            "cors": False, "headers": [], "proxyReqHeaders": [], "proxyResHeaders": [], "data": [],
            "callbacks": []}))
        return [self.tools.node / ".bin" / "mockoon-cli", "start", "--data", data, "--disable-log-to-file", "--repair"]


class Mountebank(Peer):
    name = "mountebank"

    @staticmethod
    def version(tools):
        return tools.package_version("mountebank")

    def command(self, path, body, kind):
        imposters = self.folder / "imposters.json"
        imposters.write_text(json.dumps({"imposters": [{
            "port": self.port, "protocol": "http", "stubs": [{
                "predicates": [{"equals": {"method": "GET", "path": path}}],
                "responses": [{"is": {"statusCode": 200, "headers": {"Content-Type": kind}, "body": body}}]}]}]}))
        return [self.tools.node / ".bin" / "mb", "--port", free_port(), "--configfile", imposters, "--nologfile",
                "--loglevel", "error", "--pidfile", self.folder / "mb.pid"]


class Prism(Peer):
    name = "Prism"

    @staticmethod
    def version(tools):
        return tools.package_version("@stoplight/prism-cli")

    def command(self, path, body, kind):
        document = self.folder / "openapi.json"
        kind = kind.split(";")[0]
        document.write_text(json.dumps({
            "openapi": "3.0.0", "info": {"title": "reply", "version": "1"},
            "paths": {path: {"get": {"responses": {"200": {
                "description": "", "content": {kind: {"example": json.loads(body)}}}}}}}}))
        return [self.tools.node / ".bin" / "prism", "mock", document, "--port", self.port, "--host", "127.0.0.1",
                "--multiprocess", "false", "--verboseLevel", "silent"]


PEERS = [WireMock, Mockoon, Mountebank, Prism]


class Libmodbus(Server):
    name = "libmodbus"

    @staticmethod
    def version(tools):
        return subprocess.run(["pkg-config", "--modversion", "libmodbus"], stdout=subprocess.PIPE,
                              text=True).stdout.strip() or "?"

    def __init__(self, tools):
        super().__init__(tools)
        if not tools.libmodbus:
            raise Skipped(tools.skipped["libmodbus"])
        printed = tools.work / "libmodbus"
        with open(printed, "wb") as output:
            self.process = Process([tools.libmodbus], tools.log("libmodbus"), stdout=output)
        self.port = int(self.process.wait_for(lambda: printed.read_text().strip()))
        self.ready_ms = self.process.wait_for_port(self.port)


class Pymodbus(Server):
    name = "pymodbus"

    @staticmethod
    def version(tools):
        if "pymodbus" in tools.skipped:
            raise Skipped(tools.skipped["pymodbus"])
        return subprocess.run([tools.python, "-c", "import pymodbus; print(pymodbus.__version__)"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.strip()

    def __init__(self, tools):
        super().__init__(tools)
        self.version(tools)
        self.port = free_port()
        program = tools.root / "benches" / "compare" / "pymodbus_server.py"
        self.process = Process([tools.python, program, self.port], tools.log("pymodbus"))
        self.ready_ms = self.process.wait_for_port(self.port)


SLAVE = "slaves: {meter: {max_connections: 1024, units: {1: {holding: [" + ", ".join(
    f"{{address: {address}, type: short, value: {address}}}" for address in range(100)) + "]}}}}\n"


class TwinSlave(Twin):
    """A slave of the twin with a hundred registers, as the servers that it is compared with."""

    def __init__(self, tools, more=""):
        super().__init__(tools, SLAVE + more)
        self.port = self.slave_port("meter")


SLAVES = [TwinSlave, Libmodbus, Pymodbus]
