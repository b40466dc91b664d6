"""What the paper market trades."""

from __future__ import annotations

from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT

TOKENS = TokenList((SOL, USDC, USDT, BONK, JUP, RAY))
