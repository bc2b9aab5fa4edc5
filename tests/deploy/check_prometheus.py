"""Figures of a real server, read by a real Prometheus: the format, and every query of deploy/grafana.json."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.parse
from typing import Any, Dict, List, Tuple

from common import CONCISE, DEPLOY, Process, Server, call, folder, free_port, request, run, tool, until

#: A verdict of the demonstration judge needs no repair, so that this family has no series here.
EMPTY = {"dicast_repairs_total", "dicast_flags_total"}


def queries() -> List[Tuple[str, str]]:
    """The queries of the dashboard, each with the title of its panel."""
    board = json.loads((DEPLOY / "grafana.json").read_text())
    sources = {variable["name"] for variable in board["templating"]["list"] if variable["type"] == "datasource"}
    found = []
    for panel in board["panels"]:
        assert panel["datasource"]["uid"].strip("${}") in sources, panel["title"]
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return found


def traffic(server: Server) -> None:
    """Some of everything that is counted."""
    threads = [
        threading.Thread(target=call, args=(f"{server.url}/v1/judge", request(place % 3, 3))) for place in range(6)
    ]
    for place in range(4):
        sample = {"prompt": "How do I learn Go?", "response": "Build things. " * (place % 3 + 1), "label": None}
        threads.append(threading.Thread(target=call, args=(f"{server.url}/rm", sample)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    call(f"{server.url}/v1/judge", b"{")
    call(f"{server.url}/nothing")
    lines = json.dumps(request(7)).encode() + b"\n"
    call(f"{server.url}/v1/jobs", lines, {"content-type": "application/x-ndjson"})


def check() -> str:
    promtool, prometheus = tool("promtool", "prometheus"), tool("prometheus")
    route = {
        "path": "/rm", "protocol": "slime", "principle": CONCISE, "coalesce": {"window_ms": 300, "group_size": 4},
    }  # fmt: skip
    with folder() as place, Server(place, server={"routes": [route]}) as server, contextlib.ExitStack() as stack:

        def lint() -> None:
            (place / "metrics").write_bytes(call(f"{server.url}/metrics").body)
            with (place / "metrics").open() as text:
                said = run(promtool, "check", "metrics", stdin=text).stdout
            assert not said.strip(), f"promtool check metrics: {said}"

        lint()
        port = free_port()
        config = place / "prometheus.yml"
        config.write_text(
            "global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n"
            f"  - {{ job_name: dicast, static_configs: [{{ targets: ['127.0.0.1:{server.port}'] }}] }}\n"
        )
        run(promtool, "check", "config", config)
        command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={place}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        reader = stack.enter_context(Process(command, place / "prometheus.log"))

        def asked(expression: str) -> List[Dict[str, Any]]:
            reader.alive()
            got = call(f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}")
            assert got.status == 200, f"{expression}: {got.body!r}"
            answer = got.json()
            assert answer["status"] == "success" and not answer.get("warnings"), f"{expression}: {answer}"
            found: List[Dict[str, Any]] = answer["data"]["result"]
            return found

        def up() -> bool:
            with contextlib.suppress(OSError):
                return [series["value"][1] for series in asked("up")] == ["1"]
            return False

        until("Prometheus has read the figures", up, 30)
        before = time.monotonic()
        while time.monotonic() < before + 6:
            traffic(server)
        time.sleep(2)
        lint()
        # Grafana puts four times the interval here, or more.
        panels: Dict[str, int] = {}
        for title, expression in queries():
            found = asked(expression.replace("$__rate_interval", "10s"))
            panels[title] = panels.get(title, 0) + len(found)
            families = set(re.findall(r"dicast_\w+", expression))
            if not families & EMPTY:
                assert found, f"{title}: {expression} finds nothing"
            assert all(series["value"][1] != "NaN" for series in found), f"{title}: {expression}: {found}"
        # An alarm must see the first error of its kind.
        assert call(f"{server.url}/v1/judge", b"x", {"content-type": "text/plain"}).status == 415
        late = 'increase(dicast_errors_total{kind="unsupported_media_type"}[10s]) > 0'
        until("the first error of its kind is an increase", lambda: asked(late), 10)
        version = re.search(r"version (\S+)", run(prometheus, "--version").stdout)
        return (
            f"Prometheus {version.group(1) if version else '?'}: {len(queries())} queries of {len(panels)} panels, "
            f"{sum(panels.values())} series"
        )
