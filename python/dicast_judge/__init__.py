"""The judge of :mod:`dicast.trainers.verifiers` under a name of one word, as verifiers looks for plugins:
``id = "dicast-judge"``."""

from dicast.trainers.verifiers import DicastJudge

__all__ = ["DicastJudge"]
