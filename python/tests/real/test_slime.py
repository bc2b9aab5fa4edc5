"""slime's own roll-outs call the hooks, over a server that answers as SGLang does.

DICAST_SLIME names a checkout of slime, which is not on the package index. Skipped without it.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import random
import re
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional

import pytest

import dicast
from support import CONCISE, MODEL

from .conftest import PROMPTS, SAMPLES, Watched, prompt_of, response_of

if os.environ.get("DICAST_SLIME"):
    sys.path.append(os.environ["DICAST_SLIME"])
pytest.importorskip("slime.rollout.sglang_rollout", reason="needs DICAST_SLIME, a checkout of slime")

from slime.rollout import fully_async_rollout, sglang_rollout
from slime.rollout.base_types import call_rollout_fn
from slime.rollout.data_source import RolloutDataSourceWithBuffer
from slime.utils import http_utils
from slime.utils.eval_config import EvalDatasetConfig
from slime.utils.misc import load_function
from slime.utils.types import Sample

from dicast.trainers import Settings, slime

from .policy import tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


class Server:
    """A server that generates as SGLang does: responses end at random times, and all are cut off on request."""

    def __init__(self) -> None:
        self.made = 0
        self.running = 0
        self.random = random.Random(5)
        #: From this prompt on, every second sample goes on until it is cut off.
        self.endless_from: Optional[int] = None
        self.asked: "collections.Counter[int]" = collections.Counter()
        self.aborted = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                workers = {"workers": [{"url": outer.url}]}
                self.answer(workers if self.path == "/workers" else {"loads": [{"num_running_reqs": outer.running}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path == "/abort_request":
                    outer.aborted.set()
                    self.answer({})
                else:
                    self.answer(outer.generated(body))

            def answer(self, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, *_: Any) -> None:
                """Nothing: a client that left."""

        self.inner = Threads(("127.0.0.1", 0), Handler)
        self.port = self.inner.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.inner.serve_forever, daemon=True).start()

    def generated(self, body: Dict[str, Any]) -> Dict[str, Any]:
        self.made += 1
        self.running += 1
        text = response_of(self.made, self.made % SAMPLES) + "<|im_end|>"
        cut = self.aborted.wait(60 if self.is_endless(body) else self.random.uniform(0, 0.6))
        self.running -= 1
        text = text[:10] if cut else text
        return {
            "text": text,
            "meta_info": {
                "output_token_logprobs": [[-0.5, 3] for _ in text],
                "finish_reason": {"type": "abort" if cut else "stop"},
            },
        }

    def is_endless(self, body: Dict[str, Any]) -> bool:
        if self.endless_from is None:
            return False
        found = re.search(r"number (\d+)", tokenizer_of().decode(body["input_ids"]))
        assert found is not None
        number = int(found[1])
        self.asked[number] += 1
        return number >= self.endless_from and self.asked[number] % 2 == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.inner.shutdown()


@pytest.fixture
def arguments(server: Server, tmp_path: Path) -> Iterator[Any]:
    """The arguments of slime that its roll-outs read."""
    tokenizer = tokenizer_of()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path / "policy")
    server.aborted.clear()
    not_set = (
        "apply_chat_template_kwargs buffer_filter_path custom_generate_function_path custom_rm_path dump_details "
        "dynamic_sampling_filter_path eval_max_prompt_len eval_reward_key label_key load multimodal_keys reward_key "
        "rm_type rm_url rollout_all_samples_process_path rollout_max_prompt_len rollout_sample_filter_path "
        "rollout_stop rollout_stop_token_ids save tool_key"
    )
    made = SimpleNamespace(**dict.fromkeys(not_set.split()))
    vars(made).update(
        apply_chat_template=True,
        ci_test=True,
        group_rm=False,
        hf_checkpoint=str(tmp_path / "policy"),
        input_key="text",
        mask_offpolicy_in_partial_rollout=False,
        metadata_key="metadata",
        n_samples_per_prompt=SAMPLES,
        over_sampling_batch_size=PROMPTS,
        partial_rollout=False,
        prompt_data=str(prompts(tmp_path / "prompts.jsonl")),
        rollout_batch_size=PROMPTS,
        rollout_global_dataset=True,
        rollout_max_response_len=100_000,
        rollout_num_engines=1,
        rollout_seed=1,
        rollout_shuffle=False,
        rollout_skip_special_tokens=False,
        rollout_temperature=1.0,
        rollout_top_k=-1,
        rollout_top_p=1.0,
        sglang_dp_size=1,
        sglang_router_ip="127.0.0.1",
        sglang_router_port=server.port,
        sglang_server_concurrency=512,
        use_distributed_post=False,
        use_rollout_routing_replay=False,
    )
    http_utils.init_http_client(made)
    yield made
    sglang_rollout.GenerateState.clear_instances()
    load_function.cache_clear()


def prompts(path: Path, failing: Optional[int] = None, count: int = 4 * PROMPTS) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            line = {"text": prompt_of(number, number == failing), "metadata": {"number": number}}
            file.write(json.dumps(line) + "\n")
    return path


def hooked(monkeypatch: pytest.MonkeyPatch, arguments: Any, hook: Any) -> None:
    """Names a hook to slime by a path."""
    module: Any = types.ModuleType("dicast_test_hooks")
    module.hook = hook
    monkeypatch.setitem(sys.modules, "dicast_test_hooks", module)
    arguments.custom_rm_path = "dicast_test_hooks.hook"


def rolled_out(arguments: Any, source: Any, number: int = 0) -> List[List[Any]]:
    groups: List[List[Any]] = call_rollout_fn(
        sglang_rollout.generate_rollout, arguments, number, source, evaluation=False
    ).samples
    return groups


def checked(groups: List[List[Any]], judge: dicast.Judge) -> None:
    """Every sample has the reward that the judge gives when it is asked directly."""
    assert [len(group) for group in groups] == [SAMPLES] * PROMPTS
    for group in groups:
        assert len({sample.group_index for sample in group}) == 1
        assert all(1 <= sample.reward <= 5 for sample in group)
    for group in groups[:2]:
        said = [sample.response[: -len("<|im_end|>")] for sample in group]
        texts = {str(place): text for place, text in enumerate(said, 1)}
        asked = prompt_of(group[0].metadata["number"])
        result = judge.judge(CONCISE, asked, texts, max_reasoning_tokens=16, mask="given")
        expected = [result.expected_scores[name] for name in texts]
        assert [sample.reward for sample in group] == pytest.approx(expected, abs=0.01)


#: The responses are shown in the order given, so that two judgments of one group are the same.
GIVEN = {"options": {"mask": "given"}}


def test_group_rewards_of_a_roll_out(
    arguments: Any, watched: Watched, judge: dicast.Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments.group_rm = True
    hooked(monkeypatch, arguments, slime.make_group_rewards(Settings(watched, CONCISE, rewards=GIVEN)))
    checked(rolled_out(arguments, RolloutDataSourceWithBuffer(arguments)), judge)
    assert watched.sizes == [SAMPLES] * PROMPTS


def test_single_samples_of_a_roll_out_form_groups(
    arguments: Any, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = slime.make_reward(Settings(watched, CONCISE, window=60.0))
    hooked(monkeypatch, arguments, reward)
    start = time.monotonic()
    groups = rolled_out(arguments, RolloutDataSourceWithBuffer(arguments))
    assert [len(group) for group in groups] == [SAMPLES] * PROMPTS
    assert all(1 <= sample.reward <= 5 for group in groups for sample in group)
    assert watched.full() >= 0.99 and time.monotonic() - start < 60
    print(f"slime: {watched.full():.1%} of {sum(watched.sizes)} samples in full groups")


def test_the_hooks_that_a_path_names(arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICAST_MODEL", str(MODEL))
    monkeypatch.setenv("DICAST_PRINCIPLE", CONCISE)
    monkeypatch.setenv("DICAST_CONFIG", '{"options": {"max_reasoning_tokens": 16}}')
    arguments.rollout_batch_size = arguments.over_sampling_batch_size = 2
    arguments.reward_key = "dicast"
    source = RolloutDataSourceWithBuffer(arguments)
    for name, together in (("reward", False), ("group_rewards", True)):
        arguments.custom_rm_path, arguments.group_rm = f"dicast.trainers.slime.{name}", together
        for group in rolled_out(arguments, source):
            assert all(1 <= sample.get_reward_value(arguments) <= 5 for sample in group)


@pytest.mark.parametrize("together", [True, False])
def test_a_failed_judgment_ends_the_roll_out(
    arguments: Any, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    arguments.group_rm = together
    arguments.prompt_data = str(prompts(tmp_path / "failing.jsonl", failing=3))
    make = slime.make_group_rewards if together else slime.make_reward
    hooked(monkeypatch, arguments, make(Settings(watched, CONCISE, window=60.0)))
    with pytest.raises(dicast.DicastError, match="context"):
        rolled_out(arguments, RolloutDataSourceWithBuffer(arguments))


def test_a_fully_asynchronous_roll_out_drops_a_group_that_failed(
    arguments: Any, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments.prompt_data = str(prompts(tmp_path / "failing.jsonl", failing=3))
    # So many samples at once, and also so many groups.
    arguments.sglang_server_concurrency = PROMPTS
    hooked(monkeypatch, arguments, slime.make_reward(Settings(watched, CONCISE, window=60.0)))
    rollout = fully_async_rollout.generate_rollout_fully_async
    source = RolloutDataSourceWithBuffer(arguments)
    try:
        groups = [
            group
            for number in range(2)
            for group in call_rollout_fn(rollout, arguments, number, source, evaluation=False).samples
        ]
    finally:
        worker = fully_async_rollout._global_worker
        fully_async_rollout._stop_global_worker()
        worker.worker_thread.join()
    assert len(groups) == 2 * PROMPTS and 3 not in {group[0].metadata["number"] for group in groups}
    assert all(1 <= sample.reward <= 5 for group in groups for sample in group)
    assert watched.full() >= 0.99


@pytest.mark.parametrize("together", [True, False])
def test_groups_that_were_cut_off_continue(
    arguments: Any, watched: Watched, server: Server, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    arguments.group_rm, arguments.partial_rollout = together, True
    arguments.rollout_batch_size, arguments.over_sampling_batch_size = PROMPTS // 4, PROMPTS
    # slime stops when the first groups are complete: the others are cut off with half of their samples, however fast
    # this machine is.
    server.endless_from = PROMPTS // 4
    make = slime.make_group_rewards if together else slime.make_reward
    hooked(monkeypatch, arguments, make(Settings(watched, CONCISE, window=60.0)))
    source = RolloutDataSourceWithBuffer(arguments)
    groups = rolled_out(arguments, source)
    done = [[sample.status for sample in group].count(Sample.Status.COMPLETED) for group in source.buffer]
    assert any(0 < one < SAMPLES for one in done), "groups were cut off with some of their samples complete"
    server.endless_from = None
    # The next roll-out consists of them alone.
    arguments.rollout_batch_size = arguments.over_sampling_batch_size = len(source.buffer)
    server.aborted.clear()
    start = time.monotonic()
    groups += rolled_out(arguments, source, 1)
    assert len(groups) == PROMPTS and time.monotonic() - start < 30, "no group waits for samples with rewards"
    assert all(len(group) == SAMPLES for group in groups)
    assert all(1 <= sample.reward <= 5 for group in groups for sample in group)
    if together:
        assert set(watched.sizes) == {SAMPLES}


def test_several_samples_from_one(arguments: Any, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments.rollout_batch_size = arguments.over_sampling_batch_size = arguments.n_samples_per_prompt = 4
    arguments.custom_generate_function_path = "slime.rollout._fanout_test_helpers.compact_generate"
    settings = Settings(watched, CONCISE, window=60.0)
    hooked(monkeypatch, arguments, slime.make_reward(settings))
    source = RolloutDataSourceWithBuffer(arguments)
    groups = rolled_out(arguments, source)
    made = [sum(len(member) for member in group) for group in groups]
    assert sorted(watched.sizes) == sorted(made) and max(made) > 4
    assert all(1 <= sample.reward <= 5 for group in groups for member in group for sample in member)
    load_function.cache_clear()
    arguments.group_rm = True
    hooked(monkeypatch, arguments, slime.make_group_rewards(settings))
    with pytest.raises(dicast.InvalidRequestError, match="--group-rm"):
        rolled_out(arguments, source)


def test_an_evaluation_does_not_wait(arguments: Any, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked(monkeypatch, arguments, slime.make_reward(Settings(watched, CONCISE, window=60.0)))
    arguments.eval_reward_key = "dicast"
    dataset = EvalDatasetConfig(name="held out", path=arguments.prompt_data, input_key="text", metadata_key="metadata")
    dataset.n_samples_per_eval_prompt, dataset.max_response_len = 1, 100_000
    dataset.temperature, dataset.top_p, dataset.top_k = 0.0, 1.0, -1
    arguments.eval_datasets = [dataset]
    start = time.monotonic()
    result = call_rollout_fn(
        sglang_rollout.generate_rollout, arguments, 0, RolloutDataSourceWithBuffer(arguments), evaluation=True
    )
    rewards = result.data["held out"]["rewards"]
    assert len(rewards) == 4 * PROMPTS and all(1 <= reward <= 5 for reward in rewards)
    assert time.monotonic() - start < 30


def test_slime_awaits_hooks_that_are_called_directly(watched: Watched) -> None:
    """What slime's multi-agent example does: a list of any samples."""
    from slime.rollout.rm_hub import batched_async_rm

    samples = [Sample(group_index=0, prompt="Q?", response=text) for text in ("a", "b")]
    module: Any = types.ModuleType("dicast_test_direct")
    module.hook = slime.make_reward(Settings(watched, CONCISE, window=60.0))
    sys.modules["dicast_test_direct"] = module
    arguments = SimpleNamespace(custom_rm_path="dicast_test_direct.hook", n_samples_per_prompt=1)
    assert len(asyncio.run(batched_async_rm(arguments, samples))) == 2 and watched.sizes == [2]
