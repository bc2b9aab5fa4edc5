"""Measures of a judge's output, compared with those of the reference if these are right."""

from __future__ import annotations

import json
import random
from typing import Any, Dict, Tuple

import pytest

from dicast import processing


def outputs(seed: int) -> Tuple[str, Dict[str, Any], str]:
    """An output, its scores, and a known verdict."""
    chance = random.Random(seed)
    names = [f"model-{number}" for number in range(1, chance.randint(2, 7))]
    scores, known = ({name: chance.choice([1, 2, 3, 4.5, "5"]) for name in names} for _ in range(2))
    missing = names[: chance.randint(1, len(names))]
    scores = {name: scores[name] for name in missing}
    verdict = {"scores": scores, "best-to-worst": sorted(missing, key=lambda name: -float(scores[name]))}
    text = json.dumps(verdict)
    thought = chance.choice(["<think>short</think>", "<think>" + "long " * 20 + "</think>", "<think>", ""])
    around = chance.choice(["{}", "Verdict: {} Done.", "```json\n{}\n```"])
    return thought + around.format(text), scores, json.dumps({"scores": known})


def test_measures_are_those_of_the_reference(reference: Any) -> None:
    theirs = reference("processing")
    for seed in range(200):
        output, scores, known = outputs(seed)
        gold = json.loads(known)["scores"]
        penalty = theirs.calculate_weighted_pair_penalty(scores, gold)
        assert processing.calculate_weighted_pair_penalty(scores, gold) == pytest.approx(penalty)
        assert processing.extract_json_content(output) == theirs.extract_json_content(output)
        assert processing.extract_json_by_brackets(output) == theirs.extract_json_by_brackets(output)
        content = theirs.extract_json_content(output)
        assert processing.safe_parse_json(content) == theirs.safe_parse_json(content)
        ours, expected = (place.analyze_prediction_quality(output, known) for place in (processing, theirs))
        pairs, expected_pairs = (
            {(frozenset(pair["pair"]), pair["weight"]) for pair in each.pop("reversed_pairs")}
            for each in (ours, expected)
        )
        assert pairs == expected_pairs and ours == expected


def test_mending_leaves_texts_alone(reference: Any) -> None:
    for broken in ("{'scores': {'a': 1,}, best-to-worse: ['a',]}", '{scores: {"a": 2}}'):
        assert processing.safe_parse_json(broken) == reference("processing").safe_parse_json(broken)
    kept = """{"scores": {"Zoe's, a: b": 2,}, 'it\\'s "x"': 1}"""
    assert processing.safe_parse_json(kept) == ({"scores": {"Zoe's, a: b": 2}, 'it\'s "x"': 1}, False)
    for hopeless in ("", "[1]", "{", "{]}", "[" * 100_000):
        assert processing.safe_parse_json(hopeless) == ({}, False)


def test_format_reward() -> None:
    known = '{"scores": {"a": 5, "b": 1}}'
    thought = f"<think>{'word ' * 20}</think>"
    verdict = '{"scores": {"a": 4, "b": 2}, "best-to-worst": ["a", "b"]}'
    assert processing.format_reward(thought + verdict, known) == pytest.approx(1.0)
    assert processing.format_reward(verdict, known) == pytest.approx(0.8)
    assert processing.format_reward(thought, known) == pytest.approx(0.2)
    contradicting = verdict.replace('["a", "b"]', '["b", "a"]')
    assert processing.format_reward("<think>" + contradicting, known) == pytest.approx(0.6)
    assert processing.format_reward("Here: " + '{"scores": {"a": 4}} so.', known) == pytest.approx(0.35)
    assert processing.format_reward("", "") == 0.0
