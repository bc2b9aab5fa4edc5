"""Nothing is learned from a judgment that failed: every hook, with a judge that fails at a tenth of the prompts."""

from __future__ import annotations

import asyncio
import math
import threading
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import pytest
from test_hooks import Trajectory, TrajectoryGroup, said

import dicast
from dicast.trainers import Settings, areal, art, openrlhf, slime, swift, trl, tunix, verl

PROMPTS, SAMPLES = 30, 4
NUMBERS = [number for number in range(PROMPTS) for _ in range(SAMPLES)]


def prompt_of(number: int) -> str:
    return f"How do I learn the language number {number}?"


def text_of(number: int, place: int) -> str:
    return f"{number}: " + "words and " * place


PROMPT_LIST = [prompt_of(number) for number in NUMBERS]
TEXT_LIST = [text_of(number, place % SAMPLES) for place, number in enumerate(NUMBERS)]


def result_of(request: Any, score: float = 3.0) -> dicast.RewardResult:
    names = list(request["responses"])
    return dicast.RewardResult(
        reasoning="",
        scores={name: 3 for name in names},
        ranking=names,
        expected_scores={name: score for name in names},
        rewards={"kind": "group", "values": {name: score for name in names}},
    )


#: How a judgment may fail; the last ones look like a success.
FAILURES: Dict[str, Callable[[Any], Any]] = {
    "no verdict": lambda _: dicast.InvalidVerdictError("no verdict", retryable=False),
    "no verdict, however often": lambda _: dicast.InvalidVerdictError("no verdict"),
    "too long": lambda _: dicast.ContextOverflowError("too long"),
    "too large": lambda _: dicast.TooLargeError("too large"),
    "late": lambda _: dicast.JudgmentTimeoutError("late"),
    "cancelled": lambda _: dicast.JudgmentCancelledError("cancelled"),
    "overloaded": lambda _: dicast.OverloadedError("overloaded"),
    "an engine": lambda _: dicast.EngineError("an engine"),
    "a server": lambda _: dicast.NetworkError("a server"),
    "asleep": lambda _: dicast.AsleepError("asleep"),
    "an unknown kind": lambda _: dicast.DicastError("unknown", kind="something_new"),
    "not a number": lambda request: result_of(request, math.nan),
    "infinite": lambda request: result_of(request, math.inf),
}


class Tenth:
    """Fails at every tenth prompt."""

    scale, max_responses = (1, 5), 32

    def __init__(self, failure: str) -> None:
        self.failure = FAILURES[failure]

    def judge_batch(self, requests: Any, **_: Any) -> List[Any]:
        return [
            self.failure(one) if one["prompt"].endswith(("number 3?", "number 13?", "number 23?")) else result_of(one)
            for one in requests
        ]

    async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
        await asyncio.sleep(0)
        return self.judge_batch(requests, **options)


async def each(calls: Any) -> List[Any]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


def verl_samples() -> List[Dict[str, Any]]:
    return [
        {"data_source": "s", "solution_str": text, "ground_truth": "g", "extra_info": {"prompt": prompt}}
        for prompt, text in zip(PROMPT_LIST, TEXT_LIST)
    ]


def in_threads(call: Callable[[Any], Any], arguments: List[Any]) -> List[Any]:
    outcomes: List[Any] = [None] * len(arguments)

    def work(place: int) -> None:
        try:
            outcomes[place] = call(arguments[place])
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def slime_samples() -> List[Any]:
    return [
        SimpleNamespace(prompt=prompt, response=text, label=None, group_index=number, metadata={})
        for number, prompt, text in zip(NUMBERS, PROMPT_LIST, TEXT_LIST)
    ]


def grouped(call: Callable[[List[Any], List[Any]], Any]) -> List[Any]:
    """Outcomes of a hook that gets one group in each call."""
    outcomes: List[Any] = []
    for start in range(0, len(NUMBERS), SAMPLES):
        part = slice(start, start + SAMPLES)
        try:
            outcomes += call(PROMPT_LIST[part], TEXT_LIST[part])
        except dicast.DicastError as error:
            outcomes += [error] * SAMPLES
    return outcomes


def settings(judge: Any) -> Settings:
    return Settings(judge, "Be kind.", group_size=SAMPLES, window=30.0)


def of_slime(judge: Any) -> List[Any]:
    reward, arguments = slime.make_reward(settings(judge)), SimpleNamespace(n_samples_per_prompt=SAMPLES)
    return asyncio.run(each(reward(arguments, sample) for sample in slime_samples()))


def of_slime_groups(judge: Any) -> List[Any]:
    rewards, samples = slime.make_group_rewards(settings(judge)), slime_samples()
    groups = [samples[start : start + SAMPLES] for start in range(0, len(samples), SAMPLES)]
    outcomes = asyncio.run(each(rewards(SimpleNamespace(), group) for group in groups))
    return [one for outcome in outcomes for one in (outcome if isinstance(outcome, list) else [outcome] * SAMPLES)]


def of_swift(judge: Any) -> List[Any]:
    messages = [[{"role": "user", "content": prompt}, said(text)] for prompt, text in zip(PROMPT_LIST, TEXT_LIST)]
    reward = swift.reward_class(settings(judge))()
    return list(asyncio.run(reward(TEXT_LIST, messages=messages, prompt_id=[str(number) for number in NUMBERS])))


def of_art(judge: Any) -> List[Any]:
    scorer = art.group_scorer(settings(judge))

    def scored(prompts: List[Any], texts: List[Any]) -> List[Any]:
        ask = {"role": "user", "content": prompts[0]}
        group = asyncio.run(scorer(TrajectoryGroup([Trajectory([ask, said(text)]) for text in texts])))
        return [None] * SAMPLES if group is None else [one.reward for one in group.trajectories]

    return grouped(scored)


def of_areal(judge: Any) -> List[Any]:
    reward = areal.make_reward(settings(judge))
    return asyncio.run(each(reward(prompt, text) for prompt, text in zip(PROMPT_LIST, TEXT_LIST)))


def of_openrlhf(judge: Any) -> List[Any]:
    reward = openrlhf.make_reward_func(settings(judge))
    given = in_threads(
        lambda sample: reward([sample[0] + sample[1]], [sample[0]], [None]), list(zip(PROMPT_LIST, TEXT_LIST))
    )
    for one in given:
        assert isinstance(one, Exception) or all(0 <= score <= 1 for score in one["scores"])
    return [one if isinstance(one, Exception) else one["rewards"][0] for one in given]


def scores(outcomes: List[Any]) -> List[Any]:
    return [one["score"] if isinstance(one, dict) else one for one in outcomes]


def of_verl_batch(judge: Any) -> List[Any]:
    compute = verl.batch(settings(judge))
    return scores(
        grouped(
            lambda prompts, texts: compute(
                data_sources=["s"] * SAMPLES,
                solution_strs=texts,
                ground_truths=["g"] * SAMPLES,
                extra_infos=[{"prompt": prompt} for prompt in prompts],
            )
        )
    )


def of_rank_judge(judge: Any) -> List[Any]:
    return grouped(lambda prompts, texts: trl.RankJudge(judge, "Be kind.").judge(prompts[:1], [texts])[0])


def of_pairwise_judge(judge: Any) -> List[Any]:
    return grouped(
        lambda prompts, texts: trl.PairwiseJudge(judge, "Be kind.").judge(prompts[:1], [texts[:2]]) * SAMPLES
    )


def of_pairwise_scores(judge: Any) -> List[Any]:
    def preferences(prompts: List[Any], texts: List[Any]) -> List[Any]:
        return trl.PairwiseJudge(judge, "Be kind.").judge(prompts[:1], [texts[:2]], return_scores=True) * SAMPLES

    return grouped(preferences)


def of_online_dpo(judge: Any) -> List[Any]:
    reward = trl.reward_func(judge, "Be kind.")
    return grouped(lambda prompts, texts: reward(prompts, texts, trainer_state=None))


def of_verl(judge: Any) -> List[Any]:
    compute = verl.single(settings(judge))
    return scores(in_threads(lambda sample: compute(**sample), verl_samples()))


def of_verl_coroutines(judge: Any) -> List[Any]:
    compute = verl.asynchronous(settings(judge))
    return scores(asyncio.run(each(compute(**sample) for sample in verl_samples())))


def of_trl(judge: Any, **rewards: Any) -> List[Any]:
    return trl.reward_func(judge, "Be kind.", **rewards)(PROMPT_LIST, TEXT_LIST)


def of_trl_coroutine(judge: Any) -> List[Any]:
    return list(asyncio.run(trl.async_reward_func(judge, "Be kind.")(PROMPT_LIST, TEXT_LIST)))


def of_tunix(judge: Any) -> List[Any]:
    reward = tunix.reward_fn(settings(judge))
    return grouped(lambda prompts, texts: reward(prompts=prompts, completions=texts))


HOOKS: Dict[str, Callable[[Any], List[Any]]] = {
    "TRL": of_trl,
    "TRL, group rewards": lambda judge: of_trl(judge, reward="group"),
    "TRL, coroutine": of_trl_coroutine,
    "TRL, OnlineDPO": of_online_dpo,
    "TRL, RankJudge": of_rank_judge,
    "TRL, PairwiseJudge": of_pairwise_judge,
    "TRL, PairwiseJudge, scores": of_pairwise_scores,
    "veRL": of_verl,
    "veRL, coroutine": of_verl_coroutines,
    "veRL, batch": of_verl_batch,
    "OpenRLHF": of_openrlhf,
    "slime": of_slime,
    "slime, groups": of_slime_groups,
    "ms-swift": of_swift,
    "ART": of_art,
    "Tunix": of_tunix,
    "AReaL": of_areal,
}

#: Judges of TRL that only look at the order.
ORDER = ("TRL, RankJudge", "TRL, PairwiseJudge")


@pytest.mark.parametrize("failure", list(FAILURES))
@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_failed_judgment_is_never_a_number(hook: str, failure: str) -> None:
    outcomes = HOOKS[hook](Tenth(failure))
    assert len(outcomes) == len(NUMBERS)
    for number, outcome in zip(NUMBERS, outcomes):
        if number % 10 != 3:
            assert isinstance(outcome, (int, float)) and math.isfinite(outcome), (number, outcome)
        elif hook not in ORDER or failure not in ("not a number", "infinite"):
            assert outcome is None or isinstance(outcome, dicast.DicastError), (number, outcome)
