"""Every hook, called exactly as its trainer calls it."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
import json
import math
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Dict, List, Optional

import pytest

import dicast
from dicast.trainers import Rewards, Settings, openrlhf, slime, trl, verl
from dicast.trainers._settings import Default
from server import judged, serving
from support import CONCISE, MODEL, ROOT

SHORT = "Build small projects."
MIDDLE = "Work through the official tutorial first, then build one small project a week and ask when you are stuck."
LONG = "First of all one should consider that learning is a long journey with a great many stages of all kinds. " * 4
TEXTS = [LONG, SHORT, MIDDLE]


class Counted:
    """A real judge, and the requests that it got."""

    def __init__(self, judge: dicast.Judge) -> None:
        self.judge = judge
        self.requests: List[Any] = []
        self.options: List[Any] = []
        self.scale = judge.scale
        self.max_responses = judge.max_responses

    def judge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        self.requests += requests
        self.options.append(options)
        return self.judge.judge_batch(requests, return_exceptions=return_exceptions, **options)

    async def ajudge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        self.requests += requests
        self.options.append(options)
        return await self.judge.ajudge_batch(requests, return_exceptions=return_exceptions, **options)

    def sizes(self) -> List[int]:
        return [len(request["responses"]) for request in self.requests]


@pytest.fixture
def counted(judge: dicast.Judge) -> Counted:
    return Counted(judge)


class Failing:
    """Takes the place of a judge: its first `failures` judgments fail, the later ones come from a real judge."""

    def __init__(self, judge: dicast.Judge, error: dicast.DicastError, failures: int) -> None:
        self.judge, self.error, self.failures = judge, error, failures
        self.calls = 0
        self.seeds: List[Any] = []

    def judge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        self.calls += 1
        self.seeds.append(options.get("seed"))
        results = self.judge.judge_batch(requests, return_exceptions=return_exceptions, **options)
        for index in range(len(results)):
            if self.failures:
                self.failures -= 1
                results[index] = self.error
        return results

    async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
        return self.judge_batch(requests, **options)


def ordered(rewards: Any) -> bool:
    """Whether the short one of `TEXTS` has a better reward than the long one: even the small demonstration judge is
    sure of that."""
    return bool(rewards[1] > rewards[0])


def ranking(judge: dicast.Judge, prompt: str, texts: Any) -> List[int]:
    """The judge's own ranking, as indices."""
    result = judge.judge(CONCISE, prompt, {str(number): text for number, text in enumerate(texts, 1)})
    return [int(name) - 1 for name in result.ranking]


# TRL


class GrpoTrainer:
    """Calls reward functions as TRL 1.x does: by keyword, with the data set's columns repeated, None as NaN."""

    def __init__(self, reward_funcs: List[Any]) -> None:
        self.reward_funcs = reward_funcs
        self.names = [function.__name__ for function in reward_funcs]
        self.metrics: Dict[str, List[float]] = {}
        self.extra: Dict[str, List[Any]] = {}

    def rewards(self, prompts: List[Any], completions: List[Any], **columns: List[Any]) -> List[List[float]]:
        keywords: Dict[str, Any] = dict(columns)
        keywords["trainer_state"] = SimpleNamespace(global_step=3)
        keywords["log_extra"] = lambda column, values: self.extra.setdefault(column, []).extend(values)
        keywords["log_metric"] = lambda name, value: self.metrics.setdefault(name, []).append(value)
        ids = [[1, 2, 3]] * len(prompts)
        results = []
        for function in self.reward_funcs:
            output = function(prompts=prompts, completions=completions, completion_ids=ids, **keywords)
            if inspect.iscoroutinefunction(function):
                output = asyncio.run(output)
            assert len(output) == len(prompts)
            results.append([float("nan") if reward is None else reward for reward in output])
        return results


def test_trl_groups_are_judged_together(counted: Counted) -> None:
    trainer = GrpoTrainer([trl.reward_func(counted, CONCISE), trl.async_reward_func(counted, CONCISE, name="judged")])
    assert trainer.names == ["dicast", "judged"]
    prompts = ["How do I learn Python?"] * 3 + ["How do I learn Rust?"] * 3
    sync, asynchronous = trainer.rewards(prompts, TEXTS * 2)
    assert counted.sizes() == [3, 3, 3, 3]
    for rewards in (sync, asynchronous):
        assert ordered(rewards[:3]) and ordered(rewards[3:])
        assert all(1 <= reward <= 5 for reward in rewards)
    assert trainer.metrics == {"dicast/failed": [0.0], "judged/failed": [0.0]}
    assert len(trainer.extra["dicast/reasoning"]) == 6 and all(trainer.extra["dicast/reasoning"])


def test_trl_conversations(counted: Counted) -> None:
    prompt = [{"role": "user", "content": "How do I learn Python?"}]
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    (rewards,) = GrpoTrainer([trl.reward_func(counted, CONCISE)]).rewards([prompt] * 3, completions)
    assert ordered(rewards)
    request = counted.requests[0]
    assert request["prompt"] == "How do I learn Python?" and list(request["responses"].values()) == TEXTS
    turns = [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi "}, {"type": "image"}, {"type": "text", "text": "you"}],
        },
    ]
    tools = [
        [{"role": "assistant", "content": "a"}, {"role": "tool", "content": "7"}, {"role": "assistant", "content": "b"}]
    ]
    GrpoTrainer([trl.reward_func(counted, CONCISE)]).rewards([turns], tools)
    assert counted.requests[1]["prompt"] == "system: Be kind.\n\nuser: Hi you"
    assert counted.requests[1]["responses"] == {"1": "a\n\nb"}


def test_trl_principles_come_from_the_data_set(counted: Counted) -> None:
    trainer = GrpoTrainer([trl.reward_func(counted, lambda sample: f"Prefer {sample['style']} responses.")])
    trainer.rewards(["q"] * 4, ["a", "b", "c", "d"], style=["short", "short", "long", "long"])
    assert [request["principle"] for request in counted.requests] == [
        "Prefer short responses.",
        "Prefer long responses.",
    ]
    trainer.rewards(["q"] * 2, ["a", "b"], style=["x", "x"], principle=["Be kind.", "Be kind."])
    assert counted.requests[-1]["principle"] == "Be kind."
    with pytest.raises(dicast.InvalidRequestError, match="no principle"):
        GrpoTrainer([trl.reward_func(counted)]).rewards(["q"], ["a"])


def test_trl_groups_of_a_repeated_prompt(counted: Counted) -> None:
    GrpoTrainer([trl.reward_func(counted, CONCISE)]).rewards(["q"] * 4, ["a", "b", "c", "d"])
    GrpoTrainer([trl.reward_func(counted, CONCISE, num_generations=2)]).rewards(["q"] * 4, ["a", "b", "c", "d"])
    GrpoTrainer([trl.reward_func(counted, CONCISE)]).rewards(["q", "r", "q"], ["a", "b", "c"])
    assert counted.sizes() == [4, 2, 2, 1, 1, 1]


def test_trl_a_failed_group_is_none_and_never_a_number(counted: Counted) -> None:
    function = trl.reward_func(counted, CONCISE)
    prompts = ["How do I learn Python?"] * 3 + ["x " * 3000] * 2
    rewards = function(prompts=prompts, completions=[*TEXTS, "a", "b"], completion_ids=[[1]] * 5)
    assert rewards[3:] == [None, None] and ordered(rewards[:3])
    trainer = GrpoTrainer([function])
    (row,) = trainer.rewards(prompts, [*TEXTS, "a", "b"])
    assert [math.isnan(reward) for reward in row] == [False] * 3 + [True] * 2
    assert trainer.metrics == {"dicast/failed": [0.4]}
    assert "context" in trainer.extra["dicast/reasoning"][4]


def test_trl_reward_functions_can_be_partial(counted: Counted) -> None:
    function = functools.partial(trl.async_reward_func(counted, CONCISE), extra=1)
    assert inspect.iscoroutinefunction(function)
    rewards = asyncio.run(function(prompts=["q"], completions=["a"], completion_ids=[[1]]))
    assert len(rewards) == 1


def test_trl_rank_judge(counted: Counted) -> None:
    ranks = trl.RankJudge(counted, CONCISE, on_error="minus_one")
    prompts, completions = ["How do I learn Python?", "x " * 3000], [TEXTS, ["a", "b"]]
    with pytest.raises(dicast.ContextOverflowError):
        trl.RankJudge(counted, CONCISE).judge(prompts, completions)
    counted.options.clear()
    assert ranks.judge(prompts, completions) == [ranking(counted.judge, prompts[0], TEXTS), [-1, -1]]
    in_order = ranks.judge(prompts=prompts, completions=completions, shuffle_order=False)
    assert sorted(in_order[0]) == [0, 1, 2] and in_order[1] == [-1, -1]
    assert [options.get("mask") for options in counted.options] == [None, "given"]
    many = [[f"{'x ' * number}" for number in range(33)]]
    with pytest.raises(dicast.TooLargeError, match="33 responses in one group, but at most 32"):
        ranks.judge(["q"], many)  # Places in parts of a group would say nothing.


def test_trl_pairwise_judge(counted: Counted) -> None:
    pairs = trl.PairwiseJudge(counted, CONCISE, on_error="minus_one")
    prompts = ["How do I learn Python?", "How do I learn Rust?", "x " * 3000]
    completions = [(LONG, SHORT), (SHORT, LONG), ("a", "b")]
    better = [ranking(counted.judge, prompt, texts)[0] for prompt, texts in zip(prompts[:2], completions)]
    assert pairs.judge(prompts, completions) == [*better, -1]
    in_order = pairs.judge(prompts=prompts, completions=completions, shuffle_order=False)
    assert set(in_order[:2]) <= {0, 1} and in_order[2] == -1
    scores = pairs.judge(prompts, completions, True, return_scores=True)
    assert all(0 <= score <= 1 for score in scores[:2]) and math.isnan(scores[2])
    # A trainer reads -1 as "the second is better", so an error is the default.
    for return_scores in (False, True):
        with pytest.raises(dicast.ContextOverflowError):
            trl.PairwiseJudge(counted, CONCISE).judge(prompts, completions, return_scores=return_scores)
    with pytest.raises(dicast.InvalidRequestError, match="on_error"):
        trl.PairwiseJudge(counted, CONCISE, on_error="none")


# Rewards


def test_rewards_are_of_the_kind_asked_for(judge: dicast.Judge) -> None:
    def rewards(**settings: Any) -> List[Optional[float]]:
        return trl.reward_func(judge, CONCISE, **settings)(["How do I learn Python?"] * 3, TEXTS)

    assert all(reward in (1, 2, 3, 4, 5) for reward in rewards(reward="score"))
    order = ranking(judge, "How do I learn Python?", TEXTS)
    assert rewards(reward="rank") == [1.0 - order.index(place) / 2 for place in range(3)]
    # Equal except for the last digits, which depend on the engine's batches.
    assert rewards(reward="expected") == pytest.approx(rewards(), abs=1e-4)
    assert any(reward != round(reward or 0) for reward in rewards(reward="expected"))
    assert all(0 <= (reward or 0) <= 1 for reward in rewards(normalize=True)) and ordered(rewards(normalize=True))
    assert trl.reward_func(judge, CONCISE, reward="rank")(["q"], ["a"]) == [0.5]
    with pytest.raises(dicast.InvalidRequestError):
        rewards(reward="best")
    with pytest.raises(dicast.InvalidRequestError):
        rewards(attempts=0)


def test_rewards_that_the_server_cannot_give_are_missing(judge: dicast.Judge) -> None:
    with serving(judged(judge)) as served:
        client = dicast.Client(served.url)
        with pytest.raises(dicast.UnsupportedError, match="expected"):
            trl.reward_func(client, CONCISE, reward="expected")(["q"] * 2, ["a", "b"])
        written = trl.reward_func(client, CONCISE)(["How do I learn Python?"] * 3, TEXTS)
        assert ordered(written) and all(reward in (1, 2, 3, 4, 5) for reward in written)


def test_large_groups_are_judged_in_parts(counted: Counted) -> None:
    rewards = trl.reward_func(counted, CONCISE, max_group=4)(["q"] * 10, [f"{'x ' * number}" for number in range(10)])
    assert counted.sizes() == [3, 3, 4] and all(reward is not None for reward in rewards)


def test_what_may_work_another_time_is_tried_again(judge: dicast.Judge) -> None:
    flaky = Failing(judge, dicast.InvalidVerdictError("no verdict"), 1)
    rewards = trl.reward_func(flaky, CONCISE, options={"seed": 5})(["How do I learn Python?"] * 3, TEXTS)
    assert ordered(rewards) and flaky.seeds == [5, 6]
    broken = Failing(judge, dicast.InvalidVerdictError("no verdict"), 9)
    assert trl.reward_func(broken, CONCISE, attempts=3)(["q"], ["a"]) == [None] and broken.calls == 3
    hopeless = Failing(judge, dicast.TooLargeError("too large"), 9)
    assert trl.reward_func(hopeless, CONCISE)(["q"], ["a"]) == [None] and hopeless.calls == 1


# veRL


def verl_sample(text: str, prompt: str = "How do I learn Python?") -> Dict[str, Any]:
    info = {"index": 1, "prompt": prompt, "num_turns": None, "rollout_reward_scores": {}}
    return {"data_source": "made/up", "solution_str": text, "ground_truth": "none", "extra_info": info}


def test_verl_single(counted: Counted) -> None:
    compute_score = verl.single(Settings(counted, CONCISE))
    result = compute_score(**verl_sample(SHORT), reward_router_address="10.0.0.1:80", reward_model_tokenizer=None)
    assert 1 <= result["score"] <= 5 and result["judged"] == 1.0 and counted.sizes() == [1]
    assert not inspect.iscoroutinefunction(compute_score)


def test_verl_single_in_threads_is_coalesced(counted: Counted) -> None:
    compute_score = verl.single(Settings(counted, CONCISE, group_size=3, window=60.0))
    results: Dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda place=place: results.update({place: compute_score(**verl_sample(TEXTS[place]))}))
        for place in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted.sizes() == [3] and ordered([results[place]["score"] for place in range(3)])


def test_verl_single_waits_for_the_window_and_no_longer(counted: Counted) -> None:
    compute_score = verl.single(Settings(counted, CONCISE, group_size=3, window=0.01))
    assert compute_score(**verl_sample(SHORT))["judged"] == 1.0 and counted.sizes() == [1]
    asynchronous = verl.asynchronous(Settings(counted, CONCISE, group_size=3, window=0.01))
    assert asyncio.run(asynchronous(**verl_sample(SHORT)))["judged"] == 1.0 and counted.sizes() == [1, 1]


def test_verl_asynchronous(counted: Counted) -> None:
    compute_score = verl.asynchronous(Settings(counted, CONCISE, group_size=3, window=60.0))
    assert inspect.iscoroutinefunction(compute_score) and inspect.iscoroutinefunction(functools.partial(compute_score))

    async def reward_loop() -> List[Any]:
        other = [compute_score(**verl_sample(text, "How do I learn Rust?")) for text in TEXTS]
        return list(await asyncio.gather(*(compute_score(**verl_sample(text)) for text in TEXTS), *other))

    results = asyncio.run(reward_loop())
    assert counted.sizes() == [3, 3]
    assert ordered([result["score"] for result in results[:3]]) and ordered([result["score"] for result in results[3:]])


def test_verl_batch(counted: Counted) -> None:
    compute_score = verl.batch(Settings(counted, CONCISE))
    samples = [
        verl_sample(text, prompt) for text in TEXTS for prompt in ("How do I learn Python?", "How do I learn Rust?")
    ]
    results = compute_score(
        data_sources=[sample["data_source"] for sample in samples],
        solution_strs=[sample["solution_str"] for sample in samples],
        ground_truths=[sample["ground_truth"] for sample in samples],
        extra_infos=[sample["extra_info"] for sample in samples],
        format_weight=0.1,
    )
    assert counted.sizes() == [3, 3], "groups are found wherever their samples stand"
    scores = [result["score"] for result in results]
    assert ordered(scores[::2]) and ordered(scores[1::2])


def test_verl_prompts_and_principles(counted: Counted) -> None:
    settings = Settings(counted, CONCISE)
    sample = verl_sample(SHORT)
    del sample["extra_info"]["prompt"]
    with pytest.raises(dicast.InvalidRequestError, match="no prompt"):
        verl.single(settings)(**sample)
    sample["extra_info"].update(question="Q?", principle="Be kind.")
    verl.single(settings)(**sample)
    assert (counted.requests[-1]["prompt"], counted.requests[-1]["principle"]) == ("Q?", "Be kind.")
    verl.single(settings, lambda fields: [{"role": "user", "content": fields["data_source"]}])(**sample)
    assert counted.requests[-1]["prompt"] == "made/up"


def test_a_trainer_without_a_word_for_failure_is_told_by_an_error(counted: Counted) -> None:
    sample = verl_sample(SHORT, "x " * 3000)
    lists = {f"{name}s": [value] for name, value in sample.items()}
    for size in (1, 2):
        settings = Settings(counted, CONCISE, group_size=size, window=0.01)
        with pytest.raises(dicast.ContextOverflowError):
            verl.single(settings)(**sample)
        with pytest.raises(dicast.ContextOverflowError):
            asyncio.run(verl.asynchronous(settings)(**sample))
        with pytest.raises(dicast.ContextOverflowError):
            verl.batch(settings)(**lists)
    chosen = Settings(counted, CONCISE, on_error=-1.0)
    assert verl.single(chosen)(**sample) == {"score": -1.0, "judged": 0.0, "group": 0.0}
    assert verl.batch(chosen)(**lists) == [{"score": -1.0, "judged": 0.0, "group": 0.0}]


# OpenRLHF


def query(prompt: str, text: str) -> str:
    return f"{prompt}{text}<|im_end|>\n<|endoftext|>"


CHAT = (
    "<|im_start|>system\nBe kind.<|im_end|>\n"
    "<|im_start|>user\nHow do I learn Python?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def test_openrlhf_batch(counted: Counted) -> None:
    reward_func = openrlhf.make_reward_func(Settings(counted, CONCISE))
    prompts = [CHAT] * 3 + ["Plain prompt: "]
    result = reward_func([query(prompt, text) for prompt, text in zip(prompts, [*TEXTS, "Hi."])], prompts, [None] * 4)
    assert counted.sizes() == [3, 1] and ordered(result["rewards"])
    # OpenRLHF filters groups by scores between 0 and 1.
    assert result["scores"] == pytest.approx([(reward - 1) / 4 for reward in result["rewards"]])
    assert result["extra_logs"] == {"dicast_judged": [1.0] * 4, "dicast_group": [3.0, 3.0, 3.0, 1.0]}
    assert counted.requests[0]["prompt"] == "How do I learn Python?"
    assert list(counted.requests[0]["responses"].values()) == TEXTS, "what ends a sequence is no part of the response"
    assert counted.requests[1]["prompt"] == "Plain prompt: "
    empty = {"rewards": [], "scores": [], "extra_logs": {"dicast_judged": [], "dicast_group": []}}
    assert reward_func([], [], []) == empty
    json.dumps(result)


def test_openrlhf_as_it_calls_files_now(counted: Counted) -> None:
    """OpenRLHF 0.11 passes one sample in each call, by position, each in a thread of asyncio's pool."""
    reward_func = openrlhf.make_reward_func(Settings(counted, CONCISE, group_size=3, window=60.0))

    async def rollouts() -> List[Any]:
        calls = (asyncio.to_thread(reward_func, [query(CHAT, text)], [CHAT], ["label"]) for text in TEXTS)
        return list(await asyncio.gather(*calls))

    results = asyncio.run(rollouts())
    assert counted.sizes() == [3] and ordered([result["rewards"][0] for result in results])


def test_openrlhf_prompts_and_labels(counted: Counted) -> None:
    settings = Settings(counted, lambda sample: f"Prefer {sample['label']} responses.")
    reward_func = openrlhf.make_reward_func(settings, prompt_of=lambda prompt, label: f"{label}: {len(prompt)}")
    reward_func(queries=["ab"], prompts=["a"], labels=["short"])
    request = counted.requests[0]
    assert (request["principle"], request["prompt"]) == ("Prefer short responses.", "short: 1")
    assert request["responses"] == {"1": "b"}
    with pytest.raises(dicast.InvalidRequestError):
        reward_func(["a", "b"], ["a"], ["c"])


# slime


@dataclass
class Sample:
    """The fields of slime's samples that a reward function reads."""

    prompt: Any = "How do I learn Python?"
    response: str = ""
    label: Optional[str] = None
    group_index: Optional[int] = 0
    metadata: Dict[str, Any] = field(default_factory=dict)


def test_slime_group(counted: Counted) -> None:
    group_rewards = slime.make_group_rewards(Settings(counted, CONCISE))
    args = SimpleNamespace(custom_rm_path="x", group_rm=True, n_samples_per_prompt=3)
    rewards = asyncio.run(group_rewards(args, [Sample(response=text) for text in TEXTS]))
    assert counted.sizes() == [3] and ordered(rewards)
    conversation = [{"role": "user", "content": "How do I learn Python?"}]
    samples = [Sample(prompt=conversation, response="a", metadata={"principle": "Be kind."})]
    asyncio.run(group_rewards(args, samples))
    assert (
        counted.requests[-1]["principle"] == "Be kind." and counted.requests[-1]["prompt"] == "How do I learn Python?"
    )


def test_slime_single_samples_wait_for_their_group(counted: Counted) -> None:
    reward = slime.make_reward(Settings(counted, CONCISE, window=60.0))
    args = SimpleNamespace(custom_rm_path="x", n_samples_per_prompt=3)

    async def rollout() -> List[float]:
        first = [reward(args, Sample(response=text, group_index=0)) for text in TEXTS]
        second = [reward(args, Sample(response=text, group_index=1)) for text in TEXTS]
        alone = [reward(args, Sample(response=SHORT, group_index=None))]
        return list(await asyncio.gather(*first, *second, *alone))

    rewards = asyncio.run(rollout())
    assert sorted(counted.sizes()) == [1, 3, 3] and ordered(rewards[:3]) and ordered(rewards[3:6])


def test_slime_others_do_not_fall_with_the_first(counted: Counted) -> None:
    reward = slime.make_reward(Settings(counted, CONCISE, window=60.0))
    args = SimpleNamespace(n_samples_per_prompt=3)

    async def rollout() -> List[Any]:
        tasks = [asyncio.ensure_future(reward(args, Sample(response=text))) for text in TEXTS]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    results = asyncio.run(rollout())
    assert isinstance(results[0], asyncio.CancelledError) and results[1] > results[2]


# Hooks that trainers find by a path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICAST_MODEL", str(MODEL))
    monkeypatch.setenv("DICAST_PRINCIPLE", CONCISE)
    monkeypatch.setenv("DICAST_REWARD", '{"normalize": true}')
    monkeypatch.setenv("DICAST_CONFIG", '{"options": {"max_reasoning_tokens": 96}}')


def loaded(path: str) -> Any:
    """A file, loaded as trainers load it: by its path, as a module of any name."""
    spec = importlib.util.spec_from_file_location("reward_func", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_openrlhf_loads_the_file(environment: None) -> None:
    module = loaded(openrlhf.__file__)
    result = module.reward_func([query(CHAT, text) for text in TEXTS], [CHAT] * 3, [None] * 3)
    assert ordered(result["rewards"]) and all(0 <= reward <= 1 for reward in result["rewards"])


def test_verl_loads_the_file(environment: None) -> None:
    module = loaded(verl.__file__)
    assert 0 <= module.compute_score(**verl_sample(SHORT))["score"] <= 1
    assert inspect.iscoroutinefunction(module.compute_score_async)
    assert 0 <= asyncio.run(module.compute_score_async(**verl_sample(SHORT)))["score"] <= 1
    lists = {f"{name}s": [value] * 2 for name, value in verl_sample(SHORT).items()}
    assert len(module.compute_scores(**lists)) == 2


def test_slime_imports_the_function(environment: None) -> None:
    args = SimpleNamespace(n_samples_per_prompt=1)
    assert len(asyncio.run(slime.group_rewards(args, [Sample(response=text) for text in TEXTS]))) == 3
    assert 0 <= asyncio.run(slime.reward(args, Sample(response=SHORT))) <= 1


def test_settings_of_the_environment(environment: None, judge: dicast.Judge, tmp_path: Any) -> None:
    path = tmp_path / "principle.txt"
    path.write_text("Be kind.", encoding="utf-8")
    with serving(judged(judge)) as served:
        settings = Settings.from_env(
            {
                "DICAST_MODEL": served.url,
                "DICAST_API_KEY": "key",
                "DICAST_PRINCIPLE_FILE": str(path),
                "DICAST_GROUP_SIZE": "8",
                "DICAST_GROUP_WINDOW": "2.5",
                "DICAST_ON_ERROR": "0",
            }
        )
        assert isinstance(settings.judge, dicast.Client) and settings.judge.api_key == "key"
    assert (settings.principle, settings.group_size, settings.window, settings.on_error) == ("Be kind.", 8, 2.5, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"DICAST_MODEL": ""},
        {"DICAST_GROUP_SIZE": "many"},
        {"DICAST_GROUP_SIZE": "0"},
        {"DICAST_GROUP_WINDOW": "-1"},
        {"DICAST_REWARD": "rank"},
        {"DICAST_REWARD": "[]"},
        {"DICAST_PRINCIPLE_FILE": "/nowhere"},
    ],
)
def test_wrong_settings_are_said(change: Dict[str, str]) -> None:
    with pytest.raises(dicast.DicastError) as caught:
        Settings.from_env({"DICAST_MODEL": "http://localhost:1", **change})
    assert caught.value.kind in ("invalid_config", "io")


def test_a_default_is_made_once(environment: None) -> None:
    made: List[Settings] = []
    default = Default(lambda settings: made.append(settings) or settings)
    assert default() is default() and len(made) == 1


def test_rewards_take_a_judge_of_any_kind(judge: dicast.Judge) -> None:
    assert Rewards(judge).of([]) == []


def test_the_example_of_grpo(judge: dicast.Judge) -> None:
    example = loaded(str(ROOT / "examples/python/grpo_reward.py"))
    trainer = GrpoTrainer([example.make_reward(judge)])
    assert trainer.names == ["conciseness"]
    (rewards,) = trainer.rewards(["How do I learn Python?"] * 3, TEXTS)
    advantages = example.advantages(rewards)
    assert ordered(rewards) and ordered(advantages) and sum(advantages) == pytest.approx(0, abs=1e-9)
    assert example.advantages([0.5, None])[1] == 0.0
