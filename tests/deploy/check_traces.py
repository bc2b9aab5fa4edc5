"""Traces of a real server in a real collector (rotel), which is slow, gone, late, or behind TLS with a key."""

from __future__ import annotations

import contextlib
import pathlib
import re
import socket
import statistics
import time
from typing import Any, Dict, Iterator, List

from common import (
    PROGRAM,
    Missing,
    Process,
    Server,
    call,
    certificate,
    folder,
    free_port,
    python_with,
    request,
    tool,
    until,
)

ROTEL = "rotel==0.0.1a15"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
#: The values of the collector's log by the names of its lines.
LINE = re.compile(r"^\s*(Trace ID|Parent ID|ID|Name|Kind|Status code|Status message)\s*: ?(.*)$")


class Collector(Process):
    """rotel, which writes each span to its log."""

    def __init__(self, place: pathlib.Path, port: int, name: str = "collector") -> None:
        python = pathlib.Path(python_with("rotel", ROTEL))
        (agent,) = python.parent.parent.glob("lib/python*/site-packages/rotel/rotel-agent")
        command = [agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}"]
        command += ["--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "blackhole"]
        command += ["--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        command += ["--pid-file", place / f"{name}.pid", "--log-file", place / f"{name}.rotel"]
        super().__init__(command, place / f"{name}.log")
        until("the collector listens", lambda: listens(port), 20)

    def spans(self) -> List[Dict[str, Any]]:
        found: List[Dict[str, Any]] = []
        for line in self.text().splitlines():
            if line.startswith("Span #"):
                found.append({"attributes": {}})
            elif found and (pair := LINE.match(line)):
                found[-1][pair.group(1)] = pair.group(2).strip()
            elif found and (pair := re.match(r"^\s*-> ([\w.]+): \w+\((.*)\)$", line)):
                found[-1]["attributes"][pair.group(1)] = pair.group(2)
            elif line.startswith("ResourceSpans") and found:
                # Attributes of what sends follow, until the next span.
                found.append({"attributes": {}})
        return [span for span in found if span.get("ID")]


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def tarpit() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield silent.getsockname()[1]


def variables(url: str, **more: str) -> Dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32", "OTEL_EXPORTER_OTLP_TIMEOUT": "2000", **more,
    }  # fmt: skip


def counts(server: Server) -> Dict[str, float]:
    return {word: server.figure(f'dicast_spans_total{{outcome="{word}"}}') for word in ("sent", "lost")}


def median_ms(server: Server, times: int = 200) -> float:
    took = []
    for _ in range(times):
        began = time.monotonic()
        assert call(f"{server.url}/v1/models").status == 200
        took.append((time.monotonic() - began) * 1e3)
    return statistics.median(took)


def memory_mb(server: Server) -> float:
    status = pathlib.Path(f"/proc/{server.child.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found.group(1)) / 1024 if found else 0.0


def ended_after(server: Server) -> float:
    began = time.monotonic()
    assert server.end() == 0, server.text()
    return time.monotonic() - began


def check() -> str:
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM} is not built (make build)")
    if b"OTEL_BSP_SCHEDULE_DELAY" not in PROGRAM.read_bytes():
        raise Missing(f"{PROGRAM} has no traces (cargo build --release --features otel)")
    with folder() as place:
        python_with("rotel", ROTEL)
        return "; ".join([gone_and_back(place), slow(place), behind_tls(place)])


def gone_and_back(place: pathlib.Path) -> str:
    """A collector that is not there at the start, comes, goes, and comes back."""
    port = free_port()
    with Server(place, "untraced") as untraced:
        without = median_ms(untraced)
    with Server(place, "traced", environment=variables(f"http://127.0.0.1:{port}")) as server:
        with_none = median_ms(server)
        before = memory_mb(server)
        median_ms(server, 3000)
        grown = memory_mb(server) - before
        lost = until("lost spans are counted", lambda: counts(server)["lost"])
        assert grown < 20, f"memory has grown by {grown:.0f} MB while no collector was there"
        assert server.text().count("traces cannot be sent to") == 1, server.text()
        with Collector(place, port) as collector:
            until("spans are sent again", lambda: median_ms(server, 1) and counts(server)["sent"], 30)
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "number-7"}
            assert call(f"{server.url}/v1/judge", request(responses=3), headers).status == 200
            assert call(f"{server.url}/v1/judge", request(judge="none"), headers).status == 404
            until("they arrive", lambda: sum(span["Trace ID"] == TRACE for span in collector.spans()) >= 7)
            seen(collector.spans())
            assert "traces reach" in server.text(), server.text()
        median_ms(server, 20)
        until("the loss is logged", lambda: server.text().count("traces cannot be sent to") == 2)
        with Collector(place, port, "again") as again:
            until("and its end", lambda: median_ms(server, 1) and server.text().count("traces reach") == 2, 30)
            # What waits at the end is sent.
            call(f"{server.url}/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
            took = ended_after(server)
            until("the last span", lambda: any(span["Trace ID"] == TRACE for span in again.spans()), 5)
            told = re.findall(r"some spans did not reach .*lost=(\d+) sent=(\d+)", server.text())
            assert len(told) == 1, server.text()[-2000:]
            got = len(collector.spans()) + len(again.spans())
            assert got == int(told[0][1]), f"the collector has {got} spans, the server says {told}"
    return (
        f"rotel gone, back, gone, back: {without:.2f} ms a request without traces, {with_none:.2f} ms with none to "
        f"send to, {lost:.0f} lost and counted, {grown:+.1f} MB in 3000 requests, {told[0][1]} sent and there, "
        f"ended in {took:.1f} s"
    )


def seen(spans: List[Dict[str, Any]]) -> None:
    """A judgment is within its request, which is within the trace of the caller."""
    ours = [span for span in spans if span["Trace ID"] == TRACE]
    asked = [span for span in ours if span["Name"] == "POST /v1/judge"]
    assert len(asked) == 2 and all(span["Parent ID"] == PARENT for span in asked), ours
    good = next(span for span in asked if span["attributes"]["http.response.status_code"] == "200")
    bad = next(span for span in asked if span is not good)
    assert good["Kind"] == "SPAN_KIND_SERVER" and good["Status code"] == "STATUS_CODE_UNSET", good
    assert good["attributes"]["dicast.request_id"] == "number-7" and good["attributes"]["http.route"] == "/v1/judge"
    assert bad["attributes"]["error.type"] == "model_not_found", bad
    judged = [span for span in ours if span["Name"] == "judge judge"]
    assert len(judged) == 1 and judged[0]["Parent ID"] == good["ID"], ours
    assert int(judged[0]["attributes"]["gen_ai.usage.output_tokens"]) > 0, judged
    parts = {span["Name"] for span in ours if span["Parent ID"] == judged[0]["ID"]}
    assert {"prefill", "reasoning", "verdict"} <= parts <= {"wait", "queue", "prefill", "reasoning", "verdict"}, parts


def slow(place: pathlib.Path) -> str:
    """A collector that takes everything and never answers."""
    with tarpit() as port, Server(place, "slow", environment=variables(f"http://127.0.0.1:{port}")) as server:
        took = median_ms(server, 500)
        until("spans find no room", lambda: counts(server)["lost"])
        assert "spans wait for" in server.text(), server.text()
        end = ended_after(server)
        assert end < 8, f"the server ended after {end:.1f} s"
        assert "some spans did not reach" in server.text(), server.text()
    return f"silent collector: {took:.2f} ms a request, ended in {end:.1f} s"


def behind_tls(place: pathlib.Path) -> str:
    """A collector behind nginx, which asks for a certificate and a header."""
    nginx = tool("nginx")
    certificate(place, "ca")
    certificate(place, "site", "ca")
    certificate(place, "client", "ca")
    certificate(place, "other")
    port, inner = free_port(), free_port()
    config = place / "nginx.conf"
    config.write_text(
        f"daemon off; pid {place}/nginx.pid; error_log {place}/nginx.err warn; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n"
        f"fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n"
        f"server {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {place}/site.pem; ssl_certificate_key {place}/site.key;\n"
        f"ssl_client_certificate {place}/ca.pem; ssl_verify_client on;\n"
        f'location / {{ if ($http_x_tenant != "one") {{ return 401; }} proxy_pass http://127.0.0.1:{inner}; }} }} }}\n'
    )
    files = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": f"{place}/ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": f"{place}/client.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": f"{place}/client.key",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=one",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    url = f"https://localhost:{port}"
    with Collector(place, inner, "inner") as collector, Process([nginx, "-c", config], place / "nginx.log"):
        until("nginx listens", lambda: listens(port))
        with Server(place, "trusted", environment=variables(url, **files)) as server:
            call(f"{server.url}/v1/models")
            until("the span arrives", collector.spans, 10)
            assert ended_after(server) < 5
        for name, value, said in [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", f"{place}/other.pem", "certificate"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=two", "status 401"),
        ]:
            refused = f"refused{name[-5:]}"
            with Server(place, refused, environment=variables(url, **{**files, name: value})) as server:
                call(f"{server.url}/v1/models")
                until("the refusal is logged", lambda: "traces cannot be sent to" in server.text(), 20)
                why = next(line for line in server.text().splitlines() if "traces cannot be sent to" in line)
                assert said in why, why
                ended_after(server)
    return "TLS with own authority, client certificate, header and gzip"
