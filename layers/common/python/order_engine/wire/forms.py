"""In which form this release writes what others read, and up to which form it reads.

Functions of a deployment are updated in any order while orders are under way, and each of them may meet what a newer
one has written. So every item of an order, every message of the queue and every frame says in ``schema`` which form it
has; none means 1, the form of 0.1.0. A change that an old reader can ignore, such as a further field, is no new form.
Any other change is, and takes two releases: the first reads the new form and the next writes it.

A reader that meets a form above what it reads does not guess. It leaves it to a newer function: a message comes again,
a record of the stream does, and what nobody reads for long is set aside whole, to be redriven.
"""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain.errors import TooNew

# The name under which the number is written, everywhere.
SCHEMA = "schema"
# What says no number is of 0.1.0.
_UNSAID = 1


@dataclass(frozen=True, slots=True)
class Form:
    """What is written in the form ``writes`` and read up to the form ``reads``."""

    name: str
    writes: int
    reads: int

    def check(self, said: object) -> int:
        """The form of something that says this number; None where it says none.

        Raises:
            TooNew: it is above what this release reads.
            ValueError: it is no form's number.
        """
        if said is None:
            return _UNSAID
        if isinstance(said, bool) or not isinstance(said, int) or said < 1:
            raise ValueError("a form that is no number from 1")
        if said > self.reads:
            raise TooNew(self.name, said, self.reads)
        return said


# The next release that writes a new form finds here that the one before it reads it; a test compares with what was
# released (tests/released).
#
# An order's second form says of tokens that 0.1.0 does not know what they are. It is written of orders in such tokens
# only, which a market lists once every function of its deployment reads it.
WRITTEN_OUT = 2
ORDER = Form("order", writes=1, reads=WRITTEN_OUT)
MESSAGE = Form("message", writes=1, reads=1)
FRAME = Form("frame", writes=1, reads=1)
