"""A server with the routes of the reference system and any answers that a test needs. The judge behind it is real."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import dicast

#: A server's answer to a route and a body: status, value and headers; None cuts the connection.
Answer = Callable[[str, Any], Optional[Tuple[int, Any, Dict[str, str]]]]


class Served:
    """A running server, and the requests that it got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: List[Tuple[str, Any, Dict[str, str]]] = []


def of_dicast(answer: Answer) -> Answer:
    """The same answers, by a server that says it is one of Dicast."""

    def answered(route: str, body: Any) -> Optional[Tuple[int, Any, Dict[str, str]]]:
        if route == "/health":
            return 200, {"status": "healthy", "service": "Dicast", "version": "0"}, {}
        return answer(route, body)

    return answered


def judged(judge: dicast.Judge) -> Answer:
    """The answers of the reference's server."""

    def one(body: Any) -> Any:
        request = {name: value for name, value in body.items() if name != "options"}
        result = judge.judge(**request, **body.get("options", {}))
        return {"thoughts": result.reasoning, "results": {"scores": result.scores, "best-to-worst": result.ranking}}

    def answer(route: str, body: Any) -> Optional[Tuple[int, Any, Dict[str, str]]]:
        if route == "/health":
            return 200, {"status": "healthy", "service": "RewardAnything API"}, {}
        if route == "/api/rewardanything":
            return 200, one(body), {}
        if route == "/api/rewardanything_batch":
            return 200, [one(item) for item in body], {}
        return 404, {"detail": "Not Found"}, {}

    return answer


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Served]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else None
            served.requests.append((self.path, body, dict(self.headers)))
            said = answer(self.path, body)
            if said is None:
                return
            status, value, headers = said
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, field in headers.items():
                self.send_header(name, field)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = respond

        def log_message(self, *_args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Served(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
