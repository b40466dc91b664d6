"""The programs that this engine swaps on, by their address: what owns a pool's account tells how to read it."""

from __future__ import annotations

from collections.abc import Mapping

from order_engine.venues.solana.programs.amm_v4 import AmmV4
from order_engine.venues.solana.programs.clmm import Clmm
from order_engine.venues.solana.programs.cpmm import Cpmm
from order_engine.venues.solana.programs.damm_v2 import DammV2
from order_engine.venues.solana.programs.dlmm import Dlmm
from order_engine.venues.solana.programs.program import Program

PROGRAMS: Mapping[str, Program] = {program.address: program for program in (Cpmm(), Clmm(), AmmV4(), Dlmm(), DammV2())}
