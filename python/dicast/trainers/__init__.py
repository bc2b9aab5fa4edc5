"""Hooks for trainers, one module for each: TRL, veRL, OpenRLHF, slime, verifiers and prime-rl, ms-swift,
Tinker cookbook, NeMo RL, OpenPipe ART, Tunix, AReaL and SkyRL.

A listwise judge is better, and cheaper, on all responses to one prompt than on each alone. If a trainer hands over a
batch, the responses of one prompt are judged together. If it hands over single samples, they wait until their group is
complete or a time limit is reached: the modules say how. Groups that stay incomplete are counted and logged.

**A judgment that fails is never a number.** TRL's GRPO gets None, which it leaves out. The other trainers cannot
express this: the error is raised, or, with ``on_error=``, the number that you choose is used instead. An error that
would come again whatever the samples are, such as a judge that was closed, is raised everywhere.
"""

from ._groups import Rewards
from ._lazy import LazyJudge
from ._settings import Settings

__all__ = ["LazyJudge", "Rewards", "Settings"]
