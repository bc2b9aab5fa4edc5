"""Measures of a judge's raw output against a known verdict, for those who train a judge.

Both are texts and are read leniently: parts that cannot be read count as missing. To read verdicts that you use, call
`parse_rewardanything_output`, which is strict.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

__all__ = [
    "analyze_prediction_quality",
    "calculate_weighted_pair_penalty",
    "check_ranking_consistency",
    "extract_json_by_brackets",
    "extract_json_content",
    "fix_json_format",
    "format_reward",
    "safe_parse_json",
]

_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_RANKINGS = ("best-to-worst", "best-to-worse")
_PIECES = re.compile(r"""(?P<text>"(?:[^"\\]|\\.)*")|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<rest>[^"']+|["'])""", re.DOTALL)


def extract_json_content(text: str) -> str:
    """A text without its thoughts and the fences of code blocks."""
    return re.sub(r"```(?:json)?", "", _THOUGHT.sub("", text)).strip()


def extract_json_by_brackets(text: str) -> Optional[str]:
    """The text from the first opening to the last closing brace; None if there is no such pair."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if -1 < start < end else None


def fix_json_format(json_str: str) -> str:
    """JSON with usual mistakes repaired: single quotes, names without quotes, commas at the end, a misspelt key.

    Text within double quotes is not changed, apostrophes included.
    """
    pieces: List[str] = []
    for piece in _PIECES.finditer(json_str):
        if piece["rest"] is not None:
            bare = re.sub(r"([{,]\s*)([\w-]+)(\s*:)", r'\1"\2"\3', piece["rest"])
            pieces.append(re.sub(r",(\s*[}\]])", r"\1", bare))
        elif piece["single"] is not None:
            pieces.append(json.dumps(piece["single"].replace("\\'", "'"), ensure_ascii=False))
        else:
            pieces.append(piece["text"])
    return "".join(pieces).replace('"best-to-worse"', '"best-to-worst"')


def safe_parse_json(text: str) -> Tuple[Dict[str, Any], bool]:
    """The object in a text (or empty), repaired if that helps, and whether it was cut out of other text."""
    cut = extract_json_by_brackets(text)
    for candidate, was_cut in ((text, False), (fix_json_format(text), False), (cut, True)):
        try:
            value = json.loads(candidate or "")
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value, was_cut
    return {}, False


def _numbers(scores: Any) -> Dict[str, float]:
    """The scores that are numbers."""
    found: Dict[str, float] = {}
    for name, score in scores.items() if isinstance(scores, Mapping) else ():
        try:
            found[name] = float(score)
        except (TypeError, ValueError):
            continue
    return found


def _pairs(predicted: Mapping[str, Any], known: Mapping[str, Any]) -> List[Tuple[str, str, float, float]]:
    """Every pair of names that both verdicts score, with the differences of the predicted and of the known scores."""
    ours, theirs = _numbers(predicted), _numbers(known)
    names = [name for name in ours if name in theirs]
    return [(a, b, ours[a] - ours[b], theirs[a] - theirs[b]) for a, b in itertools.combinations(names, 2)]


def calculate_weighted_pair_penalty(pred_scores: Mapping[str, Any], gt_scores: Mapping[str, Any]) -> float:
    """How well predicted scores order the names, from 0 to 1.

    The weight of a pair is 1 plus the difference of its known scores. A reversed pair loses its whole weight; a tie
    that should be a difference loses half of it. The result is 1 if both score fewer than two names.
    """
    if len(set(pred_scores) & set(gt_scores)) < 2:
        return 1.0
    lost = total = 0.0
    for _, _, ours, theirs in _pairs(pred_scores, gt_scores):
        weight = 1 + abs(theirs)
        total += weight
        if ours * theirs < 0:
            lost += weight
        elif ours == 0 and theirs != 0:
            lost += weight / 2
    return max(0.0, 1 - lost / total) if total else 0.0


def check_ranking_consistency(prediction: Mapping[str, Any]) -> float:
    """The share of neighbours in the ranking whose scores do not contradict it, from 0 to 1."""
    scores, ranking = _numbers(prediction.get("scores")), _ranking(prediction)
    if not ranking or sorted(ranking) != sorted(scores):
        return 0.0
    neighbours = list(zip(ranking, ranking[1:]))
    kept = sum(scores[better] >= scores[worse] for better, worse in neighbours)
    return kept / len(neighbours) if neighbours else 1.0


def _ranking(prediction: Mapping[str, Any]) -> List[str]:
    ranking = next((prediction[key] for key in _RANKINGS if key in prediction), None)
    return [name for name in ranking if isinstance(name, str)] if isinstance(ranking, list) else []


def format_reward(predict: str, ground_truth: str) -> float:
    """How well formed an output is, from 0 to 1: a fifth each for thoughts, JSON, its two keys, the names of the known
    verdict, and a ranking that agrees with the scores."""
    reward = 0.0
    opened, closed = "<think>" in predict, "</think>" in predict
    if opened and closed:
        thought = _THOUGHT.search(predict)
        reward += 0.2 if thought and len(thought[1].strip()) > 50 else 0.15
    elif opened or closed:
        reward += 0.05
    prediction, was_cut = safe_parse_json(extract_json_content(predict))
    if not prediction:
        return reward
    reward += 0.15 if was_cut else 0.2
    has_scores, has_ranking = "scores" in prediction, any(key in prediction for key in _RANKINGS)
    reward += 0.1 * has_scores + 0.1 * has_ranking
    known = safe_parse_json(ground_truth)[0].get("scores")
    scores = prediction.get("scores")
    if isinstance(known, dict) and known and isinstance(scores, dict):
        reward += 0.2 * len(known.keys() & scores.keys()) / len(known)
    if has_scores and has_ranking:
        reward += 0.2 * check_ranking_consistency(prediction)
    return min(1.0, reward)


def analyze_prediction_quality(predict: str, ground_truth: str) -> Dict[str, Any]:
    """What an output has and lacks, for each name and each pair."""
    prediction, was_cut = safe_parse_json(extract_json_content(predict))
    known = safe_parse_json(ground_truth)[0]
    ours, theirs = _numbers(prediction.get("scores")), _numbers(known.get("scores"))
    common = [name for name in ours if name in theirs]
    return {
        "has_thinking": "<think>" in predict and "</think>" in predict,
        "valid_json": bool(prediction),
        "used_bracket_extraction": was_cut,
        "has_required_keys": bool(prediction.get("scores")) and bool(_ranking(prediction)),
        "model_coverage": len(common) / len(theirs) if theirs else 0.0,
        "score_differences": {
            name: {"predicted": ours[name], "ground_truth": theirs[name], "difference": abs(ours[name] - theirs[name])}
            for name in common
        },
        "reversed_pairs": [
            {"pair": (a, b), "weight": abs(known_difference)}
            for a, b, difference, known_difference in _pairs(ours, theirs)
            if difference * known_difference < 0
        ],
    }
