"""NeMo RL: an environment (a Ray actor) whose rewards come from the judge.

    from dicast.trainers import nemo_rl
    nemo_rl.register()          # in the script that starts the training

and in its configuration::

    env:
      dicast: {model: judge.gguf, principle: "Prefer short answers that are right.", group_size: 8}
    data:
      env_name: dicast

The keys are those of :class:`dicast.trainers.Settings`, with ``model`` (a path, a name or a URL) instead of ``judge``;
without ``model`` the settings come from the environment variables. Batched rollouts hand over whole groups;
asynchronous ones hand over one sample, which waits for the others of its prompt. A judgment that failed raises.

Validation has one sample of each prompt. Give it an environment of its own, so that its samples do not wait:
``nemo_rl.register("dicast_validation")``, with ``group_size: 1`` in ``env.dicast_validation``.

Asynchronous rollouts call environments in the default thread pool of asyncio, which has at most 32 threads. Samples
that wait would take them all, and those that they wait for would get none. So :func:`register`, and the environment in
every process that receives it, give new event loops of the process a pool of up to 4096 threads.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import InvalidConfigError
from ._coalesce import LoopCoalescer
from ._conversations import needs, prompt_and_last
from ._groups import Sample, principle_of
from ._lazy import named_judge
from ._settings import Settings

__all__ = ["register", "settings_of"]

_NAME = "dicast.trainers.nemo_rl.DicastEnvironment"

#: Most samples that wait at once, in the actor and in the process that calls it.
_MOST = 4096

_SETTINGS = ("principle", "group_size", "window", "on_error", "rewards", "route")


def register(name: str = "dicast", *, python: Optional[str] = None) -> None:
    """Registers the environment in NeMo RL under a name. ``python`` runs its actor; by default the system's Python."""
    registry = needs("nemo_rl.distributed.ray_actor_environment_registry", "nemo-rl", "dicast.trainers.nemo_rl")
    environments = needs("nemo_rl.environments.utils", "nemo-rl", "dicast.trainers.nemo_rl")
    if python is None:
        python = needs("nemo_rl.distributed.virtual_cluster", "nemo-rl", _NAME).PY_EXECUTABLES.SYSTEM
    registry.ACTOR_ENVIRONMENT_REGISTRY[_NAME] = python
    if name not in environments.ENV_REGISTRY:
        environments.register_env(name, _NAME)
    _widen()


def settings_of(config: Optional[Mapping[str, Any]]) -> Settings:
    """Reads the settings of an environment's configuration."""
    config = dict(config or {})
    model = config.pop("model", None)
    if model is None:
        return Settings.from_env()
    chosen = {name: config.pop(name) for name in _SETTINGS if name in config}
    own = ("api_key", "timeout") if str(model).startswith(("http://", "https://")) else ("config",)
    judge = named_judge(str(model), **{name: config.pop(name) for name in own if name in config})
    if config:
        known = ", ".join(("model", "api_key", "timeout", "config", *_SETTINGS))
        raise InvalidConfigError(f"the environment has no setting {', '.join(sorted(config))}; it has {known}")
    return Settings(judge, **chosen)


class _Environment:
    """The work of the actor, without Ray."""

    def __init__(self, config: Optional[Mapping[str, Any]] = None) -> None:
        self._settings = settings_of(config)
        self._coalescer = LoopCoalescer(self._settings.asamples, self._settings.window)

    async def step(
        self, message_log_batch: Sequence[Any], metadata: Sequence[Any], return_extracted_answer: bool = True
    ) -> Any:
        """Judges the last message of each conversation; every episode ends. The answers are always returned."""
        torch = needs("torch", "torch", _NAME)
        interfaces = needs("nemo_rl.environments.interfaces", "nemo-rl", _NAME)
        samples = [self._sample(messages, known) for messages, known in zip(message_log_batch, metadata)]
        settings = self._settings
        if len(samples) == 1 and settings.group_size > 1:
            one = samples[0]
            judged = await self._coalescer.rewards((one.principle, one.prompt), samples, settings.group_size)
        else:
            judged = await settings.asamples(samples)
        rewards = settings.numbers(judged)
        said = [f"Environment: judged {reward:g}" for reward in rewards]
        return interfaces.EnvironmentReturn(
            observations=[{"role": "environment", "content": text} for text in said],
            metadata=list(metadata),
            next_stop_strings=[None] * len(samples),
            rewards=torch.tensor(rewards, dtype=torch.float32),
            terminateds=torch.ones(len(samples), dtype=torch.bool),
            answers=[sample.text for sample in samples],
        )

    def _sample(self, messages: Sequence[Any], metadata: Any) -> Sample:
        prompt, text = prompt_and_last(messages)
        fields: Dict[str, Any] = dict(metadata) if isinstance(metadata, Mapping) else {}
        return Sample(principle_of(self._settings.principle, {**fields, "prompt": prompt}), prompt, text)

    def global_post_process_and_metrics(self, batch: Any) -> Tuple[Any, Dict[str, float]]:
        """The batch unchanged, and statistics of the rewards."""
        counts = self._coalescer.counts
        metrics = {"dicast/groups_incomplete": float(counts.incomplete), "dicast/groups_full": float(counts.full)}
        rewards = batch.get("total_reward", batch.get("rewards"))
        if rewards is not None and len(rewards):
            metrics["dicast/mean_reward"] = float(rewards.float().mean())
        return batch, metrics

    def shutdown(self) -> bool:
        """Nothing to do: the judge ends with the actor."""
        return True


def _widen() -> None:
    """Gives the event loops that this process makes from now on a default pool for all samples that wait."""
    policy = asyncio.get_event_loop_policy()
    if getattr(policy, "_dicast", False):
        return

    class Wide(type(policy)):  # type: ignore[misc]
        _dicast = True

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop: asyncio.AbstractEventLoop = super().new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(_MOST, thread_name_prefix="asyncio"))
            return loop

    asyncio.set_event_loop_policy(Wide())


class _Handle:
    """The handle of an actor. A process that receives it makes room for the samples that wait."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._actor, name)

    def __reduce__(self) -> Any:
        return _received, (self._actor,)


def _received(actor: Any) -> _Handle:
    _widen()
    return _Handle(actor)


class _ActorClass:
    """The actor's class, as Ray makes it from a class, but its handles are :class:`_Handle`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def options(self, **options: Any) -> _ActorClass:
        """With options for the actor."""
        return _ActorClass(self._inner.options(**options))

    def remote(self, *arguments: Any, **named: Any) -> _Handle:
        """Starts the actor."""
        return _Handle(self._inner.remote(*arguments, **named))


_made: List[Any] = []


def __getattr__(name: str) -> Any:
    # NeMo RL looks up the actor's class by its name. The class needs Ray; importing this module does not.
    if name != "DicastEnvironment":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _made:
        ray = needs("ray", "ray", _NAME)
        made = ray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=_MOST)(_Environment)
        _made.append(_ActorClass(made))
    return _made[0]
