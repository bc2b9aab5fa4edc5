"""Shared by the checks of deploy/: the program, a server with the demonstration judge, and what is missing here."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MODEL = ROOT / "demo" / "dicast-demo.gguf"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
PROGRAM = pathlib.Path(os.environ.get("DICAST_PROGRAM") or TARGET / "release" / "dicast").resolve()

CONCISE = "I prefer clear, concise and helpful responses over long and detailed ones."


class Missing(Exception):
    """A check cannot run here; the text says what it needs."""


def tool(name: str, package: str = "") -> str:
    """The path of a program."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name} is not installed (Debian: apt-get install {package or name})")
    return found


def python_with(*packages: str) -> str:
    """The Python of an environment with these packages of the package index."""
    venv = TARGET / "deploy" / packages[0].partition("=")[0]
    done = venv / "done"
    if not done.exists() or done.read_text() != " ".join(packages):
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        command = [str(venv / "bin" / "pip"), "install", "--quiet", *packages]
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise Missing(f"pip cannot install {' '.join(packages)}")
        done.write_text(" ".join(packages))
    return str(venv / "bin" / "python")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(what: str, holds: Any, seconds: float = 30.0) -> Any:
    """Waits until something is true; gives its value."""
    end = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < end, f"it did not come about within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    # Not in the folder of the user: services under other users read from it.
    with tempfile.TemporaryDirectory(prefix="dicast-deploy.") as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


class Process:
    """A process with its log, which ends with the block."""

    def __init__(self, command: Sequence[Any], log: pathlib.Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def alive(self) -> None:
        assert self.child.poll() is None, f"it ended with {self.child.returncode}:\n{self.text()[-3000:]}"

    def end(self, seconds: float = 60.0) -> int:
        """Ends it as a service manager would; gives the exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.end()


class Got:
    """An answer."""

    def __init__(self, status: int, headers: Dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)

    def good(self) -> Any:
        assert self.status == 200, f"{self.status}: {self.body[:500]!r}"
        return self.json()


def call(url: str, body: Any = None, headers: Optional[Dict[str, str]] = None, trust: Optional[str] = None) -> Got:
    """GET, or POST if there is a body: bytes, or what becomes JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    context = ssl.create_default_context(cafile=trust) if trust else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
    )
    try:
        with opener.open(request, timeout=120) as answer:
            return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        return Got(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def delete(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method="DELETE"), timeout=60) as answer:
        return int(answer.status)


def hang_up(connection: http.client.HTTPConnection) -> None:
    """Leaves in the middle of an answer."""
    if connection.sock:
        connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


class Server(Process):
    """`dicast serve` with the demonstration judge on a port of loopback."""

    def __init__(
        self,
        place: pathlib.Path,
        name: str = "server",
        server: Optional[Dict[str, Any]] = None,
        options: Sequence[Any] = (),
        port: Optional[int] = None,
        ready: bool = True,
        environment: Optional[Dict[str, str]] = None,
        reasoning: int = 32,
    ) -> None:
        if not PROGRAM.exists():
            raise Missing(f"{PROGRAM} is not built (make build)")
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = place / f"{name}.json"
        config.write_text(
            json.dumps(
                {"model": str(MODEL), "server": server or {}, "options": {"max_reasoning_tokens": reasoning}},
            )
        )
        jobs = place / f"{name}.db"
        command = [PROGRAM, "serve", "-c", config, "--port", self.port, "--jobs", jobs, "--name", "judge", *options]
        super().__init__(command, place / f"{name}.log", env={**os.environ, **(environment or {})})
        if ready:
            self.ready()

    def ready(self) -> None:
        def holds() -> bool:
            self.alive()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return call(f"{self.url}/ready").status == 200
            return False

        until("the server is ready", holds, 60)

    def figure(self, name: str, headers: Optional[Dict[str, str]] = None) -> float:
        """A figure of `/metrics`, by its name and labels; 0 if it is missing."""
        for line in call(f"{self.url}/metrics", headers=headers).body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0


def request(number: int = 0, responses: int = 2, **fields: Any) -> Dict[str, Any]:
    texts = {f"r{place}": f"Build {place + 1} small projects. " * (place + 1) for place in range(responses)}
    return {"principle": CONCISE, "prompt": f"How do I learn language {number}?", "responses": texts, **fields}


def events(connection: http.client.HTTPConnection) -> Iterator[Tuple[float, str, Any]]:
    """The events of an answer, each with the time at which it came."""
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    name = ""
    while line := answer.readline():
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            yield time.monotonic(), name, json.loads(line[6:])


def streamed(host: str, port: int, context: Optional[ssl.SSLContext] = None) -> http.client.HTTPConnection:
    """A judgment that is asked for as events."""
    made: http.client.HTTPConnection
    if context:
        made = http.client.HTTPSConnection(host, port, timeout=120, context=context)
    else:
        made = http.client.HTTPConnection(host, port, timeout=120)
    body = json.dumps(request(responses=6, stream=True, options={"max_reasoning_tokens": 300}))
    made.request("POST", "/v1/judge", body, {"content-type": "application/json"})
    return made


def run(*command: Any, check: bool = True, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs a command; its output is text."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done


def certificate(place: pathlib.Path, name: str, authority: Optional[str] = None, host: str = "localhost") -> List[str]:
    """A certificate and its key, in files; made by an authority, or one itself."""
    openssl = tool("openssl")
    pem, key = str(place / f"{name}.pem"), str(place / f"{name}.key")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", pem]
    command += ["-subj", f"/CN={name}"]
    if authority:
        command += ["-CA", str(place / f"{authority}.pem"), "-CAkey", str(place / f"{authority}.key")]
        command += [
            "-addext",
            f"subjectAltName=DNS:{host},IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]
    run(*command)
    return [pem, key]
