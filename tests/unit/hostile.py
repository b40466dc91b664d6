"""Text that pretends to be a number, and a bound of the processor's time for whoever reads it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

# What reads ten characters and then works for minutes exceeds this a thousand times over; an honest reader takes
# milliseconds, on a busy machine too, since only this process's own time counts.
CPU_S = 0.5

_WORST = [
    *(
        "1e999999999",
        "1e-999999999",
        "-1e999999999",
        "0e999999999",
        "0.0e-999999999",
        "1E+999999999999999999",
        "0e1000000000000000000",
    ),
    *("1e400", "1e-400", "9e41", "1e-41", "1" + "0" * 5000, "9" * 4300, "9" * 4301, "0." + "0" * 5000 + "1"),
    *("-0", "-0.0", "+1", ".5", "5.", "1e", "e5", "0x10", "1_000", "1,5", "", " 1", "1 ", "1\n", "1\x00", "--1"),
    *("NaN", "sNaN", "nan123", "Infinity", "-Infinity", "inf", "true", "null", "one"),
    # Digits of other scripts, of which Python reads all but the last two.
    *("\uff11\uff12", "\u0661", "\u0967", "1\u0660", "\U0001d7d9", "\u00b2", "\u2167"),
]


def _digits() -> st.SearchStrategy[str]:
    short = st.text("0123456789", min_size=1, max_size=50)
    return short | st.builds(lambda digit, times: digit * times, st.sampled_from("0159"), st.integers(1, 6000))


def numerals() -> st.SearchStrategy[str]:
    """Numerals as JSON writes them, of any length and exponent, and things that look like them."""
    fraction = st.just("") | _digits().map(".{}".format)
    exponent = st.just("") | st.integers(-(10**19), 10**19).map("e{}".format)
    written = st.builds(
        lambda sign, *parts: sign + "".join(parts), st.sampled_from(["", "-"]), _digits(), fraction, exponent
    )
    return st.sampled_from(_WORST) | written | st.text(max_size=12)


@contextmanager
def little_work(limit_s: float = CPU_S) -> Iterator[None]:
    """Fail if the block takes more of the processor's time."""
    gc.disable()
    began = time.process_time()
    try:
        yield
    finally:
        took = time.process_time() - began
        gc.enable()
    assert took < limit_s, f"{took:.2f} s of processor time"
