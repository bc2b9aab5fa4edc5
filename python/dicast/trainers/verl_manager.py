"""veRL's reward manager, with rewards of a listwise judge for whole groups. Needs veRL 0.9 or newer, and Ray.

::

    reward.reward_manager.source=importlib
    reward.reward_manager.name=RewardManager
    reward.reward_manager.module.path=pkg://dicast.trainers.verl_manager

veRL makes a manager in each of its reward workers and sends it random samples. All managers of a job send theirs to one
named Ray actor. It holds the only judge and judges the samples of a prompt (veRL's ``uid``, else the prompt itself)
when ``actor_rollout_ref.rollout.n`` are there, or ``window`` seconds after the first. Settings come from the
environment of the workers (:class:`dicast.trainers.Settings`; ``DICAST_GROUP_SIZE`` is not needed). Settings in the
configuration, with the same names in lower case, override them::

    +reward.reward_kwargs.dicast.model=/models/judge.gguf
    +reward.reward_kwargs.dicast.principle="Prefer short answers that are right."
    +reward.reward_kwargs.dicast.actor.num_gpus=1

``actor`` has options of the Ray actor; by default it reserves no processor. ``validation`` names the validation data
sources, separated by commas: their groups have ``actor_rollout_ref.rollout.val_kwargs.n`` samples. Samples whose
``extra_info.split`` is ``test``, ``val``, ``valid``, ``validation``, ``dev`` or ``eval`` are recognized without it.
Others would wait until the window ends.

With a route of a Dicast server (``DICAST_ROUTE``) there is no actor: each worker sends its samples there.

A judgment that fails raises its error, which ends the run; with ``on_error`` a number of your choice is used instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import pickle
from typing import Any, ClassVar, Dict, Hashable, List, Mapping, Optional, Sequence, Tuple

import ray
from omegaconf import OmegaConf
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from dicast.errors import EngineError, InvalidConfigError
from dicast.trainers._coalesce import LoopCoalescer
from dicast.trainers._groups import Judged, Sample
from dicast.trainers._settings import Settings
from dicast.trainers.verl import fields_of, sample_of, score

__all__ = ["GroupJudge", "RewardManager"]

_LOGGER = logging.getLogger("dicast")

_VALIDATION = ("test", "val", "valid", "validation", "dev", "eval")
#: How often a sample is sent to an actor that died.
_TRIES = 3


class GroupJudge:
    """The class of the actor: the only judge of a job, and the waiting groups."""

    def __init__(self, settings: Settings) -> None:
        self._coalescer = LoopCoalescer(settings.asamples, settings.window)

    async def rewards(self, key: Hashable, samples: Sequence[Sample], size: int) -> List[Judged]:
        """Judges one member of a group of `size`, together with the others."""
        judged = await self._coalescer.rewards(key, [Sample(*sample) for sample in samples], size)
        return [one.light() for one in judged]

    async def counts(self) -> Dict[str, int]:
        """The counts of the groups so far."""
        counts = self._coalescer.counts
        return {"full": counts.full, "incomplete": counts.incomplete, "lone": counts.lone}


class RewardManager(RewardManagerBase):  # type: ignore[misc]
    """Sends samples to the group judge, and returns its rewards.

    A subclass may set ``settings``, which can be pickled unless they hold an open judge, and ``actor_options``.
    """

    #: The settings; None: those of the configuration and the environment.
    settings: ClassVar[Optional[Settings]] = None
    #: Options of the Ray actor.
    actor_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: Any = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        own = _own(config)
        self._settings = self.settings or Settings.from_env(_environment(own))
        self._options = {**self.actor_options, **(own.get("actor") or {})}
        self._validation = {name.strip() for name in str(own.get("validation") or "").split(",") if name.strip()}
        rollout = config.actor_rollout_ref.rollout
        self._size = int(rollout.n) if self._settings.group_size == 1 else self._settings.group_size
        self._validation_size = int(rollout.val_kwargs.n) if rollout.get("val_kwargs") is not None else 1
        self._actor: Any = None

    async def run_single(self, data: Any) -> Dict[str, Any]:
        """The reward of one sample."""
        item = data[-1:][0]  # If a sample has several sequences, the last one counts.
        more = item.non_tensor_batch
        responses = item.batch["responses"]
        length = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, self._decode, responses[:length])
        info = dict(more.get("extra_info") or {})
        info.update(dict(more.get("tool_extra_fields") or {}))
        source = more.get("data_source")
        truth = (more.get("reward_model") or {}).get("ground_truth")
        fields = fields_of(source, text, truth, info, {"raw_prompt": more.get("raw_prompt")})
        sample = sample_of(self._settings, fields, text, None)
        if self._settings.served is not None:
            judged = await self._settings.served.areward(sample.prompt, text, truth)
        else:
            uid = more.get("uid")
            key = (*sample[:2], None if uid is None else str(uid))
            (judged,) = await self._judged(key, sample, self._size_of(source, info))
        made = score(self._settings, judged)
        return {
            "reward_score": made["score"],
            "reward_extra_info": {"dicast_judged": made["judged"], "dicast_group": made["group"]},
        }

    def _decode(self, tokens: Any) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _size_of(self, source: Any, info: Mapping[str, Any]) -> int:
        if source in self._validation or str(info.get("split")).lower() in _VALIDATION:
            return self._validation_size
        return self._size

    async def _judged(self, key: Tuple[Any, ...], sample: Sample, size: int) -> List[Judged]:
        for attempt in range(1, _TRIES + 1):
            if self._actor is None:
                self._actor = self._found()
            actor = self._actor
            try:
                judged: List[Judged] = await actor.rewards.remote(key, [tuple(sample)], size)
                return judged
            except ray.exceptions.RayActorError as error:
                if self._actor is actor:
                    self._actor = None
                if attempt == _TRIES:
                    raise EngineError(f"the judge actor died {attempt} times: {error}") from error
                _LOGGER.warning("the judge actor died; its samples are sent to a new one: %s", error)
                await asyncio.sleep(attempt)
        raise AssertionError("not reached")

    def _found(self) -> Any:
        """The actor of this job, which is made if there is none. Managers with the same settings share it."""
        try:
            packed = pickle.dumps((self._settings, sorted(self._options.items())))
        except TypeError as error:
            raise InvalidConfigError(f"the settings cannot be sent to a Ray actor: {error}") from error
        name = f"dicast-judge-{hashlib.sha256(packed).hexdigest()[:12]}"
        options = {"num_cpus": 0, "max_concurrency": 1_000_000, **self._options}
        actor = ray.remote(GroupJudge)
        return actor.options(name=name, get_if_exists=True, **options).remote(self._settings)


def _own(config: Any) -> Dict[str, Any]:
    """The settings of the configuration under ``reward.reward_kwargs.dicast``."""
    own = _plain((config.reward.get("reward_kwargs") or {}).get("dicast") or {})
    if isinstance(own, dict):
        return own
    raise InvalidConfigError("reward.reward_kwargs.dicast must hold settings by name")


def _plain(value: Any) -> Any:
    """A part of veRL's configuration as plain dictionaries and lists."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _environment(own: Mapping[str, Any]) -> Dict[str, str]:
    """The environment, overridden by the configuration."""
    env = dict(os.environ)
    for name, value in own.items():
        if name in ("actor", "validation") or value is None:
            continue
        env[f"DICAST_{name.upper()}"] = json.dumps(value) if isinstance(value, dict) else str(value)
    return env
