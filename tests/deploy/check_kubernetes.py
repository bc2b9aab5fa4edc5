"""deploy/kubernetes.yaml against the schemas of Kubernetes, and what it says of the server against a real one."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from typing import Any, Dict, List

from common import DEPLOY, Server, call, folder, python_with, run, until

VALIDATOR = "kubernetes-validate==1.37.0"
#: The oldest and the newest release that the file is for.
RELEASES = ["1.28", "1.37"]


def parts(python: str) -> List[Dict[str, Any]]:
    read = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    loaded: List[Dict[str, Any]] = json.loads(subprocess.check_output([python, "-c", read, DEPLOY / "kubernetes.yaml"]))
    return loaded


def check() -> str:
    python = python_with("kubernetes-validate", VALIDATOR, "pyyaml")
    validator = python.replace("/python", "/kubernetes-validate")
    for release in RELEASES:
        run(validator, "--strict", "-k", release, DEPLOY / "kubernetes.yaml")

    loaded = parts(python)
    sets = [part for part in loaded if part["kind"] == "StatefulSet"]
    services = {part["metadata"]["name"]: part["spec"] for part in loaded if part["kind"] == "Service"}
    assert len(sets) == 1 and len(services) == 2
    spec = sets[0]["spec"]
    # The names of the pods need a service without an address.
    assert services[spec["serviceName"]]["clusterIP"] == "None"
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    image = (DEPLOY / "Containerfile").read_text()
    entry = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", image, re.MULTILINE)[-1])
    (port,) = container["ports"]
    assert str(port["containerPort"]) == entry[entry.index("--port") + 1]
    for service in services.values():
        assert [one["targetPort"] for one in service["ports"]] == [port["name"]]
        assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    user = str(pod["securityContext"]["runAsUser"])
    assert re.findall(r"^USER (\d+)$", image, re.MULTILINE) == [user] and f"--uid {user}" in image
    state = re.findall(r"STATE_DIRECTORY=(\S+)", image)
    assert state == [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "jobs"]
    names = {volume["name"] for volume in pod["volumes"]}
    names |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= names

    def probe(name: str, server: Server) -> int:
        asked = container[name]["httpGet"]
        assert asked["port"] == port["name"]
        headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
        with contextlib.suppress(OSError):
            return call(f"{server.url}{asked['path']}", headers=headers).status
        return 0

    # What the probes see while the judge loads, when it is loaded, and at the end. The server has keys, as in the pod.
    with folder() as place:
        keys = place / "keys"
        keys.write_text("team:sesame-open\n")
        options = [*entry[2:], *container["args"]]
        for name, value in [("--port", None), ("--model", None), ("--keys", keys)]:
            at = options.index(name)
            options[at : at + 2] = [] if value is None else [name, str(value)]
        with Server(place, options=options, ready=False) as server:
            seen = set()

            def ready() -> bool:
                server.alive()
                status, live = probe("startupProbe", server), probe("livenessProbe", server)
                seen.add((status, live))
                return status == 200

            until("the startup probe", ready, 60)
            assert seen <= {(0, 0), (0, 200), (503, 200), (200, 200)}, seen
            assert probe("readinessProbe", server) == 200
            assert call(f"{server.url}/v1/models").status == 401
            grace = int(pod["terminationGracePeriodSeconds"])
            pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
            assert grace >= pause + 30 + 5, "preStop, server.drain_ms and traces"
            assert server.end(grace) == 0
            assert probe("readinessProbe", server) == 0
    return f"Kubernetes {' and '.join(RELEASES)}: {len(loaded)} objects; probes saw {sorted(seen)}"
