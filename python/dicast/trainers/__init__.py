"""What trainers call: TRL, veRL, OpenRLHF and slime, each in a module of its name.

A listwise judge is better, and cheaper, on all responses to one prompt than on each alone. Where a trainer hands over a
batch, the responses of one prompt are judged together. Where it hands over single samples, they are judged alone, or,
with a group size, held back until their group is complete or a time is up: the modules say which.

**A judgment that fails is never a number.** TRL is given None, which it leaves out. The other trainers have no word for
it: the error is raised, or, with ``on_error=``, the number that you choose takes its place.
"""

from ._groups import Rewards
from ._settings import Settings

__all__ = ["Rewards", "Settings"]
