"""Tinker cookbook: rewards of a whole group of trajectories.

:class:`JudgedGroupBuilder` wraps an ``EnvGroupBuilder`` of yours: its environments roll out as they are, and the judge
compares their trajectories at the end::

    builder = JudgedGroupBuilder(my_builder, Settings("judge.gguf", "Prefer short answers that are right."))

It can be pickled if the settings can: name the model by its path, and it is opened where the group is judged. The
judge's rewards are added to those of the environments. What the model said is read by the environment's
``renderer`` (or ``policy_renderer``); the prompt is ``convo_prefix`` and ``get_question()``, as in the cookbook's
``ProblemEnv`` and ``PreferenceEnv``. For other environments give ``prompt_of(env)`` and
``response_of(trajectory, env)``. A judgment that failed raises, unless the settings have ``on_error``; the cookbook's
roll-out strategy then decides what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..errors import InvalidRequestError
from ._conversations import needs, transcript
from ._groups import grouped, principle_of
from ._settings import Settings
from ._texts import text_of_prompt

if TYPE_CHECKING:
    from tinker_cookbook.rl.types import EnvGroupBuilder
else:
    EnvGroupBuilder = needs("tinker_cookbook.rl.types", "tinker-cookbook", "dicast.trainers.tinker").EnvGroupBuilder

__all__ = ["JudgedGroupBuilder", "compute_group_rewards"]

#: Makes the prompt (a text or messages) from an environment.
PromptOf = Callable[[Any], Any]
#: Makes the response from a trajectory and its environment.
ResponseOf = Callable[[Any, Any], str]


async def compute_group_rewards(
    settings: Settings,
    trajectory_group: Sequence[Any],
    env_group: Sequence[Any],
    *,
    prompt_of: Optional[PromptOf] = None,
    response_of: Optional[ResponseOf] = None,
) -> List[Tuple[float, Dict[str, Any]]]:
    """What ``EnvGroupBuilder.compute_group_rewards`` returns: a reward and metrics for each trajectory."""
    if len(trajectory_group) != len(env_group):
        raise InvalidRequestError("a group has as many trajectories as environments")
    samples = []
    for trajectory, env in zip(trajectory_group, env_group):
        prompt = text_of_prompt((prompt_of or _prompt)(env))
        fields = {"prompt": prompt, "principle": getattr(env, "principle", None), "env": env}
        text = (response_of or _response)(trajectory, env)
        samples.append((principle_of(settings.principle, fields), prompt, text, None))
    judged = await settings.made.aof(grouped(samples, consecutive=False))
    rewards = settings.numbers(judged)
    metrics = [
        {"dicast/reward": reward, "dicast/failed": float(one.reward is None)} for reward, one in zip(rewards, judged)
    ]
    return list(zip(rewards, metrics))


class JudgedGroupBuilder(EnvGroupBuilder):  # type: ignore[misc]
    """An ``EnvGroupBuilder`` whose group is judged; the rewards of ``builder`` itself are added."""

    def __init__(
        self,
        builder: Any,
        settings: Settings,
        *,
        prompt_of: Optional[PromptOf] = None,
        response_of: Optional[ResponseOf] = None,
    ) -> None:
        self.builder = builder
        self.settings = settings
        self.prompt_of = prompt_of
        self.response_of = response_of

    async def make_envs(self) -> Sequence[Any]:
        """The environments of the wrapped builder."""
        envs: Sequence[Any] = await self.builder.make_envs()
        return envs

    async def compute_group_rewards(
        self, trajectory_group: List[Any], env_group: Sequence[Any]
    ) -> List[Tuple[float, Dict[str, Any]]]:
        """The judge's rewards and those of the wrapped builder, added."""
        own = await self.builder.compute_group_rewards(trajectory_group, env_group)
        judged = await compute_group_rewards(
            self.settings, trajectory_group, env_group, prompt_of=self.prompt_of, response_of=self.response_of
        )
        return [(first + reward, {**kept, **metrics}) for (first, kept), (reward, metrics) in zip(own, judged)]

    async def cleanup(self) -> None:
        """Cleans up the wrapped builder."""
        await self.builder.cleanup()

    def logging_tags(self) -> List[str]:
        """The tags of the wrapped builder."""
        tags: List[str] = self.builder.logging_tags()
        return tags


def _prompt(env: Any) -> Any:
    question = getattr(env, "get_question", None)
    prefix = list(getattr(env, "convo_prefix", None) or [])
    if question is not None:
        return [*prefix, {"role": "user", "content": question()}]
    if prefix:
        return prefix
    raise InvalidRequestError(f"{type(env).__name__} has neither get_question() nor convo_prefix: give prompt_of")


def _response(trajectory: Any, env: Any) -> str:
    renderer = getattr(env, "renderer", None) or getattr(env, "policy_renderer", None)
    if renderer is None:
        raise InvalidRequestError(f"{type(env).__name__} has no renderer: give response_of")
    return transcript([dict(renderer.parse_response(turn.ac.tokens)[0]) for turn in trajectory.transitions])
