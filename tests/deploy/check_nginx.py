"""deploy/nginx.conf in a real nginx before real servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import re
import ssl
import threading
import time
from typing import Any, List, Tuple

from common import (
    DEPLOY,
    Process,
    Server,
    call,
    certificate,
    delete,
    events,
    folder,
    free_port,
    hang_up,
    request,
    run,
    streamed,
    tool,
    until,
)


def configured(place: pathlib.Path, port: int, upstreams: List[int]) -> pathlib.Path:
    """The file as it is, with the ports and certificates of this check."""
    text = (DEPLOY / "nginx.conf").read_text()
    servers = "".join(f"server 127.0.0.1:{upstream} max_fails=2 fail_timeout=5s;\n" for upstream in upstreams)
    for old, new in [
        (r"listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        (r"server 127\.0\.0\.1:8001 max_fails=2 fail_timeout=5s;", servers),
        (r"/etc/ssl/judge\.example\.pem", f"{place}/site.pem"),
        (r"/etc/ssl/judge\.example\.key", f"{place}/site.key"),
    ]:
        text, count = re.subn(old, new, text)
        assert count >= 1, f"deploy/nginx.conf has no {old}"
    (place / "dicast.conf").write_text(text)
    whole = place / "nginx.conf"
    whole.write_text(
        f"daemon off; pid {place}/nginx.pid; error_log {place}/nginx.err warn;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n"
        f"fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n"
        f"include {place}/dicast.conf; }}\n"
    )
    return whole


def spread(connection: http.client.HTTPConnection, lines: bytes) -> Tuple[float, int]:
    """Seconds from the first to the last line of a batch, as the client sees them, and how many came."""
    connection.request("POST", "/v1/judge/batch?order=finished", lines, {"content-type": "application/x-ndjson"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    times = [time.monotonic() for line in iter(answer.readline, b"") if b'"status":200' in line]
    return times[-1] - times[0], len(times)


def check() -> str:
    nginx, curl = tool("nginx"), tool("curl")
    with folder() as place, contextlib.ExitStack() as stack:
        certificate(place, "ca")
        certificate(place, "site", "ca")
        trust, port = str(place / "ca.pem"), free_port()
        limits = {"max_running": 1, "max_waiting": 30}
        servers = [stack.enter_context(Server(place, f"server{number}", limits)) for number in range(2)]
        config = configured(place, port, [server.port for server in servers])
        version = re.search(r"nginx/([\d.]+)", run(nginx, "-v").stdout)
        run(nginx, "-t", "-q", "-c", config)
        front = stack.enter_context(Process([nginx, "-c", config], place / "nginx.log"))
        url = f"https://localhost:{port}"
        context = ssl.create_default_context(cafile=trust)

        def ask(path: str, body: Any = None, headers: Any = None) -> Any:
            return call(f"{url}{path}", body, headers, trust)

        def settled() -> bool:
            front.alive()
            with contextlib.suppress(OSError):
                return bool(ask("/ready").status == 200)
            return False

        until("nginx answers", settled)

        # A verdict, by HTTP/1.1 and HTTP/2, and both replicas take part.
        assert set(ask("/v1/judge", request()).good()["scores"]) == {"r0", "r1"}
        (place / "request.json").write_text(json.dumps(request()))
        said = ["-sS", "--noproxy", "*", "--http2", "--cacert", trust, "-w", "\n%{http_version} %{http_code}"]
        said += ["-H", "content-type: application/json", "-d", f"@{place}/request.json"]
        got = run(curl, *said, f"{url}/v1/judge")
        assert got.stdout.endswith("\n2 200"), got.stdout
        for number in range(6):
            ask("/v1/judge", request(number)).good()
        done = [server.figure('dicast_judgments_total{judge="judge",outcome="ok"}') for server in servers]
        assert min(done) >= 1, f"each replica has judged: {done}"

        # Request ids: that of the client, or one of nginx. The page of this host may call; figures are not for outside.
        assert ask("/v1/models", None, {"x-request-id": "mine-7"}).headers["x-request-id"] == "mine-7"
        assert re.fullmatch("[0-9a-f]{32}", ask("/v1/models").headers["x-request-id"])
        assert ask("/v1/judge", request(), {"origin": url}).status == 200
        assert ask("/v1/judge", request(), {"origin": "https://elsewhere.example"}).status == 403
        assert ask("/metrics").status == 403

        # What is written piece by piece arrives so: as spread out as without nginx.
        lines = b"".join(json.dumps(request(number)).encode() + b"\n" for number in range(20))
        direct, count = spread(http.client.HTTPConnection("127.0.0.1", servers[0].port, timeout=120), lines)
        through, same = spread(http.client.HTTPSConnection("localhost", port, timeout=120, context=context), lines)
        assert count == same == 20 and direct > 0.1, f"{count}, {same} lines in {direct:.3f} s"
        assert through > direct / 3, f"lines are held back: {through:.3f} s, directly {direct:.3f} s"
        assert [name for _, name, _ in events(streamed("localhost", port, context))][-1] == "verdict"

        # Bodies up to the limits reach the server; larger ones end at nginx.
        large = request(responses=1)
        large["responses"]["r0"] = "x" * (15 << 20)
        got = ask("/v1/judge", large)
        assert got.headers["content-type"] == "application/problem+json", f"{got.status}: {got.body[:300]!r}"
        large["responses"]["r0"] = "x" * (17 << 20)
        got = ask("/v1/judge", large)
        assert got.status == 413 and b"nginx" in got.body, f"{got.status}: {got.body[:300]!r}"
        job = ask("/v1/jobs", {"name": "large"})
        assert job.status == 201, job.body
        holder = next(server for server in servers if call(f"{server.url}/v1/jobs/{job.json()['id']}").status == 200)
        line = json.dumps(request(responses=1)).encode() + b"\n"
        lines = line * ((60 << 20) // len(line))
        with contextlib.suppress(KeyError):
            # Only one replica has the job.
            for _ in range(8):
                got = ask(f"/v1/jobs/{job.json()['id']}/requests", lines, {"content-type": "application/x-ndjson"})
                if got.status != 404:
                    break
        assert got.status == 200, f"{got.status}: {got.body[:300]!r}"
        got = ask("/v1/jobs", b"x" * (65 << 20), {"content-type": "application/x-ndjson"})
        assert got.status == 413 and b"nginx" in got.body, f"{got.status}: {got.body[:300]!r}"
        assert delete(f"{holder.url}/v1/jobs/{job.json()['id']}") in (200, 204)

        # An overloaded server is heard: 429 with the time to wait.
        told: List[Any] = []
        asked = request(responses=6)
        threads = [threading.Thread(target=lambda: told.append(ask("/v1/judge", asked))) for _ in range(120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [got for got in told if got.status == 429]
        assert refused and len(refused) + sum(got.status == 200 for got in told) == 120, [got.status for got in told]
        for got in refused:
            assert got.json()["kind"] == "overloaded" and int(got.headers["retry-after"]) >= 1, got.headers

        # A client that leaves cancels what it has asked for.
        def figures(name: str) -> float:
            return sum((server.figure(name) for server in servers), 0.0)

        def judged() -> float:
            return figures('dicast_judgments_total{judge="judge",outcome="ok"}')

        before = judged()
        leaving = http.client.HTTPSConnection("localhost", port, timeout=120, context=context)
        many = b"".join(json.dumps(request(number, 8)).encode() + b"\n" for number in range(30))
        leaving.request("POST", "/v1/judge/batch?order=finished", many, {"content-type": "application/x-ndjson"})
        first = leaving.getresponse().readline()
        assert b'"status":200' in first, first
        hang_up(leaving)
        until("its judgments end", lambda: figures('dicast_running{judge="judge"}') == 0, 3)
        gone = judged() - before
        assert 1 <= gone < 20, f"{gone:.0f} of 30 judgments went on after their client had left"

        # A replica that ends is left out; no request fails.
        servers[1].end()
        statuses = [ask("/v1/judge", request(number)).status for number in range(10)]
        assert statuses == [200] * 10, statuses
        errors = (place / "nginx.err").read_text()
        assert "[emerg]" not in errors and "[alert]" not in errors, errors
        return (
            f"nginx {version.group(1) if version else '?'}: TLS, HTTP/1.1 and 2, {len(refused)} of 120 refused, "
            f"lines over {through:.2f} s (directly {direct:.2f} s), {gone:.0f} of 30 judged for a client that left, a "
            "replica stopped without a failure"
        )
