"""verifiers 0.4 and prime-rl: a judge that a task plugs in, and the rewards of a whole group.

In a task's configuration, with settings from the environment (:class:`dicast.trainers.Settings`)::

    [[taskset.task.judges]]
    id = "dicast-judge"
    weight = 1.0

verifiers scores one rollout at a time. With ``DICAST_GROUP_SIZE`` a rollout waits for the others of its prompt, at most
``DICAST_GROUP_WINDOW`` seconds; otherwise each is judged alone. prime-rl has the whole group in one place, which is
better for a listwise judge: :func:`judged` turns its algorithm into one that judges a group before it compares
rewards::

    from prime_rl.orchestrator import algo
    from dicast.trainers.verifiers import judged

    algo.ALGORITHM_CLASSES["grpo"] = judged(algo.GRPOAlgorithm)

A judgment that failed is an error of the rollout, which verifiers leaves out of training. A field ``principle`` of the
task overrides that of the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from ._coalesce import LoopCoalescer
from ._conversations import needs
from ._groups import Judged, Sample, grouped, principle_of
from ._settings import Default, Settings
from ._texts import text_of_prompt

if TYPE_CHECKING:
    from verifiers.v1.judge import Judge
else:
    Judge = needs("verifiers.v1.judge", "verifiers", "dicast.trainers.verifiers").Judge

__all__ = ["DicastJudge", "judged", "score_group"]


class DicastJudge(Judge):  # type: ignore[misc]
    """A judge for ``TaskConfig.judges``: the reward of a rollout's last reply."""

    @property
    def reward_name(self) -> str:
        """The name of the reward: the configuration's, else ``dicast``."""
        return str(self.config.name or "dicast")

    async def score(self, task: Any, trace: Any) -> float:
        """Judges a rollout, together with those of its prompt that arrive within the window."""
        # verifiers makes a judge for each rollout, so the object that waits for the others must outlive it.
        plugged: _Plugged = _plugged()
        outcome = await plugged.judged(task, trace)
        _keep(trace, outcome)
        return plugged.settings.number(outcome)


class _Plugged:
    """What the judges of a process share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._coalescer = LoopCoalescer(settings.asamples, settings.window)

    async def judged(self, task: Any, trace: Any) -> Judged:
        sample = _described(self.settings, task, trace)
        if self.settings.served is not None:
            return await self.settings.served.areward(sample.prompt, sample.text)
        if self.settings.group_size == 1:
            self.settings.alone()
        key = (sample.principle, sample.prompt, getattr(task, "idx", None))
        return (await self._coalescer.rewards(key, [sample], self.settings.group_size))[0]


def _described(settings: Settings, task: Any, trace: Any) -> Sample:
    fields = task.model_dump() if hasattr(task, "model_dump") else dict(vars(task))
    prompt = getattr(task, "prompt_text", None) or text_of_prompt(fields.get("prompt") or "")
    return Sample(principle_of(settings.principle, fields), prompt, trace.last_reply)


def _keep(trace: Any, outcome: Judged) -> None:
    """Adds the facts of its judgment to a trace."""
    said: Dict[str, Any] = {"error": str(outcome.error)} if outcome.error is not None else {"reward": outcome.reward}
    if outcome.result is not None:
        said.update(reasoning=outcome.result.reasoning, score=outcome.result.scores.get(outcome.name))
    said["group"] = outcome.group
    trace.info.setdefault("dicast", []).append(said)


async def score_group(settings: Settings, traces: Sequence[Any], *, name: str = "dicast", weight: float = 1.0) -> None:
    """Judges the traces of a group and records the reward ``name`` on each, like a reward of a task.

    Traces with different prompts, or of different agents of an episode, are judged separately. A judgment that failed
    raises before anything is recorded, unless the settings have ``on_error``.
    """
    samples = [(*_described(settings, trace.task.data, trace), _agent(trace)) for trace in traces]
    outcomes = await settings.made.aof(grouped(samples, consecutive=False))
    rewards = settings.numbers(outcomes)
    for trace, outcome, reward in zip(traces, outcomes, rewards):
        trace.record_reward(name, reward, weight)
        _keep(trace, outcome)


def _agent(trace: Any) -> Optional[str]:
    name = getattr(trace.agent, "name", None)
    return None if name is None else str(name)


def judged(algorithm: Any, settings: Optional[Settings] = None, *, name: str = "dicast", weight: float = 1.0) -> Any:
    """A class of prime-rl's algorithms that judges each group before ``algorithm`` compares its rewards.

    Rollouts that failed, and those of agents that are not trained, are not judged. Without ``settings``, they are read
    from the environment.
    """

    class Judging(algorithm):  # type: ignore[misc]
        async def score_group(self, episodes: List[Any]) -> None:
            traces = [
                trace
                for episode in episodes
                for trace in episode.traces
                if not trace.has_error and getattr(trace.agent, "trainable", True)
            ]
            if traces:
                chosen = settings if settings is not None else _grouping()
                await score_group(chosen, traces, name=name, weight=weight)
            await super().score_group(episodes)

    Judging.__name__ = Judging.__qualname__ = f"Judged{algorithm.__name__}"
    Judging.__doc__ = algorithm.__doc__
    return Judging


_plugged = Default(_Plugged)
_grouping = Default(lambda settings: settings)
