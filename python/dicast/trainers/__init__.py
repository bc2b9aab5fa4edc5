"""What trainers call, each in a module of its name: TRL, veRL, OpenRLHF, slime, verifiers and prime-rl, ms-swift,
Tinker cookbook, NeMo RL, OpenPipe ART, Tunix, AReaL and SkyRL.

A listwise judge is better, and cheaper, on all responses to one prompt than on each alone. Where a trainer hands over a
batch, the responses of one prompt are judged together. Where it hands over single samples, they are held back until
their group is complete or a time is up: the modules say how. Groups that stay incomplete are counted and logged.

**A judgment that fails is never a number.** TRL's GRPO is given None, which it leaves out. The other trainers have no
word for it: the error is raised, or, with ``on_error=``, the number that you choose takes its place. An error that
would come again whatever the samples are, such as a judge that was closed, is raised everywhere.
"""

from ._groups import Rewards
from ._lazy import LazyJudge
from ._settings import Settings

__all__ = ["LazyJudge", "Rewards", "Settings"]
