"""The venues, said once: whatever lists them, orders them, names them or colours them reads it here."""

from __future__ import annotations

from dataclasses import dataclass

RAYDIUM = "raydium"
METEORA = "meteora"


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """What is to be known of a venue without asking it.

    Attributes:
        name: as it appears in quotes, statistics and metrics.
        title: as a person reads it.
        light, dark: its colour on the page, on a light and on a dark ground.
        programs: the kinds of its pools.
    """

    name: str
    title: str
    light: str
    dark: str
    programs: tuple[str, ...]


# Ties between venues are broken in this order.
REGISTRY: tuple[VenueProfile, ...] = (
    VenueProfile(RAYDIUM, "Raydium", "#5b49d6", "#a496ff", ("cpmm", "clmm", "amm_v4")),
    VenueProfile(METEORA, "Meteora", "#b8500c", "#f39a5d", ("dlmm", "damm2")),
)
VENUES: tuple[str, ...] = tuple(venue.name for venue in REGISTRY)
_OF_PROGRAM = {program: venue.name for venue in REGISTRY for program in venue.programs}


def venue_of(program: str) -> str:
    """The venue that a kind of pools belongs to.

    Raises:
        KeyError: no venue has it.
    """
    return _OF_PROGRAM[program]
