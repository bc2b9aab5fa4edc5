"""OpenPipe ART: a group of trajectories rescored by a judge, instead of RULER.

    groups = await art.gather_trajectory_groups(
        (art.TrajectoryGroup(rollout(model, scenario) for _ in range(8)) for scenario in scenarios),
        after_each=group_scorer(Settings("judge.gguf", "Prefer answers that solve the task in few steps.")),
    )

The common beginning of the trajectories is the prompt; the rest of each, tool calls included, is its response.
"""

from __future__ import annotations

import logging
from typing import Any, Awaitable, Callable, Optional

from ..errors import DicastError, InvalidRequestError
from ._conversations import parts_of_group
from ._groups import Group, principle_of
from ._settings import Settings

__all__ = ["group_scorer", "score_group"]

_LOGGER = logging.getLogger("dicast")


async def score_group(
    group: Any, settings: Settings, *, rubric: Optional[str] = None, swallow_exceptions: bool = False
) -> Any:
    """A new group with the judge's rewards, as ``ruler_score_group`` gives one.

    ``rubric`` overrides the principle of the settings, and a ``principle`` in the group's ``metadata`` overrides both.
    The earlier reward of a trajectory is kept in its ``metrics["independent_reward"]``; the judge's reward is there as
    ``dicast_score``, and its reasoning is in ``logs``. The error of a failed judgment is raised; with
    ``swallow_exceptions`` it is logged and the result is None, which ART leaves out.
    """
    try:
        return await _scored(group, settings, rubric)
    except DicastError as error:
        if not swallow_exceptions:
            raise
        _LOGGER.error("a group of %d trajectories is left out: %s", len(group.trajectories), error)
        return None


def group_scorer(
    settings: Settings, *, rubric: Optional[str] = None, swallow_exceptions: bool = True
) -> Callable[[Any], Awaitable[Any]]:
    """:func:`score_group` for ``after_each=``, which leaves out groups that could not be judged."""

    async def after_each(group: Any) -> Any:
        return await score_group(group, settings, rubric=rubric, swallow_exceptions=swallow_exceptions)

    return after_each


async def _scored(group: Any, settings: Settings, rubric: Optional[str]) -> Any:
    if any(trajectory.additional_histories for trajectory in group.trajectories):
        raise InvalidRequestError(
            "trajectories with additional histories cannot be judged: they are several conversations"
        )
    if not group.trajectories:
        return group
    prompt, texts = parts_of_group([trajectory.messages() for trajectory in group.trajectories])
    fields = {**dict(group.metadata), "prompt": prompt}
    whole = Group(principle_of(rubric or settings.principle, fields), prompt)
    for place, text in enumerate(texts):
        whole.add(text, place)
    judged = await settings.made.aof([whole])
    rewards = settings.numbers(judged)
    trajectories = []
    for trajectory, reward, one in zip(group.trajectories, rewards, judged):
        metrics = {**trajectory.metrics, "independent_reward": trajectory.reward, "dicast_score": reward}
        said = f"dicast: {one.result.reasoning}" if one.result is not None else f"dicast failed: {one.error}"
        update = {"reward": reward, "metrics": metrics, "logs": [*trajectory.logs, said]}
        trajectories.append(trajectory.model_copy(update=update))
    return group.model_copy(update={"trajectories": trajectories})
