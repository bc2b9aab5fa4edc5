"""Your own engine: Dicast makes prompts and grammars and reads verdicts, and your engine generates.

class MyEngine(dicast.engine.Engine):
    def generate(self, job):
        threading.Thread(target=self.work, args=(job,)).start()

judge = dicast.engine.open_judge(MyEngine())
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _library
from ._interrupts import keep
from ._library import NULL, check, ffi, lib, owned, text_of
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .local import Judge
    from .profiles import Profile

__all__ = ["Choice", "Engine", "Job", "Plan", "Token", "open_judge"]

_GUIDANCE = {
    "none": lib.DICAST_GUIDANCE_NONE,
    "schema": lib.DICAST_GUIDANCE_SCHEMA,
    "grammar": lib.DICAST_GUIDANCE_GRAMMAR,
}
_NOTATIONS = {
    "gbnf": lib.DICAST_NOTATION_GBNF,
    "ebnf": lib.DICAST_NOTATION_EBNF,
    "lark": lib.DICAST_NOTATION_LARK,
}


@dataclass(frozen=True)
class Choice:
    """A token that could stand at one place of the output."""

    text: Union[str, bytes]
    #: The natural logarithm of its probability.
    logprob: float


@dataclass(frozen=True)
class Token:
    """A token of the output, and the other tokens that were possible at its place."""

    text: Union[str, bytes]
    #: The natural logarithm of its probability; NaN if it is not known.
    logprob: float = float("nan")
    #: The most probable tokens at this place. They matter only at the scores.
    choices: Sequence[Choice] = field(default_factory=tuple)


@dataclass(frozen=True)
class Plan:
    """How to generate a job: first the reasoning, if there is one, then the verdict."""

    #: The number of the job, which :meth:`Engine.cancel` names.
    id: int
    #: 0 is greedy.
    temperature: float
    #: Nucleus sampling; 1 is off.
    top_p: float
    seed: int
    #: Sample from this many most probable tokens; 0 is off.
    top_k: int
    #: -1, 0 or 1: low, normal, high.
    priority: int
    #: Milliseconds until the deadline of the job.
    time_left_ms: int
    #: Whether the verdict comes after a reasoning.
    reasons: bool
    #: Whether the verdict must follow the grammar or the schema.
    guided: bool
    #: Whether the ranking must agree with the scores: the grammar then comes in several stages.
    consistent: bool
    #: Whether the caller wants the reasoning while it is written.
    heard: bool
    #: Most tokens of the reasoning; 0: close it at once.
    reasoning_tokens: int
    #: Most tokens of a free verdict; 0 for a guided one.
    verdict_tokens: int
    #: What the engine feeds before the reasoning; empty if the prompt ends with it.
    open: str
    #: The text that ends the reasoning.
    close: str


class Job:
    """One generation. End it once, with :meth:`finish` or :meth:`fail`, from any thread; if it is dropped, it fails.

    Only one thread may use it at a time.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer

    @property
    def plan(self) -> Plan:
        """How to generate it."""
        plan, error = ffi.new("dicast_plan *"), ffi.new("dicast_error **")
        plan.struct_size = ffi.sizeof("dicast_plan")
        check(lib.dicast_job_plan(self._open(), plan, error), error)
        values = {name: getattr(plan, name) for name, _ in ffi.typeof("dicast_plan").fields if name != "struct_size"}
        for name in ("reasons", "guided", "consistent", "heard"):
            values[name] = bool(values[name])
        values.update(open=text_of(plan.open), close=text_of(plan.close))
        return Plan(**values)

    @property
    def messages(self) -> List[Dict[str, str]]:
        """The messages of the chat, for an engine that renders the template itself; else none."""
        job = self._open()
        return [
            {
                "role": text_of(lib.dicast_job_message_role(job, index)),
                "content": text_of(lib.dicast_job_message_content(job, index)),
            }
            for index in range(lib.dicast_job_message_count(job))
        ]

    @property
    def tokens(self) -> List[int]:
        """The ids of the prompt's tokens, for an engine with a ``tokenizer``; else none."""
        count = ffi.new("size_t *")
        data = lib.dicast_job_tokens(self._open(), count)
        return list(ffi.unpack(data, count[0])) if data else []

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return bool(lib.dicast_job_is_wanted(self._open()))

    @property
    def schema(self) -> str:
        """The verdicts as JSON Schema; "" for a job that is not guided."""
        return text_of(lib.dicast_job_schema(self._open()))

    def grammar(self, answered: str = "", notation: str = "gbnf") -> Tuple[str, bool]:
        """The grammar of the text that may follow ``answered``, the verdict so far; and whether that completes it.

        ``notation`` is "gbnf", "ebnf" or "lark".
        """
        if notation not in _NOTATIONS:
            raise InvalidArgumentError(f"notation is {notation!r}: it must be one of {', '.join(_NOTATIONS)}")
        text, last, error = ffi.new("dicast_str *"), ffi.new("uint32_t *"), ffi.new("dicast_error **")
        written = _library.view(answered, "answered")
        check(lib.dicast_job_grammar(self._open(), written, _NOTATIONS[notation], text, last, error), error)
        return text_of(text[0]), bool(last[0])

    def reason(self, text: Union[str, bytes]) -> None:
        """Appends to the reasoning, without the texts that open and close it. Call it before the answer."""
        error = ffi.new("dicast_error **")
        check(lib.dicast_job_reason(self._open(), _bytes(text), error), error)

    def answer(self, what: Union[str, bytes, Sequence[Token]]) -> None:
        """Appends text or tokens to the answer; the choices of tokens at the scores give expected scores."""
        error = ffi.new("dicast_error **")
        if isinstance(what, (str, bytes)):
            check(lib.dicast_job_answer(self._open(), _bytes(what), error), error)
            return
        keep: List[Any] = []
        tokens = ffi.new("dicast_token[]", len(what))
        for made, token in zip(tokens, what):
            choices = ffi.new("dicast_choice[]", len(token.choices))
            for place, choice in zip(choices, token.choices):
                place.text = _kept(choice.text, keep)
                place.logprob = choice.logprob
            keep.append(choices)
            made.text, made.logprob = _kept(token.text, keep), token.logprob
            made.choices, made.choice_count = choices, len(token.choices)
        check(lib.dicast_job_answer_tokens(self._open(), tokens, len(what), error), error)

    def usage(self, **tokens: int) -> None:
        """Sets the token counts of the job; unknown ones are 0: ``prompt_tokens``, ``reused_tokens``,
        ``reasoning_tokens``, ``verdict_tokens``, ``forced_tokens``."""
        usage, error = ffi.new("dicast_usage *", tokens), ffi.new("dicast_error **")
        usage.struct_size = ffi.sizeof("dicast_usage")
        check(lib.dicast_job_usage(self._open(), usage, error), error)

    def finish(self, *, reasoning_cut: bool = False, verdict_cut: bool = False) -> None:
        """Ends the job with what was written."""
        cut = (lib.DICAST_CUT_REASONING if reasoning_cut else 0) | (lib.DICAST_CUT_VERDICT if verdict_cut else 0)
        lib.dicast_job_finish(self._taken(), cut)

    def fail(self, message: str, status: str = "engine") -> None:
        """Ends the job with a failure. ``status`` is an error kind, such as "overloaded"."""
        kinds = {text_of(lib.dicast_status_name(code)): code for code in range(1, 64)}
        lib.dicast_job_fail(self._taken(), kinds.get(status, lib.DICAST_ENGINE), _library.view(message, "message"))

    def _open(self) -> Any:
        if self._pointer is None:
            raise InvalidArgumentError("the job has ended")
        return self._pointer

    def _taken(self) -> Any:
        pointer = self._open()
        self._pointer = None
        return pointer

    def __del__(self) -> None:
        if self._pointer is not None:
            self.fail("the engine dropped the job")


class Engine:
    """Your own engine. Derive from this class, set what the engine can do, and write :meth:`generate`."""

    #: "none", "schema" or "grammar": how strictly the engine constrains verdicts.
    guidance: str = "none"
    #: Whether it gives the possible tokens at the scores.
    distributions: bool = False
    #: A folder with the model's tokenizer.json and tokenizer_config.json: it takes token ids. "": it takes messages.
    tokenizer: str = ""
    #: Most tokens of prompt and output together; 0: not known.
    context_tokens: int = 0
    #: Number of jobs that it works on at once.
    max_sequences: int = 1

    def generate(self, job: Job) -> None:
        """Takes a job, which the engine then owns. Called on the thread that submits; it must return quickly:
        put the job into a queue, or end it at once. An exception fails the job."""
        raise NotImplementedError

    def cancel(self, job: int) -> None:
        """Nobody waits for the job with this number any more. Called on any thread; it must return quickly."""

    def closed(self) -> None:
        """The judge is closed: no other method is called after this one."""


#: The engines that are in use, by the number that the library hands back.
_engines: Dict[int, Engine] = {}
_numbers = itertools.count(1)


def _number(user_data: Any) -> int:
    return int(ffi.cast("uintptr_t", user_data))


def _generate(user_data: Any, pointer: Any) -> None:
    job = Job(pointer)
    try:
        _engines[_number(user_data)].generate(job)
    except BaseException as error:
        if job._pointer is not None:
            job.fail(f"the engine raised {type(error).__name__}: {error}")
        if not isinstance(error, Exception):
            raise


def _cancel(user_data: Any, job: int) -> None:
    engine = _engines.get(_number(user_data))
    if engine is not None:
        engine.cancel(int(job))


def _close(user_data: Any) -> None:
    engine = _engines.pop(_number(user_data), None)
    if engine is not None:
        engine.closed()


#: What the library calls. Never freed: it serves all judges for as long as the program runs. An exception of an engine
#: must not reach the library.
_on_generate = ffi.callback("dicast_generate_callback", _generate, onerror=keep)
_on_cancel = ffi.callback("dicast_cancel_callback", _cancel, onerror=keep)
_on_close = ffi.callback("dicast_engine_close_callback", _close, onerror=keep)


def open_judge(
    engine: Engine,
    model: str = "custom",
    *,
    profile: Optional["Profile"] = None,
    options: Optional[Mapping[str, Any]] = None,
    verdict: Optional[Mapping[str, Any]] = None,
    limits: Optional[Mapping[str, Any]] = None,
) -> "Judge":
    """Opens a judge on your own engine. ``model`` is only a name; without a ``profile``, the built-in one is used; the
    other arguments are those of :class:`dicast.Judge`."""
    from .local import Judge, open_options

    if engine.guidance not in _GUIDANCE:
        raise InvalidArgumentError(f"guidance is {engine.guidance!r}: it must be one of {', '.join(_GUIDANCE)}")
    config: Dict[str, Any] = {"model": model}
    for name, part in (("options", options), ("verdict", verdict), ("limits", limits)):
        if part is not None:
            config[name] = dict(part)
    number = next(_numbers)
    table, keep = ffi.new("dicast_engine *"), _library.view(engine.tokenizer, "tokenizer")
    table.struct_size = ffi.sizeof("dicast_engine")
    table.user_data = ffi.cast("void *", number)
    table.tokenizer = keep
    table.guidance = _GUIDANCE[engine.guidance]
    table.distributions = bool(engine.distributions)
    table.context_tokens = engine.context_tokens
    table.max_sequences = engine.max_sequences
    table.generate, table.cancel, table.close = _on_generate, _on_cancel, _on_close
    out, error = ffi.new("dicast_judge **"), ffi.new("dicast_error **")
    json = _library.view(_library.options_json(config, "the configuration"), "the configuration")
    _engines[number] = engine
    try:
        handle = NULL if profile is None else profile.handle
        check(lib.dicast_judge_open_engine(json, handle, table, open_options(), out, error), error)
    except BaseException:
        _engines.pop(number, None)
        raise
    del keep  # The text lives until here.
    return Judge._of(owned("judge", out[0]), config)


def _bytes(text: Union[str, bytes]) -> Tuple[Any, int]:
    return (ffi.from_buffer(text), len(text)) if isinstance(text, bytes) else _library.view(text, "text")


def _kept(text: Union[str, bytes], keep: List[Any]) -> Tuple[Any, int]:
    made = _bytes(text)
    keep.append(made)
    return made
