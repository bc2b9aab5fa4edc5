"""Groups of single samples: that they form, what happens if they do not, and hooks in other processes."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import sys
import threading
import time
import types
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

import pytest

import dicast
from dicast.trainers import LazyJudge, Rewards, Settings, openrlhf, slime, trl, verl
from dicast.trainers import _settings as settings_module
from dicast.trainers._coalesce import GroupCounts, LoopCoalescer
from dicast.trainers._groups import Group, Judged, Sample
from dicast.trainers._texts import clean_response, said_in, text_of_prompt, without_roles
from server import judged as answers_of
from server import serving
from support import CONCISE, MODEL, called_here

LONG = "First of all one should consider that learning is a long journey with a great many stages of all kinds. " * 4
SHORT = "Build small projects."
MIDDLE = "Work through the official tutorial first, then build one small project a week and ask when you are stuck."
TEXTS = [LONG, SHORT, MIDDLE]
QUICK = {"options": {"max_reasoning_tokens": 16}}


def lazy() -> LazyJudge:
    return LazyJudge(MODEL, **QUICK)


async def sizes_as_rewards(samples: Sequence[Sample]) -> List[Judged]:
    """Rewards each sample with the size of its group."""
    return [Judged(float(len(samples)), group=len(samples)) for _ in samples]


# Groups


def test_a_group_waits_for_its_members_and_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dicast")
    coalescer = LoopCoalescer(sizes_as_rewards, 0.05)
    sample = Sample("p", "q", "a")

    async def rollouts() -> List[Any]:
        calls = [coalescer.rewards("full", [sample], 3) for _ in range(3)]
        calls += [coalescer.rewards("short", [sample], 3) for _ in range(2)]
        # A member may bring several samples.
        calls += [coalescer.rewards("fan", [sample] * 2, 2), coalescer.rewards("fan", [sample] * 3, 2)]
        return list(await asyncio.gather(*calls))

    groups = [[one.group for one in judged] for judged in asyncio.run(rollouts())]
    assert groups == [[3], [3], [3], [2], [2], [5] * 2, [5] * 3]
    assert (coalescer.counts.full, coalescer.counts.incomplete) == (2, 1)
    assert "a group is judged with 2 of 3 samples: the window of 0.05 s is over" in caplog.text


def test_many_incomplete_groups_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    counts = GroupCounts()
    for number in range(100):
        counts.count(8 if number % 10 else 1, 8, "the window is over")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2, "when there are 20 groups, and whenever there are twice as many"
    assert warnings[0].startswith("3 of 21 groups were judged without all of their samples (3 with only one)")
    assert counts.share == 0.1
    caplog.clear()
    for _ in range(300):
        GroupCounts().count(8, 8, "")
    assert not caplog.records


def test_members_that_fail_are_not_waited_for() -> None:
    coalescer = LoopCoalescer(sizes_as_rewards, 60.0)

    async def rollouts() -> List[Any]:
        group = coalescer.new()
        for _ in range(3):
            group.expect()
        futures = [group.add([Sample("p", "q", "a")]) for _ in range(2)]
        group.drop()
        return list(await asyncio.gather(*futures))

    assert [judged[0].group for judged in asyncio.run(rollouts())] == [2, 2]


def test_lone_samples_are_a_warning_once(judge: dicast.Judge, caplog: pytest.LogCaptureFixture) -> None:
    settings_module._alone_said().clear()
    compute_score = verl.single(Settings(judge, CONCISE))
    for _ in range(2):
        compute_score(data_source="", solution_str="a", ground_truth="", extra_info={"prompt": "q"})
    reward_func = openrlhf.make_reward_func(Settings(judge, CONCISE))
    reward_func(["qa"], ["q"], [None])
    warnings = [record for record in caplog.records if "one by one" in record.getMessage()]
    assert len(warnings) == 1 and "DICAST_GROUP_SIZE" in warnings[0].getMessage()


def test_more_threads_than_a_pool_has_form_groups(judge: dicast.Judge) -> None:
    compute_score = verl.single(Settings(judge, CONCISE, group_size=4, window=60.0))
    results: List[Any] = []

    def call(number: int) -> None:
        info = {"prompt": f"question {number % 4}"}
        results.append(compute_score(solution_str="a" * (1 + number), ground_truth="", extra_info=info))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result["group"] for result in results] == [4.0] * 16


# Failures


class Told:
    """Takes the place of a judge; its answers are given by prompt."""

    scale = (1, 5)
    max_responses = 32

    def __init__(self, judge: dicast.Judge, errors: Dict[str, dicast.DicastError]) -> None:
        self.judge, self.errors = judge, errors

    def judge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        results = self.judge.judge_batch(requests, return_exceptions=True, **options)
        return [self.errors.get(request["prompt"], result) for request, result in zip(requests, results)]

    async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
        return self.judge_batch(requests, **options)


@pytest.mark.parametrize(
    "error",
    [
        dicast.ClosedError("closed"),
        dicast.EngineDeadError("dead"),
        dicast.UnsupportedError("cannot"),
        dicast.InvalidRequestError("an option"),
        dicast.NetworkError("key refused", retryable=False),
    ],
)
def test_an_error_that_would_come_again_is_raised(judge: dicast.Judge, error: dicast.DicastError) -> None:
    told = Told(judge, {"bad": error})
    for function in (trl.reward_func(told, CONCISE), trl.reward_func(told, CONCISE, on_error="none")):
        with pytest.raises(type(error)):
            function(["good", "good", "bad"], ["a", "b", "c"])
    with pytest.raises(type(error)):
        asyncio.run(trl.async_reward_func(told, CONCISE)(["bad"], ["c"]))
    with pytest.raises(type(error)):  # Even if a number was chosen for failures.
        verl.single(Settings(told, CONCISE, on_error=0.0))(solution_str="c", extra_info={"prompt": "bad"})


def test_an_error_of_one_group_stays_its_own(judge: dicast.Judge) -> None:
    told = Told(judge, {"bad": dicast.ContextOverflowError("too long")})
    assert trl.reward_func(told, CONCISE)(["good", "bad"], ["a", "b"])[1] is None
    # A text that cannot be sent is the error of its group.
    rewards = trl.reward_func(judge, CONCISE)(["good", "odd", "odd"], ["a", "\ud800", "c"])
    assert rewards[0] is not None and rewards[1:] == [None, None]


def test_a_closed_judge_is_an_error() -> None:
    with dicast.from_pretrained(MODEL) as closed:
        pass
    with pytest.raises(dicast.ClosedError):
        trl.reward_func(closed, CONCISE)(["q"], ["a"])


def test_a_group_is_rewarded_whole_or_not_at_all(judge: dicast.Judge) -> None:
    class Half(Told):
        def judge_batch(self, requests: Any, **options: Any) -> List[Any]:
            results = super().judge_batch(requests, **options)
            return [dicast.ContextOverflowError("too long"), *results[1:]]

    groups = [Group(CONCISE, "q", ["a", "b", "c", "d"], [0, 1, 2, 3])]
    judged = Rewards(Half(judge, {}), max_group=2).of(groups)
    assert [one.reward for one in judged] == [None] * 4 and all(one.error for one in judged)


def test_trl_raises_where_none_would_be_learned_from(judge: dicast.Judge) -> None:
    told = Told(judge, {"bad": dicast.ContextOverflowError("too long")})
    state = SimpleNamespace(global_step=1)
    online = {"trainer_state": state}  # OnlineDPOTrainer
    grpo = {"trainer_state": state, "log_metric": lambda name, value: None}
    function = trl.reward_func(told, CONCISE)
    assert function(["bad"], ["a"], **grpo) == [None] and function(["bad"], ["a"]) == [None]
    with pytest.raises(dicast.ContextOverflowError):
        function(["bad"], ["a"], **online)
    with pytest.raises(dicast.ContextOverflowError):
        trl.reward_func(told, CONCISE, on_error="raise")(["bad"], ["a"], **grpo)
    assert trl.reward_func(told, CONCISE, on_error="none")(["bad"], ["a"], **online) == [None]
    with pytest.raises(dicast.InvalidRequestError):
        trl.reward_func(told, CONCISE, on_error="zero")


def test_errors_that_openrlhf_swallows_are_in_the_log(judge: dicast.Judge, caplog: pytest.LogCaptureFixture) -> None:
    told = Told(judge, {"bad": dicast.ContextOverflowError("too long")})
    with pytest.raises(dicast.ContextOverflowError):
        openrlhf.make_reward_func(Settings(told, CONCISE))(["bada"], ["bad"], [None])
    assert [record.levelno for record in caplog.records if "no reward" in record.getMessage()] == [logging.ERROR]
    chosen = openrlhf.make_reward_func(Settings(told, CONCISE, on_error=-2.0))(["bada"], ["bad"], [None])
    assert (chosen["rewards"], chosen["scores"]) == ([-2.0], [0.0])


def test_openrlhf_scores_are_from_0_to_1_whatever_the_reward(judge: dicast.Judge) -> None:
    for reward in ("expected", "score", "rank", "group", "win"):
        settings = Settings(judge, CONCISE, rewards={"reward": reward})
        answer = openrlhf.make_reward_func(settings)([f"q{text}" for text in TEXTS], ["q"] * 3, [None] * 3)
        assert all(0 <= score <= 1 for score in answer["scores"]) and answer["scores"][1] > answer["scores"][0]


def test_verl_called_wrongly_is_an_error(judge: dicast.Judge) -> None:
    settings = Settings(judge, CONCISE)
    one = {"data_source": "x", "solution_str": "a", "ground_truth": "", "extra_info": {"prompt": "q"}}
    many = {f"{name}s": [value] for name, value in one.items()}
    with pytest.raises(dicast.InvalidRequestError, match=r"It got data_sources, .* for a batch compute_scores"):
        verl.single(settings)(**many)
    with pytest.raises(dicast.InvalidRequestError, match="compute_score is called with"):
        asyncio.run(verl.asynchronous(settings)(**many))
    with pytest.raises(dicast.InvalidRequestError, match="compute_scores is called with"):
        verl.batch(settings)(**one)


# Texts


def test_verl_prompts_in_raw_prompt(judge: dicast.Judge) -> None:
    seen: List[str] = []

    def principle(fields: Any) -> str:
        seen.append(text_of_prompt(fields["raw_prompt"]))
        return CONCISE

    messages = [{"role": "user", "content": "Q?"}]
    compute_score = verl.single(Settings(judge, principle))
    compute_score(solution_str="a", extra_info={"raw_prompt": messages})
    compute_score(solution_str="a", extra_info={}, raw_prompt=tuple(messages))
    assert seen == ["Q?", "Q?"]


@pytest.mark.parametrize(
    ("template", "one", "two"),
    [
        ("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n"),
        (
            "llama",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("gemma", "<bos><start_of_turn>user\n{}<end_of_turn>\n", "<start_of_turn>model\n"),
        ("phi", "<|system|>\nS<|end|>\n<|user|>\n{}<|end|>\n", "<|assistant|>\n"),
        ("deepseek", "<｜begin▁of▁sentence｜><｜User｜>{}", "<｜Assistant｜>"),
        ("mistral", "<s>[INST] {} [/INST]", ""),
        ("gpt-oss", "<|start|>system<|message|>S<|end|><|start|>user<|message|>{}<|end|>", "<|start|>assistant"),
    ],
)
def test_prompts_without_the_markup_of_a_chat_template(template: str, one: str, two: str) -> None:
    question = "How do I\n\nlearn <b>Rust</b>?"
    assert said_in(one.format(question) + two) == question


def test_conversations_and_plain_prompts() -> None:
    turns = [
        "<|im_start|>user\nHi<|im_end|>",
        "<|im_start|>assistant\nHello<|im_end|>",
        "<|im_start|>user\nBye<|im_end|>",
    ]
    assert said_in("\n".join(turns)) == "user: Hi\n\nassistant: Hello\n\nuser: Bye"
    for plain in ("What does <|im_start|>user mean?", "", "<|im_start|>assistant\nx<|im_end|>", "User: hi"):
        assert said_in(plain) == plain
    assert (
        clean_response("Answer.<|im_end|>\n<|endoftext|>") == "Answer."
        and clean_response("a<|im_end|>b") == "a<|im_end|>b"
    )
    assert without_roles("Assistant: fine\n\n") == "fine" and without_roles("User: a\n\nAssistant: b\n\n").startswith(
        "User"
    )


def test_trl_judges_see_what_was_said(judge: dicast.Judge) -> None:
    seen: List[Any] = []

    class Seeing(Told):
        def judge_batch(self, requests: Any, **options: Any) -> List[Any]:
            seen.extend(requests)
            return super().judge_batch(requests, **options)

    pairs = trl.PairwiseJudge(Seeing(judge, {}), CONCISE)
    pairs.judge(["User: Q?\n\n"], [("Assistant: a\n\n", "Assistant: b\n\n")])
    assert (seen[0]["prompt"], seen[0]["responses"]) == ("Q?", {"1": "a", "2": "b"})


# slime and TRL's layouts


def slime_sample(text: str, **fields: Any) -> Any:
    known = {"prompt": "q", "response": text, "label": None, "group_index": 0, "metadata": {}}
    return SimpleNamespace(**{**known, **fields})


def test_slime_prompts_responses_and_lists(judge: dicast.Judge) -> None:
    seen: List[Any] = []

    class Seeing(Told):
        async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
            seen.extend(requests)
            return self.judge_batch(requests, **options)

    reward = slime.make_reward(Settings(Seeing(judge, {}), CONCISE, window=60.0))
    args = SimpleNamespace(n_samples_per_prompt=2)
    prompt = "<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n"

    async def rollout() -> Any:
        one = reward(args, slime_sample("a<|im_end|>", prompt=prompt))
        # A generate function that makes several samples of one.
        several = reward(args, [slime_sample("b<|im_end|>\n", prompt=prompt), slime_sample("c", prompt=prompt)])
        return await asyncio.gather(one, several)

    single, fan = asyncio.run(rollout())
    assert isinstance(single, float) and len(fan) == 2
    assert (seen[0]["prompt"], seen[0]["responses"]) == ("Q?", {"1": "a", "2": "b", "3": "c"})
    assert asyncio.run(reward(args, [])) == []


@pytest.fixture
def generating(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What slime knows of a roll-out: whether it has stopped generating."""

    class Single(type):
        _instances: Dict[Any, Any] = {}  # noqa: RUF012

    class GenerateState(metaclass=Single):
        aborted = False

    Single._instances[GenerateState] = GenerateState()
    rollout: Any = types.ModuleType("slime.rollout.sglang_rollout")
    rollout.GenerateState = GenerateState
    monkeypatch.setitem(sys.modules, "slime.rollout.sglang_rollout", rollout)
    return Single._instances[GenerateState]


def test_slime_does_not_wait_once_it_has_stopped(judge: dicast.Judge, generating: Any) -> None:
    generating.aborted = True
    reward = slime.make_reward(Settings(judge, CONCISE, window=60.0))
    start = time.monotonic()
    assert isinstance(asyncio.run(reward(SimpleNamespace(n_samples_per_prompt=8), slime_sample("a"))), float)
    assert time.monotonic() - start < 10


def test_slime_continues_groups_that_it_cut_off(judge: dicast.Judge, generating: Any) -> None:
    seen: List[Any] = []

    class Seeing(Told):
        async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
            seen.extend(list(request["responses"].values()) for request in requests)
            return self.judge_batch(requests, **options)

    reward = slime.make_reward(Settings(Seeing(judge, {}), CONCISE, window=60.0))
    args = SimpleNamespace(n_samples_per_prompt=3)

    async def rollouts() -> Any:
        generating.aborted = True
        first = await reward(args, slime_sample("a"))
        generating.aborted = False
        return first, await asyncio.gather(reward(args, slime_sample("b")), reward(args, slime_sample("c")))

    start = time.monotonic()
    first, others = asyncio.run(rollouts())
    assert isinstance(first, float) and len(others) == 2 and time.monotonic() - start < 10
    assert seen == [["a"], ["a", "b", "c"]]
    whole = judge.judge(CONCISE, "q", {"1": "a", "2": "b", "3": "c"})
    assert others == [whole.expected_scores["2"], whole.expected_scores["3"]]


def test_slime_reads_rewards_by_its_key(judge: dicast.Judge) -> None:
    settings = Settings(judge, CONCISE, window=60.0)
    args = SimpleNamespace(n_samples_per_prompt=1, reward_key="r", eval_reward_key="e")
    reward, group = slime.make_reward(settings), slime.make_group_rewards(settings)
    assert set(asyncio.run(reward(args, slime_sample("a")))) == {"r"}
    assert set(asyncio.run(reward(args, slime_sample("a", group_index=None)))) == {"e"}
    assert [set(one) for one in asyncio.run(group(args, [slime_sample("a"), slime_sample("b")]))] == [{"r"}, {"r"}]
    with pytest.raises(dicast.InvalidRequestError, match="--group-rm"):
        asyncio.run(group(args, [[slime_sample("a")], [slime_sample("b")]]))


def test_trl_batches_that_hold_their_prompts_twice(judge: dicast.Judge) -> None:
    sizes: List[int] = []

    class Counting(Told):
        def judge_batch(self, requests: Any, **options: Any) -> List[Any]:
            sizes.extend(len(request["responses"]) for request in requests)
            return super().judge_batch(requests, **options)

    function = trl.reward_func(Counting(judge, {}), CONCISE)
    function(["p1", "p2", "p3"] * 2, list("abcdef"))
    function(["p1", "p1", "p2", "p2"], list("abcd"))
    function(["p1", "p1"], list("ab"))
    assert sizes == [2, 2, 2, 2, 2, 2]


# A server that coalesces


def test_samples_go_to_a_route_of_the_server() -> None:
    def answer(route: str, body: Any) -> Any:
        if route != "/reward":
            return 404, {"detail": "Not Found"}, {}
        if body["response"] == "bad":
            return 422, {"error": {"kind": "context_overflow", "message": "too long", "retryable": False}}, {}
        return 200, {"reward": 0.25, "score": 2.0, "group": 8} if body["response"] == "b" else 0.75, {}

    with serving(answer) as served:
        settings = Settings(dicast.Client(served.url), None, route="/reward", group_size=8)
        given = {"extra_info": {"prompt": "q"}, "ground_truth": "truth"}
        assert verl.single(settings)(solution_str="a", **given) == {"score": 0.75, "judged": 1.0, "group": 0.0}
        assert asyncio.run(verl.asynchronous(settings)(solution_str="b", **given))["group"] == 8.0
        assert asyncio.run(slime.make_reward(settings)(SimpleNamespace(), slime_sample("c<|im_end|>"))) == 0.75
        with pytest.raises(dicast.ContextOverflowError):
            verl.single(settings)(solution_str="bad", **given)
        bodies = [body for _, body, _ in served.requests]
        assert bodies[0] == {"prompt": "q", "response": "a", "label": "truth"} and bodies[2]["response"] == "c"
        with pytest.raises(dicast.InvalidConfigError, match="remote_url"):
            openrlhf.make_reward_func(settings)
    with pytest.raises(dicast.InvalidConfigError, match="client"):
        Settings(lazy(), CONCISE, route="/reward")


def test_the_scale_is_that_of_the_server(judge: dicast.Judge) -> None:
    wide = {"data": [{"owned_by": "dicast", "default": True, "loaded": True, "scale": {"min": 1, "max": 9}}]}
    plain = answers_of(judge)
    for answer, best in (
        (plain, 5),
        (lambda route, body: (200, wide, {}) if route == "/v1/models" else plain(route, body), 9),
    ):
        with serving(answer) as served:
            client = dicast.Client(served.url)
            written = trl.reward_func(client, CONCISE)(["How do I learn Python?"] * 3, TEXTS)
            unit = trl.reward_func(client, CONCISE, normalize=True)(["How do I learn Python?"] * 3, TEXTS)
            assert unit == pytest.approx([((one or 0) - 1) / (best - 1) for one in written])


# Other processes


def test_one_judge_a_process_whatever_hooks_are_used() -> None:
    first, second = lazy(), lazy()
    assert first.opened is second.opened
    assert LazyJudge(MODEL, options={"max_reasoning_tokens": 17}).opened is not first.opened
    again = pickle.loads(pickle.dumps(first))
    assert again.opened is first.opened and again.scale == (1, 5)
    before = first.opened
    before.close()
    assert not first.opened.closed and first.opened is not before


def test_hooks_are_pickled_without_their_judge() -> None:
    settings = Settings(MODEL, CONCISE, group_size=1)
    hooks: List[Any] = [
        trl.reward_func(MODEL, CONCISE),
        trl.async_reward_func(str(MODEL), CONCISE),
        verl.single(settings),
        verl.asynchronous(settings),
        verl.batch(settings),
        openrlhf.make_reward_func(settings),
        slime.make_reward(settings),
        slime.make_group_rewards(settings),
    ]
    for hook in hooks:
        again = pickle.loads(pickle.dumps(hook))
        assert again.__name__ == hook.__name__ and len(pickle.dumps(hook)) < 4000
    with dicast.from_pretrained(MODEL) as opened, pytest.raises(TypeError, match="path"):
        pickle.dumps(trl.reward_func(opened, CONCISE))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_hook_works_in_a_process_pool(method: str) -> None:
    hook = trl.reward_func(LazyJudge(MODEL, **QUICK), CONCISE)
    here = hook(["q"] * 2, [LONG, SHORT])
    with multiprocessing.get_context(method).Pool(1) as pool:
        process, there = pool.apply_async(called_here, (hook, ["q"] * 2, [LONG, SHORT])).get(120)
    assert process != os.getpid() and there == pytest.approx(here, abs=1e-3)
