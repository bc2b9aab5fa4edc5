"""Programs for the reference package run if only their import is changed."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import json
import pathlib
import random
import re
import subprocess
import sys
from typing import Any, Dict, List

import pytest

import dicast
import dicast.processing
from dicast._library import lib, text_of
from server import judged, serving
from support import MODEL

FEATURES = text_of(lib.dicast_features()).split(",")

PROGRAMS = pathlib.Path(__file__).parent / "programs"


def run(name: str, folder: pathlib.Path, *arguments: str) -> str:
    source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    changed = re.sub(r"^(import|from) rewardanything\b", r"\1 dicast", source, flags=re.MULTILINE)
    program = folder / f"{name}.py"
    # The only other use of the package's name follows from `import rewardanything`.
    program.write_text(changed.replace("rewardanything.from_pretrained", "dicast.from_pretrained"), encoding="utf-8")
    command = [sys.executable, "-W", "error", str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_program_that_judges_in_its_process(tmp_path: pathlib.Path) -> None:
    assert run("local", tmp_path, str(MODEL)).endswith("done\n")


def test_a_program_that_judges_behind_http(tmp_path: pathlib.Path, judge: dicast.Judge) -> None:
    with serving(judged(judge)) as served:
        assert run("remote", tmp_path, served.url).endswith("done\n")
    routes = [route for route, _, _ in served.requests]
    assert routes == ["/health"] + ["/api/rewardanything"] * 4, (
        "its batches are sent one by one: their order is not kept"
    )


def test_a_program_with_an_engine_of_its_own(tmp_path: pathlib.Path) -> None:
    assert run("own_engine", tmp_path) == "done\n"


def reference_functions() -> List[Any]:
    """Public functions and methods of the reference, from its source: module, class, definition."""
    found = []
    root = pathlib.Path(str(importlib.metadata.distribution("rewardanything").locate_file("rewardanything")))
    wanted = {
        "local": {"from_pretrained", "judge", "judge_batch"},
        "client": {"__init__", "judge", "judge_batch", "health_check"},
        "processing": {"make_masked_responses", "prepare_chat_messages", "parse_rewardanything_output"},
    }
    for module, names in wanted.items():
        tree = ast.parse((root / f"{module}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            for definition in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(definition, ast.FunctionDef) and definition.name in names:
                    found.append((module, node.name if isinstance(node, ast.ClassDef) else None, definition))
    return found


@pytest.mark.parametrize(
    "module, owner, definition", reference_functions(), ids=lambda value: getattr(value, "name", value)
)
def test_whatever_the_reference_takes_is_taken_in_its_place(
    module: str, owner: Any, definition: ast.FunctionDef
) -> None:
    place = importlib.import_module(f"dicast.{module}")
    ours = getattr(getattr(place, owner) if owner else place, definition.name)
    signature = inspect.signature(ours)
    taken = [name for name, value in signature.parameters.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
    theirs = [argument.arg for argument in definition.args.args]
    assert taken[: len(theirs)] == theirs
    for name, default in zip(reversed(theirs), reversed(definition.args.defaults)):
        if name != "batch_size":
            assert signature.parameters[name].default == ast.literal_eval(default), name
    if definition.args.kwarg:
        assert any(value.kind is value.VAR_KEYWORD for value in signature.parameters.values())


TEXTS = [
    "",
    "plain",
    "Zoë's “naïve” café",
    "tab\tnew\nline",
    'quote " and \\ backslash',
    "\u2028 \x7f \x00 \x1f",
    "日本 🙂",
    "</think>",
    "model-1",
]


def requests(seed: int) -> Dict[str, Any]:
    chance = random.Random(seed)
    count = chance.choice([1, 2, 3, 5, 8, 17, 40])
    texts = [" ".join(chance.choices(TEXTS, k=3)) for _ in range(count + 2)]
    names = [f"{chance.choice(TEXTS)}{number}" for number in range(count)]
    return {"principle": texts[0], "prompt": texts[1], "responses": dict(zip(names, texts[2:]))}


def test_the_trained_system_prompt_is_read_out_of_the_package(reference: Any, tmp_path: pathlib.Path) -> None:
    processing = reference("processing")
    profile = dicast.Profile.from_package(processing.__file__)
    assert profile.system_prompt == processing.SYSTEM_PROMPT
    profile.save(tmp_path / "p.json")
    assert dicast.Profile.load(tmp_path / "p.json").to_dict() == profile.to_dict()


@pytest.mark.parametrize("mask", [True, False])
def test_messages_are_those_of_the_reference(reference: Any, tmp_path: pathlib.Path, mask: bool) -> None:
    processing = reference("processing")
    profile = dicast.Profile.builtin().to_dict()
    profile["system_prompt"] = processing.SYSTEM_PROMPT
    path = tmp_path / "reference.profile.json"
    path.write_text(json.dumps(profile), encoding="utf-8")
    state = random.getstate()
    for seed in range(60):
        request = requests(seed)
        expected = processing.prepare_chat_messages(**request, mask_responses=mask)
        assert dicast.prepare_chat_messages(**request, mask_responses=mask, profile=path) == expected
        assert dicast.processing.make_masked_responses(request["responses"]) == processing.make_masked_responses(
            request["responses"]
        )
    random.setstate(state)
    dicast.prepare_chat_messages(**requests(1))
    assert random.getstate() == state, "the reference seeds the program's own generator; this package leaves it alone"


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "Here:\n```\n{}\n```\n"])
def test_complete_outputs_are_read_as_by_the_reference(reference: Any, wrap: str) -> None:
    processing = reference("processing")
    for seed in range(40):
        chance = random.Random(seed)
        count = chance.randint(1, 9)
        shown = [f"model-{number + 1}" for number in range(count)]
        scores = {name: chance.choice([1, 2, 3, 4, 5, 3.5]) for name in shown}
        ranking = sorted(shown, key=lambda name: -scores[name])
        text = wrap.format(json.dumps({"scores": scores, "best-to-worst": ranking}, indent=chance.choice([None, 2])))
        output = f"<think>\nthought {seed}\n</think>\n\n{text}"
        for masked2real in ({name: f"real {name}" for name in shown}, None):
            expected = processing.parse_rewardanything_output(output, masked2real)
            result = dicast.parse_rewardanything_output(output, masked2real)
            assert (result.scores, result.ranking) == (expected.scores, expected.ranking)
            assert (result.reasoning, result.raw_output) == (expected.reasoning, expected.raw_output)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot say.",
        '{"scores": {"model-1": 3}, "best-to-worst": ["model-1"]}',
        '{"scores": {"model-1": 3, "model-2": 9}, "best-to-worst": ["model-1", "model-2"]}',
        '{"scores": {"model-1": 3, "model-2": 4}}',
        '{"scores": {"model-1": 3, "model-',
    ],
)
def test_what_is_incomplete_is_an_error_with_what_could_be_read(reference: Any, text: str) -> None:
    reference("processing").parse_rewardanything_output(text, {"model-1": "a", "model-2": "b"})  # No error there.
    with pytest.raises(dicast.InvalidVerdictError) as caught:
        dicast.parse_rewardanything_output(text, {"model-1": "a", "model-2": "b"})
    assert caught.value.kind == "invalid_verdict" and caught.value.retryable
    assert caught.value.partial is not None and caught.value.partial.raw == text


def test_a_policy_reads_more() -> None:
    text = '{"scores": {"model-1": 3, "model-2": 9}}'
    policy = {"incomplete": "derive_ranking", "clamp": True}
    result = dicast.parse_rewardanything_output(text, {"model-1": "a", "model-2": "b"}, policy=policy)
    assert result.scores == {"a": 3, "b": 5} and result.ranking == ["b", "a"] and len(result.repairs) == 2
    with pytest.raises(dicast.InvalidConfigError):
        dicast.parse_rewardanything_output(text, {"model-1": "a", "model-2": "b"}, policy={"strict": True})


def test_names_are_found_where_nobody_gives_them() -> None:
    scores, ranking = """{'a b': 2, "c\\"d": 4, e: 1}""", """['c"d', 'a b', 'e']"""
    loose = f"<think>{{'scores': {{'x': 1}}}}</think>{{'scores': {scores}, 'best-to-worst': {ranking}}}"
    assert dicast.parse_rewardanything_output(loose).scores == {"a b": 2, 'c"d': 4, "e": 1}
    with pytest.raises(dicast.InvalidVerdictError):
        dicast.parse_rewardanything_output("no verdict")


def test_results_compare_and_print_as_those_of_the_reference(reference: Any) -> None:
    models = reference("models")
    theirs, ours = models.RewardResult("r", {"a": 5}, ["a"], "raw"), dicast.RewardResult("r", {"a": 5}, ["a"], "raw")
    assert str(theirs) == str(ours) and repr(theirs) == repr(ours)
    assert dicast.RewardResult("r", {"a": 5}, ["a"]).raw_output is None
    assert ours == dicast.RewardResult(reasoning="r", scores={"a": 5}, ranking=["a"], raw_output="raw")


ROW = {"principle": "p", "prompt": "q", "responses": {"a": "é", "b": "y"}}


def test_requests_are_made_as_those_of_the_reference(reference: Any) -> None:
    theirs, ours = reference("models").RewardRequest, dicast.RewardRequest
    row = {**ROW, "id": 7, "label": None, "mask_responses": "no"}
    assert ours(**row).dict() == theirs(**row).model_dump()
    assert ours.model_validate(row) == ours("p", "q", {"a": "é", "b": "y"}, False)
    words = (True, False, 1, 0, 1.0, "true", "TRUE", "False", "yes", "n", "on", "off", "t", "F", "1", "0", b"no")
    for word in words:
        expected = theirs(**ROW, mask_responses=word).mask_responses
        assert ours(**ROW, mask_responses=word).mask_responses is expected, word
    wrong: List[Dict[str, Any]] = [{**ROW, "mask_responses": word} for word in ("maybe", "", 2, None, "true ")]
    wrong += [{**ROW, "principle": 1}, {**ROW, "responses": {"a": 1}}, {**ROW, "responses": {1: "a"}}]
    wrong += [{**ROW, "responses": ["a"]}, {"principle": "p", "prompt": "q"}]
    for row in wrong:
        for made in (theirs.model_validate, ours.model_validate):
            with pytest.raises(ValueError):
                made(row)
    with pytest.raises(dicast.InvalidRequestError, match="needs prompt, responses"):
        ours.model_validate({"principle": "p"})
    with pytest.raises(dicast.InvalidRequestError):
        ours.model_validate_json("{")


def test_the_methods_of_models_are_those_of_the_reference(reference: Any) -> None:
    theirs, ours = reference("models").RewardRequest(**ROW), dicast.RewardRequest(**ROW)
    for keywords in (
        {},
        {"exclude": {"responses"}},
        {"exclude": {"responses": {"a"}}},
        {"exclude": {"responses": True, "prompt": ...}},
        {"include": {"prompt", "principle"}},
        {"include": {"responses": {"b"}}},
        {"exclude_defaults": True},
        {"exclude_none": True},
        {"by_alias": True},
    ):
        assert ours.model_dump(**keywords) == theirs.model_dump(**keywords), keywords
        assert ours.model_dump_json(**keywords) == theirs.model_dump_json(**keywords), keywords
        assert ours.model_dump_json(indent=2, **keywords) == theirs.model_dump_json(indent=2, **keywords)
    assert dict(ours) == dict(theirs) and ours.model_dump(mode="json") == theirs.model_dump(mode="json")
    again = type(ours).model_validate_json(ours.model_dump_json())
    assert again == ours and type(theirs).model_validate_json(ours.model_dump_json()) == theirs
    changed = ours.model_copy(update={"prompt": "r"})
    assert changed.prompt == "r" and ours.prompt == "q" and changed.responses is ours.responses and changed != ours
    assert theirs.model_copy(update={"prompt": "r"}).model_dump() == changed.model_dump()
    assert ours.model_copy(deep=True).responses is not ours.responses and ours.copy() == ours
    assert ours.copy(update={"prompt": "r"}) == changed
    assert type(ours).model_construct(**ROW) == ours and type(ours).parse_obj(ROW) == ours
    response = dicast.RewardResponse(thoughts="t", results={"scores": {"a": 1}}, id=3)
    assert response.model_dump_json() == reference("models").RewardResponse(**response.dict()).model_dump_json()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_was_not_given_is_known(reference: Any) -> None:
    given = {"principle": "p", "prompt": "q", "responses": {"a": "x"}}
    for cls in (reference("models").RewardRequest, dicast.RewardRequest):
        alone, whole = cls(**given), cls(**given, mask_responses=True)
        assert alone.model_dump(exclude_unset=True) == given and alone.model_fields_set == set(given)
        assert whole.model_dump(exclude_unset=True) == {**given, "mask_responses": True}
        assert whole.model_copy().model_fields_set == {*given, "mask_responses"} and alone == whole
        assert str(alone) == "principle='p' prompt='q' responses={'a': 'x'} mask_responses=True"
        assert cls.model_construct(prompt="q").model_dump() == {"prompt": "q", "mask_responses": True}
        assert cls.construct(**given) == alone and cls.validate(given) == alone


def test_results_are_models_and_equal_by_what_the_judge_said(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    result = judge.judge(**example)
    said = dicast.RewardResult(result.reasoning, result.scores, result.ranking, result.raw_output)
    assert result == said and result != dicast.RewardResult("another thought", result.scores, result.ranking)
    again = dicast.RewardResult.model_validate_json(result.model_dump_json())
    assert again == result and again.expected_scores == result.expected_scores
    assert result.model_dump(include={"scores", "ranking"}) == {"scores": result.scores, "ranking": result.ranking}
    assert result.model_copy(update={"scores": {}}).scores == {} and result.copy() == result
    assert "raw_output" not in json.loads(result.model_dump_json(indent=1, exclude={"raw_output"}))


def test_words_are_truth_values_in_a_judge_and_a_client_too(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    shown = judge.judge_batch([{**example, "mask_responses": "false"}, {**example, "mask_responses": False}])
    assert shown[0] == shown[1] and list(shown[0].aliases) == list(example["responses"])
    with pytest.raises(dicast.InvalidRequestError):
        judge.judge_batch([{**example, "mask_responses": "maybe"}])
    with serving(judged(judge)) as served:
        dicast.Client(served.url).judge_batch([{**example, "mask_responses": "off"}])
    assert served.requests[-1][1]["mask_responses"] is False


def test_arguments_of_loading(judge: dicast.Judge) -> None:
    with pytest.raises(TypeError, match="did you mean options"):
        dicast.from_pretrained(MODEL, optoins={"temperature": 0.0})
    with pytest.warns(UserWarning, match="attn_implementation"):
        dicast.from_pretrained(MODEL, device="auto", attn_implementation="eager").close()
    for device in ("tpu", "cuda0"):
        with pytest.raises(dicast.InvalidConfigError):
            dicast.from_pretrained(MODEL, device=device)
    dicast.from_pretrained(MODEL, device_map={"": "cpu"}).close()


@pytest.mark.skipif("cuda" in FEATURES, reason="this build has CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", 0, "vulkan"])
def test_a_device_that_the_build_does_not_have_is_an_error(device: Any) -> None:
    with pytest.raises(dicast.UnsupportedError, match="build"):
        dicast.from_pretrained(MODEL, device=device)
