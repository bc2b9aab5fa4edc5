"""The compared stacks: their processes, and a round of requests through each."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
START_SECONDS = 300


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


class Process:
    """A process in its own group, stopped while it is not measured."""

    def __init__(self, command, log, env=None, stdin=None, stdout=None, cwd=ROOT):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=stdin, stdout=stdout or out, stderr=out, cwd=cwd,
                env={**os.environ, **(env or {})}, start_new_session=True,
            )

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def await_url(self, url):
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except OSError:
                time.sleep(0.3)
        tail = Path(self.log).read_text(encoding="utf-8", errors="replace")[-2000:]
        sys.exit(f"{url} did not start:\n{tail}")

    def end(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def used(self):
        """Processor seconds so far and resident bytes now, of the process and everything that it has started."""
        parents, all_of = {}, {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
            # Its own times and those of children that have ended; pages in memory.
            all_of[int(entry.name)] = (sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"), int(fields[21]))
        cpu, pages, left = 0.0, 0, [self.process.pid]
        while left:
            one = left.pop()
            mine = all_of.get(one, (0.0, 0))
            cpu, pages = cpu + mine[0], pages + mine[1]
            left += parents.get(one, [])
        return cpu, pages * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Processor time and the most memory of processes while a block runs."""

    def __init__(self, processes):
        self.processes = processes
        self.peak = 0
        self.stop = threading.Event()

    def look(self):
        used = [process.used() for process in self.processes]
        self.peak = max(self.peak, sum(resident for _, resident in used))
        return sum(cpu for cpu, _ in used)

    def __enter__(self):
        self.begun = self.look()

        def work():
            while not self.stop.wait(0.25):
                self.look()

        self.thread = threading.Thread(target=work)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.cpu = self.look() - self.begun


class Round:
    """The outcomes of the requests of one round."""

    def __init__(self, results, seconds, cpu, peak):
        self.results, self.seconds, self.cpu, self.peak = results, seconds, cpu, peak


class Stack:
    """Something that judges. `processes` are its servers."""

    def __init__(self, settings):
        self.settings, self.processes = settings, []

    def start(self):
        pass

    def pause(self, paused):
        for process in self.processes:
            process.signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def end(self):
        for process in reversed(self.processes):
            process.end()


class Load(Stack):
    """Stacks that get their requests from `dicast bench`: Dicast itself, and plain servers."""

    def target(self):
        raise NotImplementedError

    def round(self, requests, number):
        folder = self.settings.folder
        source, report, trace = (folder / f"{self.name}-{number}.{end}" for end in ("in.jsonl", "json", "trace.jsonl"))
        source.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
        command = [
            self.settings.dicast, "bench", *self.target(), "--input", source, "--concurrency", self.settings.callers,
            "--requests", len(requests), "--warmup", 0, "--json", report, "--trace", trace, "--quiet",
        ]
        if self.settings.reasoning:
            command += ["--max-reasoning-tokens", self.settings.reasoning]
        with Watch(self.processes) as watch:
            done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
        if not report.exists():
            sys.exit(f"{self.name}: {done.stderr[-2000:]}")
        point = json.loads(report.read_text(encoding="utf-8"))["points"][0]
        results = [{"error": "no answer"}] * len(requests)
        for line in trace.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            seconds = one["latency_ms"] / 1e3
            if "error" in one:
                results[one["item"]] = {"seconds": seconds, "error": one["error"]["kind"]}
            else:
                results[one["item"]] = {"seconds": seconds, "scores": one["scores"], "ranking": one["ranking"]}
        own = point["process"] or {"cpu_seconds": 0, "peak_resident_bytes": 0}
        # The time from the first request sent to the last answer, without opening a model and starting the command.
        return Round(results, point["seconds"], watch.cpu + own["cpu_seconds"], watch.peak + own["peak_resident_bytes"])


class Dicast(Load):
    name, what = "dicast", "Dicast, in the process"

    def target(self):
        return ["--model", self.settings.gguf, "--profile", self.settings.profile]


class Llama(Load):
    name, what = "llama", "llama-server, JSON schema"

    def start(self):
        self.port = free_port()
        slots, threads = self.settings.callers, self.settings.llama_threads
        command = [
            self.settings.llama_server, "-m", self.settings.gguf, "--host", "127.0.0.1", "--port", self.port, "-np", slots,
            "-c", 2048 * slots, "-t", threads, "-tb", threads, "--jinja", "--alias", "judge",
        ]
        self.processes = [Process(command, self.settings.folder / f"{self.name}.log")]
        self.processes[0].await_url(f"http://127.0.0.1:{self.port}/health")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def budget(self):
        return {"reasoning_budget_tokens": self.settings.reasoning}

    def target(self):
        body = ["--body", json.dumps(self.budget())] if self.settings.reasoning else []
        return ["--url", self.url, "--api", "openai", "--profile", self.settings.profile, *body]


class LlamaText(Load):
    name, what = "llama-text", "llama-server, free text"

    def start(self):
        self.under = self.settings.shared(Llama)
        self.processes = self.under.processes

    def target(self):
        return ["--url", self.under.url, "--api", "openai", "--no-schema", "--profile", self.settings.profile]

    def end(self):
        # The server is shared.
        pass


class Vllm(Llama):
    name, what = "vllm", "vLLM, structured output"

    def start(self):
        self.port = free_port()
        python = Path(self.settings.vllm_python)
        preload = [python.parent.parent / "lib/libiomp5.so", *Path("/usr/lib").glob("*/libtcmalloc_minimal.so.4")]
        env = {
            "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": f"0-{os.cpu_count() - 1}", "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
            "LD_PRELOAD": ":".join(str(path) for path in preload if path.exists()),
        }
        # On a processor without native bfloat16 that type is four times slower.
        command = [
            python.parent / "vllm", "serve", self.settings.hf, "--served-model-name", "judge", "--host", "127.0.0.1",
            "--port", self.port, "--max-model-len", 2048, "--max-num-seqs", self.settings.callers, "--dtype", "float32",
            "--reasoning-parser", "qwen3",
        ]
        self.processes = [Process(command, self.settings.folder / f"{self.name}.log", env)]
        self.processes[0].await_url(f"http://127.0.0.1:{self.port}/health")

    def budget(self):
        return {"thinking_token_budget": self.settings.reasoning}


class Talker:
    """A running client.py."""

    def __init__(self, settings, name, *arguments):
        command = [settings.vllm_python, HERE / "client.py", *arguments]
        self.process = Process(command, settings.folder / f"{name}-client.log", None, subprocess.PIPE, subprocess.PIPE)
        self.answer()

    def answer(self):
        line = self.process.process.stdout.readline()
        if not line:
            tail = Path(self.process.log).read_text(encoding="utf-8", errors="replace")[-2000:]
            sys.exit(f"the reference's client ended:\n{tail}")
        return json.loads(line)

    def ask(self, **task):
        self.process.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.process.stdin.flush()
        return self.answer()


class Reference(Stack):
    """The reference's server and client, with a server of `base` behind them."""

    base = None
    # Its batches come back in the order of completion, so they are a separate stack.
    batch = False

    def start(self):
        self.under = self.settings.shared(self.base)
        self.port = free_port()
        settings = {
            "api_key": "none", "api_model": "judge", "api_base": f"{self.under.url}/v1", "api_timeout": 600,
            "num_workers": self.settings.callers, "request_limit": 1_000_000, "request_limit_period": 1,
            "generation_config": {"temperature": 0, "max_tokens": self.settings.tokens}, "dump_individual_rsp": False,
        }
        config = self.settings.folder / f"{self.name}.json"
        config.write_text(json.dumps(settings), encoding="utf-8")
        program = ROOT / Path(self.settings.vllm_python).parent / "rewardanything"
        command = [program, "serve", "-c", config, "--port", self.port]
        # It writes what it answers into a folder where it runs.
        server = Process(command, self.settings.folder / f"{self.name}.log", cwd=self.settings.folder)
        server.await_url(f"http://127.0.0.1:{self.port}/health")
        self.client = Talker(self.settings, self.name, "server", f"http://127.0.0.1:{self.port}")
        self.processes = [server, self.client.process]

    def pause(self, paused):
        self.under.pause(paused)
        super().pause(paused)

    def round(self, requests, number):
        with Watch([*self.under.processes, *self.processes]) as watch:
            told = self.client.ask(requests=requests, callers=self.settings.callers, batch=self.batch, tokens=0)
        return Round(told["results"], told["seconds"], watch.cpu, watch.peak)


class ReferenceLlama(Reference):
    name, what, base = "reference-llama", "reference over llama-server", Llama


class ReferenceLlamaBatch(Reference):
    name, what, base, batch = "reference-llama-batch", "the same, as one batch", Llama, True


class ReferenceVllm(Reference):
    name, what, base = "reference-vllm", "reference over vLLM", Vllm


class ReferenceVllmBatch(Reference):
    name, what, base, batch = "reference-vllm-batch", "the same, as one batch", Vllm, True


class ReferenceLocal(Stack):
    name, what = "reference-local", "reference on transformers"

    def start(self):
        self.client = Talker(self.settings, self.name, "local", str(self.settings.hf))
        self.processes = [self.client.process]

    def round(self, requests, number):
        with Watch(self.processes) as watch:
            told = self.client.ask(requests=requests, callers=1, batch=False, tokens=self.settings.tokens)
        return Round(told["results"], told["seconds"], watch.cpu, watch.peak)


ALL = [
    Dicast, ReferenceLlama, ReferenceLlamaBatch, Llama, LlamaText, ReferenceVllm, ReferenceVllmBatch, Vllm, ReferenceLocal,
]
