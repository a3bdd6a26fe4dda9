"""Holds the manifests against each other and against the binary; `scripts/e2e/kubernetes` validates them first.

    kubernetes.py FOLDER WORK        WWSIM is the binary; WORK has rendered.yaml if kubectl has rendered it
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

import yaml

FOLDER, WORK = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
WWSIM = os.environ["WWSIM"]


def fail(what):
    sys.exit(f"FAILED: {what}")


def equal(what, expected, actual):
    if expected != actual:
        fail(f"{what}: expected {expected!r}, got {actual!r}")
    print(f"ok: {what}")


def documents(file):
    return list(yaml.safe_load_all(file.read_text()))


def of_kind(manifests, kind):
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    if len(found) != 1:
        fail(f"{len(found)} manifests of the kind {kind}")
    return found[0]


def check_listed():
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    there = {file.name for file in FOLDER.iterdir()} - {"kustomization.yaml"}
    equal("kustomization.yaml lists every file that exists, and no other", there, set(kustomization["resources"]))
    return [document for name in kustomization["resources"] for document in documents(FOLDER / name)]


def environment(container, ordinal, secret):
    """The variables of a container, as the cluster makes them for the pod with an ordinal."""
    variables = {}
    for entry in container["env"]:
        if "value" in entry:
            text = entry["value"]
            for name, value in variables.items():
                text = text.replace(f"$({name})", value)
        elif "fieldRef" in entry["valueFrom"]:
            equal("the ordinal", "metadata.labels['apps.kubernetes.io/pod-index']",
                  entry["valueFrom"]["fieldRef"]["fieldPath"])
            text = str(ordinal)
        else:
            text = secret
        variables[entry["name"]] = text
    return variables


def arguments(container, variables):
    """The arguments, as the cluster makes them."""
    def expand(text):
        return re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text)
    return [expand(argument) for argument in container["args"]]


def check_together(manifests):
    stateful, service = of_kind(manifests, "StatefulSet"), of_kind(manifests, "Service")
    spec = stateful["spec"]
    pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
    container = pod["containers"][0]
    equal("the Service has no address of its own", "None", service["spec"]["clusterIP"])
    equal("the StatefulSet names its Service", service["metadata"]["name"], spec["serviceName"])
    for kind, selector in (
        ("StatefulSet", spec["selector"]["matchLabels"]),
        ("Service", service["spec"]["selector"]),
        ("PodDisruptionBudget", of_kind(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]),
        ("NetworkPolicy", of_kind(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]),
    ):
        equal(f"{kind} selects the pods", True, selector.items() <= labels.items())
    volume = pod["volumes"][0]["configMap"]["name"]
    equal("the volume is the ConfigMap", of_kind(manifests, "ConfigMap")["metadata"]["name"], volume)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    equal("the Service leads to the ports of the pod", ports,
          {port["targetPort"]: port["port"] for port in service["spec"]["ports"]})
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        equal(f"{probe} asks the control plane", ("/healthz", "control"),
              (container[probe]["httpGet"]["path"], container[probe]["httpGet"]["port"]))
    rules = of_kind(manifests, "NetworkPolicy")["spec"]["ingress"]
    for rule in rules:
        for port in rule["ports"]:
            if port["port"] == "control":
                equal("the control plane is closed to pods without the label", [{"podSelector": {"matchLabels": {
                    "wwsim-control": "allowed"}}}], rule["from"])
    equal("each port has a rule", sorted(ports), sorted(port["port"] for rule in rules for port in rule["ports"]))
    shards = environment(container, 0, "")["SHARD"].split("/")[1]
    equal("there is a pod for each shard", str(spec["replicas"]), shards)
    return container


def start(ordinal, container, scenario):
    """Starts what a pod would run, with the addresses of this machine."""
    ready = WORK / f"ready-{ordinal}.json"
    ready.unlink(missing_ok=True)
    variables = environment(container, ordinal, "a-token-of-the-test")
    mount = container["volumeMounts"][0]["mountPath"]
    command = [WWSIM, *arguments(container, variables)]
    # Free ports, because the pods of a cluster have an address each, and these share one.
    command = [re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", part.replace(mount, str(scenario.parent))) for part in command]
    command += ["--ready-file", str(ready)]
    process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
    return process, ready


def check_binary(manifests, container):
    scenario = WORK / "house.yaml"
    scenario.write_text(of_kind(manifests, "ConfigMap")["data"]["house.yaml"])
    if subprocess.run([WWSIM, "check", str(scenario)]).returncode != 0:
        fail("the scenario of the ConfigMap")
    print("ok: the scenario of the ConfigMap is valid")
    started = [start(ordinal, container, scenario) for ordinal in range(of_kind(manifests, "StatefulSet")["spec"]["replicas"])]
    ids = []
    try:
        for process, ready in started:
            for _ in range(600):
                if ready.exists() and ready.stat().st_size:
                    break
                if process.poll() is not None:
                    fail(f"a pod ends with {process.returncode}")
                time.sleep(0.05)
            addresses = json.loads(ready.read_text())
            ids.append([device["id"] for device in addresses["devices"]])
            with urllib.request.urlopen(addresses["control"] + "/healthz") as reply:
                equal("a probe without the token is answered", 200, reply.status)
    finally:
        for process, _ in started:
            process.terminate()
        for process, _ in started:
            process.wait()
    every = [device for shard in ids for device in shard]
    count = yaml.safe_load(scenario.read_text())["fleet"]["count"]
    equal("the pods have all devices, each once", (count, count), (len(every), len(set(every))))


manifests = check_listed()
container = check_together(manifests)
rendered = WORK / "rendered.yaml"
if rendered.exists():
    check_together(documents(rendered))
check_binary(manifests, container)
