"""Whether a request came through CloudFront, and so past its firewall."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from order_engine.domain.errors import EngineError
from order_engine.engine.accounts import RotatedKeys


class EdgeRequired(EngineError):
    """The request reached an API by its own address, which is for CloudFront alone."""

    code = "edge_required"


async def check_origin_key(shown: str | None, keys: RotatedKeys | None) -> None:
    """Let through what shows the key, current or former.

    Args:
        shown: what came in the header; None for nothing.
        keys: None where nothing stands in front of the APIs, and nothing is asked for.

    Raises:
        EdgeRequired: it shows none, or another.
    """
    if keys is None:
        return
    if shown is not None and (_is_one_of(shown, await keys.accepted()) or _is_one_of(shown, await keys.reread())):
        return
    raise EdgeRequired("Use the service's own address: requests are not taken here.")


def _is_one_of(shown: str, keys: Sequence[str]) -> bool:
    """Compared in a time that tells nothing of how much of it was right."""
    given = shown.encode("utf-8", "replace")
    found = [hmac.compare_digest(given, key.encode()) for key in keys]
    return any(found)
