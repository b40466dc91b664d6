"""Random instructions and budgets."""

from __future__ import annotations

from hypothesis import strategies as st
from solders.keypair import Keypair

from order_engine.venues.solana.messages import AccountMeta, ComputeBudget, Instruction

PAYER = Keypair.from_seed(bytes(range(32)))


KEYS = [Keypair.from_seed(bytes([n]) * 32) for n in range(24)]


NAMES = [str(key.pubkey()) for key in KEYS]


metas = st.builds(AccountMeta, st.sampled_from([*NAMES, str(PAYER.pubkey())]), st.booleans(), st.booleans())


instructions = st.builds(
    Instruction, st.sampled_from(NAMES[:6]), st.lists(metas, max_size=20).map(tuple), st.binary(max_size=200)
)


budgets = st.builds(ComputeBudget, st.integers(0, 1_400_000), st.integers(0, 5_000_000))
