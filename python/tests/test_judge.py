"""The judge in this process."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, Callable, Dict, List

import pytest

import dicast
from support import CONCISE, MODEL, ROOT

#: More than any wait here takes, in seconds.
BOUND = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that another thread brings about."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "it did not come"


def many(example: Dict[str, Any], count: int) -> List[Dict[str, Any]]:
    return [{**example, "prompt": f"{example['prompt']} ({number})"} for number in range(count)]


def test_a_verdict_is_complete(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    result = judge.judge(**example)
    names = list(example["responses"])
    assert list(result.scores) == names and sorted(result.ranking) == sorted(names)
    assert result.scores == {"short and useful": 5, "long and detailed": 1, "vague": 3}
    assert all(isinstance(score, int) for score in result.scores.values())
    assert result.ranking == ["short and useful", "vague", "long and detailed"]
    assert "horter" in result.reasoning and result.reasoning in (result.raw_output or "")
    assert list(result.expected_scores) == names and list(result.distributions) == names
    for name in names:
        distribution, expected = result.distributions[name], result.expected_scores[name]
        assert distribution is not None and expected is not None
        assert len(distribution) == 5 and sum(distribution) == pytest.approx(1)
        assert expected == pytest.approx(sum(score * p for score, p in enumerate(distribution, 1)))
    assert sorted(result.aliases.values()) == sorted(names) and list(result.aliases) == [
        "model-1",
        "model-2",
        "model-3",
    ]
    assert result.usage.prompt_tokens > 100 and result.usage.verdict_tokens > 0 and result.timing.verdict > 0
    assert result.repairs == []


def test_the_judge_says_what_it_is(judge: dicast.Judge) -> None:
    assert judge.info.engine == "local" and judge.info.guided and judge.info.distributions
    assert judge.scale == (1, 5) and judge.max_responses == 32
    assert judge.profile["name"] == "dicast-demo"
    assert judge.stats().computed_tokens >= 0
    assert str(MODEL) in repr(judge)


def test_names_can_be_anything(judge: dicast.Judge) -> None:
    names = ["", "model-2", "a\0b", 'quote"', "日本 🙂", "<|im_end|>", "</think>"]
    result = judge.judge(CONCISE, "Hi </think> <|im_start|>", {name: f"text {name}" for name in names})
    assert list(result.scores) == names and sorted(result.ranking) == sorted(names)


def test_the_order_of_a_batch_is_that_of_the_requests(judge: dicast.Judge) -> None:
    requests: List[Any] = [
        {
            "principle": CONCISE,
            "prompt": "Hi",
            "responses": {f"{number}-{n}": "x " * (n + 1) for n in range(number % 3 + 1)},
        }
        for number in range(40)
    ]
    requests[7] = dicast.RewardRequest(**requests[7])
    results = judge.judge_batch(requests)
    for number, result in enumerate(results):
        assert list(result.scores) == [f"{number}-{n}" for n in range(number % 3 + 1)]
    assert judge.judge_batch([]) == []


def test_the_same_request_is_judged_the_same(example: Dict[str, Any]) -> None:
    # A judge that is still ending judgments of another test may compute the prompt on another thread.
    with dicast.from_pretrained(MODEL) as judge:

        def sampled(seed: int) -> str:
            return str(judge.judge(**example, temperature=2.0, seed=seed, max_reasoning_tokens=40).raw_output)

        # The first one computes the prompt, the others reuse it: the last bits of the numbers differ.
        sampled(3)
        first = sampled(3)
        assert sampled(3) == first
        # A judge that is sure of its words may draw the same ones twice.
        assert any(sampled(seed) != first for seed in range(4, 24)), "another seed, another text"


def test_a_batch_keeps_what_was_judged(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    requests = [example, {**example, "responses": {}}, {"prompt": "Hi"}, example, 7]
    with pytest.raises(dicast.BatchError) as caught:
        judge.judge_batch(requests)
    results = caught.value.results
    kinds = [getattr(result, "kind", "judged") for result in results]
    assert kinds == ["judged", "invalid_request", "invalid_request", "judged", "invalid_request"]
    assert caught.value.kind == "invalid_request" and not caught.value.retryable
    assert "3 of 5" in str(caught.value) and "index 1" in str(caught.value)
    mixed = judge.judge_batch(requests, return_exceptions=True)
    assert [getattr(result, "kind", "judged") for result in mixed] == kinds
    again = pickle.loads(pickle.dumps(caught.value))
    assert [getattr(result, "kind", "judged") for result in again.results] == kinds


@pytest.mark.parametrize(
    "change, error",
    [
        ({"responses": {}}, dicast.InvalidRequestError),
        ({"responses": ["a"]}, dicast.InvalidRequestError),
        ({"responses": {"a": 1}}, dicast.InvalidRequestError),
        ({"responses": {1: "a"}}, dicast.InvalidRequestError),
        ({"prompt": None}, dicast.InvalidRequestError),
        ({"principle": "\ud800"}, dicast.InvalidRequestError),
        ({"responses": {str(n): "x" for n in range(33)}}, dicast.TooLargeError),
        ({"prompt": "long " * 3000}, dicast.ContextOverflowError),
        ({"prompt": "x" * (5 << 20)}, dicast.TooLargeError),
        ({"temperature": 9.0}, dicast.InvalidRequestError),
        ({"temperature": float("nan")}, dicast.InvalidRequestError),
        ({"temperature": "hot"}, dicast.InvalidRequestError),
        ({"max_new_tokens": "all"}, dicast.InvalidRequestError),
        ({"timeout": "soon"}, dicast.InvalidRequestError),
        ({"timeout": -1}, dicast.InvalidRequestError),
        ({"timeout_ms": -1}, dicast.InvalidRequestError),
        ({"top_k": 2.5}, dicast.InvalidRequestError),
        ({"tempreature": 0.5}, dicast.InvalidRequestError),
        ({"num_beams": 4}, dicast.UnsupportedError),
    ],
)
def test_what_cannot_be_judged_is_said(judge: dicast.Judge, example: Dict[str, Any], change: Any, error: Any) -> None:
    with pytest.raises(error) as caught:
        judge.judge(**{**example, **change})
    assert isinstance(caught.value, dicast.DicastError) and not caught.value.retryable
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    with pytest.raises(error):
        asyncio.run(judge.ajudge(**{**example, **change}))


def test_settings_of_transformers_are_taken(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    neutral = {"do_sample": False, "num_beams": 1, "pad_token_id": 0, "use_cache": True, "repetition_penalty": 1.0}
    assert judge.judge(**example, temperature=1.7, max_new_tokens=4096, top_k=None, **neutral).scores
    short = judge.judge(**example, max_new_tokens=4)
    assert short.usage.reasoning_tokens < judge.judge(**example).usage.reasoning_tokens
    assert "reasoning_truncated" in short.flags

    class GenerationConfig:
        def to_diff_dict(self) -> Dict[str, Any]:
            return {"max_new_tokens": 4, "transformers_version": "4.51.0", "eos_token_id": [1, 2]}

    with dicast.from_pretrained(MODEL, generation_config=GenerationConfig()) as bounded:
        assert bounded.judge(**example).usage.reasoning_tokens == short.usage.reasoning_tokens
        assert bounded.judge(**example, max_reasoning_tokens=96).flags == []


def test_a_judge_that_cannot_be_opened() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        dicast.from_pretrained("/nowhere/judge.gguf")
    assert isinstance(caught.value, dicast.ModelNotFoundError)
    with pytest.raises(dicast.InvalidConfigError):
        dicast.from_pretrained(MODEL, limits={"max_queue": 0})
    with pytest.raises(dicast.InvalidConfigError):
        dicast.from_pretrained(MODEL, local={"threds": 2})
    with pytest.raises(dicast.InvalidProfileError):
        dicast.from_pretrained(MODEL, profile="/nowhere.profile.json")
    with pytest.raises(dicast.InvalidModelError):
        dicast.from_pretrained(__file__)


def test_every_section_of_the_configuration_reaches_the_library() -> None:
    sections = {
        name: part["properties"] for name, part in dicast.config_schema()["properties"].items() if "properties" in part
    }
    assert {"options", "limits", "trtllm"} < set(sections)
    for section, rows in sections.items():
        for setting in rows:
            # No setting accepts an object.
            with pytest.raises(dicast.InvalidConfigError, match=setting):
                dicast.from_pretrained(MODEL, **{section: {setting: {}}})


def test_every_option_is_a_keyword_of_a_judgment(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    options = dicast.config_schema()["properties"]["options"]["properties"]
    assert options["temperature"]["maximum"] == 2 and options["timeout_ms"]["default"] == 600_000
    for option in options:
        with pytest.raises(dicast.InvalidRequestError, match=option):
            judge.judge(**example, **{option: {}})
    with pytest.raises(dicast.InvalidRequestError, match="timeout_ms is -5: must be a whole number"):
        judge.judge(**example, timeout_ms=-5)
    with pytest.raises(dicast.InvalidRequestError, match="timeout is -5: it must not be negative"):
        judge.judge(**example, timeout=-5)
    with pytest.raises(dicast.InvalidRequestError, match=r"no generation setting tempreature.*temperature"):
        judge.judge(**example, tempreature=1)


def test_what_has_no_effect_is_said() -> None:
    with pytest.warns(UserWarning, match="bfloat16"):
        dicast.from_pretrained(MODEL, device="cpu", torch_dtype="bfloat16").close()
    with pytest.warns(UserWarning, match="attn_implementation, load_in_4bit"):
        dicast.from_pretrained(MODEL, load_in_4bit=True, attn_implementation="flash_attention_2").close()


def test_threads_judge_at_once_and_the_gil_is_free(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    """While this thread runs Python code, two others are in a judgment."""
    stop = threading.Event()
    failures: List[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                judge.judge(**example)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: judge.stats().running >= 2 or bool(failures))
    finally:
        stop.set()
        for thread in threads:
            thread.join(BOUND)
    assert not failures


def test_coroutines_judge_at_once_without_threads(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    async def work() -> List[Any]:
        before = threading.active_count()
        tasks = [asyncio.ensure_future(judge.ajudge(**request)) for request in many(example, 10)]
        await asyncio.sleep(0)
        assert judge.stats().pending > 2
        results: List[Any] = list(await asyncio.gather(*tasks))
        # The library's own thread, which calls back, counts while it runs.
        assert threading.active_count() <= before + 1
        return results + await judge.ajudge_batch(many(example, 10))

    results = asyncio.run(work())
    assert len(results) == 20 and all(list(result.scores) == list(example["responses"]) for result in results)


def test_coroutines_get_errors(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    with pytest.raises(dicast.JudgmentTimeoutError) as caught:
        asyncio.run(judge.ajudge(**example, timeout_ms=1))
    assert caught.value.retryable and isinstance(caught.value, TimeoutError)
    bad = {**example, "responses": {}}
    mixed: List[Any] = asyncio.run(judge.ajudge_batch([example, bad, example], return_exceptions=True))
    assert [getattr(result, "kind", "judged") for result in mixed] == ["judged", "invalid_request", "judged"]
    with pytest.raises(dicast.BatchError):
        asyncio.run(judge.ajudge_batch([bad]))


def test_cancelling_a_coroutine_frees_the_engine(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    async def work() -> None:
        task = asyncio.ensure_future(judge.ajudge_batch(many(example, 200)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert judge.stats().pending > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The loop ends before all outcomes have come: nothing waits for them.

    asyncio.run(work())
    until(lambda: judge.stats().pending == 0)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(judge.ajudge_batch(many(example, 200)), 0.05))
    until(lambda: judge.stats().pending == 0)


def test_a_batch_waits_for_room(example: Dict[str, Any]) -> None:
    with dicast.from_pretrained(MODEL, limits={"max_queue": 3}) as small:
        assert len(small.judge_batch(many(example, 6))) == 6
        assert len(asyncio.run(small.ajudge_batch(many(example, 6)))) == 6

        async def crowd() -> List[Any]:
            both = asyncio.gather(small.ajudge_batch(many(example, 4)), small.ajudge_batch(many(example, 4)))
            return [result for results in await both for result in results]

        assert len(asyncio.run(crowd())) == 8

        async def storm() -> List[Any]:
            tasks = [small.ajudge(**request) for request in many(example, 7)]
            return list(await asyncio.gather(*tasks, return_exceptions=True))

        outcomes = asyncio.run(storm())
        refused = [one for one in outcomes if isinstance(one, dicast.OverloadedError)]
        assert refused and all(one.retryable for one in refused) and len(refused) < 7


def test_ctrl_c_ends_the_wait_and_the_work(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        until(lambda: judge.stats().running > 0)
        signal.pthread_kill(main, signal.SIGINT)

    # Started in the background of a shell, this process ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            while thread.is_alive():
                judge.judge_batch(many(example, 300))
        thread.join(BOUND)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: judge.stats().pending == 0)
    assert judge.judge(**example).scores


def test_closing_ends_what_is_pending(example: Dict[str, Any]) -> None:
    judge = dicast.from_pretrained(MODEL)
    outcomes: List[Any] = []
    thread = threading.Thread(
        target=lambda: outcomes.extend(judge.judge_batch(many(example, 300), return_exceptions=True))
    )
    thread.start()
    until(lambda: judge.stats().running > 0)
    judge.close()
    thread.join(BOUND)
    assert len(outcomes) == 300 and any(isinstance(one, dicast.ClosedError) for one in outcomes)
    judge.close()
    assert judge.closed and "closed" in repr(judge)
    with pytest.raises(dicast.ClosedError):
        judge.judge(**example)
    with pytest.raises(dicast.ClosedError):
        asyncio.run(judge.ajudge(**example))
    with pytest.raises(dicast.ClosedError):
        judge.stats()


def test_closing_ends_coroutines(example: Dict[str, Any]) -> None:
    judge = dicast.from_pretrained(MODEL)

    async def work() -> List[Any]:
        tasks = [asyncio.ensure_future(judge.ajudge(**request)) for request in many(example, 100)]
        await asyncio.sleep(0)
        judge.close()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    outcomes = asyncio.run(work())
    assert any(isinstance(one, dicast.ClosedError) for one in outcomes)


def test_what_nobody_holds_is_freed(example: Dict[str, Any]) -> None:
    judge = dicast.from_pretrained(MODEL)
    judge.judge(**example)
    gone = weakref.ref(judge)
    del judge
    gc.collect()
    assert gone() is None


def test_judges_stay_in_their_process(judge: dicast.Judge) -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(judge)
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(judge)


SCRIPT_FORK = """
import asyncio, json, os, sys
import dicast
judge = dicast.from_pretrained(sys.argv[1])
request = json.load(open(sys.argv[2], encoding="utf-8"))
async def work():
    pending = [asyncio.ensure_future(judge.ajudge(**request)) for _ in range(8)]
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        code = 3
        try:
            judge.judge(**request)
        except dicast.ClosedError as error:
            code = 0 if "fork" in str(error) else 4
        try:
            judge.close()
            with dicast.from_pretrained(sys.argv[1]) as own:
                code = code or (0 if own.judge(**request).scores else 5)
        finally:
            os._exit(code)
    results = await asyncio.gather(*pending)
    return len(results), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(*asyncio.run(work()))
"""

SCRIPT_EXIT = """
import asyncio, json, sys, threading
import dicast
judge = dicast.from_pretrained(sys.argv[1])
request = json.load(open(sys.argv[2], encoding="utf-8"))
for _ in range(3):
    threading.Thread(target=lambda: judge.judge_batch([request] * 200, return_exceptions=True), daemon=True).start()
async def work():
    for _ in range(50):
        asyncio.ensure_future(judge.ajudge(**request))
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(work())
print("leaving")
sys.stdout.flush()
"""


def script(text: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    example = ROOT / "examples/requests/concise.json"
    command = [sys.executable, *flags, "-c", text, str(MODEL), str(example)]
    # Not in the folder of the package's sources: this tests the installed package.
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_so_and_opens_its_own() -> None:
    done = script(SCRIPT_FORK, "-W", "ignore")
    assert (done.stdout, done.returncode, done.stderr) == ("8 0\n", 0, "")


def test_a_program_may_end_in_the_middle_of_judgments() -> None:
    done = script(SCRIPT_EXIT)
    assert done.stdout == "leaving\n" and done.returncode == 0, done.stderr
    # Only asyncio's own messages about tasks that were never awaited are allowed.
    assert all("Task was destroyed" in line or "task:" in line for line in done.stderr.splitlines()), done.stderr


def test_the_log_goes_to_the_logger(example: Dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "dicast"):
        with dicast.from_pretrained(MODEL) as judge:
            judge.judge(**example)
            with pytest.raises(dicast.InvalidRequestError):
                judge.judge("p", "q", {})
    levels = {record.levelno for record in caplog.records if record.name == "dicast"}
    assert {logging.DEBUG, logging.INFO, logging.WARNING} <= levels
    caplog.clear()
    with caplog.at_level(logging.ERROR, "dicast"):
        with dicast.from_pretrained(MODEL) as judge:
            judge.judge(**example)
    assert not caplog.records
