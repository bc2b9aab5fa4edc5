"""OpenRLHF's executor, with rewards of a listwise judge for whole groups. Needs OpenRLHF 0.11 or newer.

    --train.agent_func_path $(python -c "import dicast.trainers.openrlhf_executor as m; print(m.__file__)")

Settings come from the environment of the roll-out actors (:class:`dicast.trainers.Settings`; ``DICAST_GROUP_SIZE`` is
not needed). To set them in a file of your own::

    from dicast.trainers.openrlhf_executor import Executor

    class AgentExecutor(Executor):
        settings = Settings("judge.gguf", "Prefer short answers that are right.")

All samples of a prompt run in one actor and start at once. Each waits, without a thread, for the last of them, at most
``window`` seconds after the first has ended. It does not wait for a sample whose generation failed. A judgment that
fails raises its error, which ends the run; with ``on_error`` of the settings a number of your choice is used instead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, ClassVar, Dict, Optional

from openrlhf.utils.agent import SingleTurnAgentExecutor

# OpenRLHF loads this file by its path: it has no package around it then.
from dicast.trainers._coalesce import Gathering, LoopCoalescer
from dicast.trainers._settings import Settings
from dicast.trainers.openrlhf import Reading, answer_of

__all__ = ["AgentExecutor", "Executor"]

_LOGGER = logging.getLogger("dicast")


class Executor(SingleTurnAgentExecutor):  # type: ignore[misc]
    """One turn of generation, then a judgment of the whole group."""

    #: The settings; None: those of the environment.
    settings: ClassVar[Optional[Settings]] = None
    #: Makes the judge's prompt from OpenRLHF's prompt and the label; None: the content of the prompt.
    prompt_of: ClassVar[Optional[Callable[[str, Any], str]]] = None

    def __init__(self) -> None:
        super().__init__()
        self.reading = Reading(self.settings or Settings.from_env(), type(self).prompt_of)
        self.coalescer = LoopCoalescer(self.reading.settings.asamples, self.reading.settings.window)
        self._starting: Dict[Any, Gathering] = {}

    async def execute(
        self,
        prompt: str,
        label: Any,
        sampling_params: Any,
        max_length: int,
        hf_tokenizer: Any,
        llm_engine: Any,
        images: Any = None,
    ) -> Dict[str, Any]:
        """Generates one sample, and returns it with its reward."""
        group = self._joined(prompt, label)
        try:
            output: Dict[str, Any] = await super().execute(
                prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
            )
            start, end = output["action_ranges"][0]
            text = hf_tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=False)
            sample = self.reading.sample(prompt + text, prompt, label)
        except BaseException:
            group.drop()
            raise
        try:
            (judged,) = await group.add([sample])
            answer = answer_of(self.reading.settings, [judged])
        except Exception as error:
            _LOGGER.error("no reward for a sample: %s", error)
            raise
        logs = {name: values[0] for name, values in answer["extra_logs"].items()}
        output.update(reward=answer["rewards"][0], scores=answer["scores"][0], extra_logs=logs)
        return output

    def _joined(self, prompt: str, label: Any) -> Gathering:
        """The group of a sample that starts: those of its prompt that start in the same turn of the event loop."""
        key = prompt, repr(label)
        group = self._starting.get(key)
        if group is None:
            group = self._starting[key] = self.coalescer.new()
            # The tasks of a group are all in the loop's queue when the first of them runs: this comes after them.
            asyncio.get_running_loop().call_soon(self._starting.pop, key, None)
        group.expect()
        return group


class AgentExecutor(Executor):
    """The name that OpenRLHF looks for."""
