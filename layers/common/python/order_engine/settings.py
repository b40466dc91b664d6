"""The configuration of every function: the only reader of the environment.

The infrastructure takes the environment's names from here, so that the two cannot drift apart. A setting's
environment name is its field name in upper case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self

# By which CloudFront shows the key to the APIs, where it stands in front of them.
ORIGIN_KEY_HEADER = "x-origin-key"
# Where orders can be swapped.
MARKETS: tuple[str, ...] = ("paper", "solana")
# Bounded before they are read: text of a thousand digits, NaN or digits of another script are no settings.
_WHOLE = re.compile(r"-?[0-9]{1,12}")
_SHARE = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,18})?")
_SHOWN = 40
# The rate limiter counts in thousandths of a millisecond: a rate beyond this would have no interval at all.
_MOST = 1_000_000
_MOST_MICROLAMPORTS = 1_000_000_000
_MOST_SLIPPAGE_BPS = 5_000


class SettingsError(ValueError):
    """A setting is missing or cannot be read; names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaSettings:
    """What the live market needs; nobody else reads it. Addresses of nodes carry keys and are shown to nobody.

    Attributes:
        rpc_url: addresses of nodes that mean the same chain, separated by commas; asked in this order. Or
            ``secret:ARN`` of a secret that holds them.
        send_url: addresses that take transactions, written likewise; empty for those of ``rpc_url``.
        signer: who signs, as ``file:PATH`` of a key in the format of Solana's command line, ``secret:ARN`` of a secret
            that holds one, or ``address:ADDRESS`` of the wallet, for a function that never signs.
        pools: path of the JSON that lists pools and tokens.
        priority_fee_percentile: a priority fee is bid as high as this share of recent blocks took, percent.
        priority_fee_max_microlamports: and never higher; per compute unit.
        max_slippage_bps: no order may allow more against its quote, basis points: what an order gives away by it,
            somebody else takes, and it may be the one who ordered.
    """

    rpc_url: str = field(default="", repr=False)
    send_url: str = field(default="", repr=False)
    signer: str = ""
    pools: str = ""
    priority_fee_percentile: int = 75
    priority_fee_max_microlamports: int = 200_000
    max_slippage_bps: int = 500

    def __post_init__(self) -> None:
        if not 0 <= self.priority_fee_percentile <= 100:
            raise SettingsError("PRIORITY_FEE_PERCENTILE must be from 0 to 100.")
        if not 1 <= self.max_slippage_bps <= _MOST_SLIPPAGE_BPS:
            raise SettingsError(f"MAX_SLIPPAGE_BPS must be from 1 to {_MOST_SLIPPAGE_BPS}.")
        # Beyond this a swap of some 100,000 units would cost more than a tenth of a SOL.
        if not 0 <= self.priority_fee_max_microlamports <= _MOST_MICROLAMPORTS:
            raise SettingsError(f"PRIORITY_FEE_MAX_MICROLAMPORTS must be from 0 to {_MOST_MICROLAMPORTS}.")


def _check_negative(group: Any) -> None:
    for item in fields(group):
        value = getattr(group, item.name)
        if isinstance(value, int) and value < 0:
            raise SettingsError(f"{item.name.upper()} must not be negative.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSettings:
    """Where a deployment keeps and finds what it needs. The infrastructure fills these in.

    Attributes:
        orders_table, connections_table, accounts_table, keys_table: table names.
        orders_queue_url: the queue that starts executions.
        dead_letters_queue_url: what the order queue gave up on.
        quarantine_queue_url: what cannot be read is kept here.
        stream_failures_queue_url: records of the stream that cannot be read are kept here.
        websocket_url: the public address of the WebSocket stage (wss://…).
        connections_endpoint: the management address for pushing to sockets (https://…).
        ticket_secret_arn: the Secrets Manager secret that signs stream tickets.
        origin_key_arn: the secret that CloudFront shows with what it passes on; empty where nothing is in front.
    """

    orders_table: str = ""
    connections_table: str = ""
    accounts_table: str = ""
    keys_table: str = ""
    orders_queue_url: str = ""
    dead_letters_queue_url: str = ""
    quarantine_queue_url: str = ""
    stream_failures_queue_url: str = ""
    websocket_url: str = ""
    connections_endpoint: str = ""
    ticket_secret_arn: str = ""
    origin_key_arn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSettings:
    """The simulated market.

    Attributes:
        quote_delay_ms: how long the paper venues take to quote.
        landing_min_ms, landing_max_ms: how long the paper chain takes to land a transaction.
        failure_rate: the share of paper transactions that fail for no economic reason.
        market_seed: the paper market is a function of this and the time.
    """

    quote_delay_ms: int = 200
    landing_min_ms: int = 2000
    landing_max_ms: int = 3000
    failure_rate: float = 0.05
    market_seed: int = 1

    def __post_init__(self) -> None:
        if self.landing_min_ms > self.landing_max_ms:
            raise SettingsError("LANDING_MIN_MS must not be above LANDING_MAX_MS.")
        if not 0 <= self.failure_rate <= 1:
            raise SettingsError("FAILURE_RATE must be between 0 and 1.")
        _check_negative(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSettings:
    """How orders are routed, tried and looked after.

    Attributes:
        quote_deadline_ms: a venue later than this is left out.
        max_price_impact_bps: a route that moves the price more is refused.
        max_retries: attempts after the first.
        retry_base_ms: wait before the first retry; doubles with each.
        order_patience_ms: how long a market order may wait, from its acceptance, for an attempt to begin.
        lease_ms: how long a worker may hold an order; longer than a worker may run.
        landing_poll_ms: how often the chain is asked about a broadcast transaction.
        rebroadcast_ms: how often the same bytes are sent again while nothing is known.
        watch_beat_ms: how often resting orders are compared with the market.
        sweep_beat_ms: how often stranded orders are looked for.
    """

    quote_deadline_ms: int = 1500
    max_price_impact_bps: int = 1000
    max_retries: int = 3
    retry_base_ms: int = 1000
    order_patience_ms: int = 21_600_000
    lease_ms: int = 20_000
    landing_poll_ms: int = 100
    rebroadcast_ms: int = 2000
    watch_beat_ms: int = 2000
    sweep_beat_ms: int = 10_000

    def __post_init__(self) -> None:
        _check_negative(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What a user may have and do, unless a key says otherwise.

    Attributes:
        orders_per_minute, orders_burst: a user's limit of new orders.
        open_orders_per_user: how many limit orders that have not ended a user may have.
        reads_per_minute, reads_burst: a user's limit of reads, in units of one order's read.
        sockets_per_user: how many sockets a user may have open.
        orders_per_socket: how many orders that have not ended a socket may follow one by one.
    """

    orders_per_minute: int = 100
    orders_burst: int = 100
    open_orders_per_user: int = 200
    reads_per_minute: int = 1200
    reads_burst: int = 600
    sockets_per_user: int = 20
    orders_per_socket: int = 100

    def __post_init__(self) -> None:
        for name in ("orders_per_minute", "orders_burst", "reads_per_minute", "reads_burst"):
            if getattr(self, name) > _MOST:
                raise SettingsError(f"{name.upper()} must be at most {_MOST}.")
        _check_negative(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, in groups, with their defaults. Times are milliseconds, rates are shares of one.

    Attributes:
        stage: the deployment's name.
        market: where orders are swapped, one of ``MARKETS``.
        oidc_issuer: tokens of this issuer are accepted on the HTTP API; empty for none.
        oidc_plain_issuer: users of this issuer are named without it, as they once were; empty for none.
        order_retention_days: ended orders are deleted so many days after their end; 0 keeps them.
        resources, execution, limits: what every deployment has.
        paper, solana: of the two markets.
    """

    stage: str = "local"
    market: str = MARKETS[0]
    oidc_issuer: str = ""
    oidc_plain_issuer: str = ""
    order_retention_days: int = 0
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    paper: PaperSettings = field(default_factory=PaperSettings)
    solana: SolanaSettings = field(default_factory=SolanaSettings)

    def __post_init__(self) -> None:
        if self.market not in MARKETS:
            raise SettingsError(f"MARKET must be one of: {', '.join(MARKETS)}.")
        _check_negative(self)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings from the process's environment (or the mapping given).

        Raises:
            SettingsError: a value cannot be read as its type, or lies outside its range.
        """
        source = os.environ if environment is None else environment
        return _load(cls, source)


# Settings that belong together have a class of their own.
_GROUPS: Mapping[str, type[Any]] = {
    "resources": ResourceSettings,
    "execution": ExecutionSettings,
    "limits": LimitSettings,
    "paper": PaperSettings,
    "solana": SolanaSettings,
}


def _load[T](group: type[T], source: Mapping[str, str]) -> T:
    """One group of settings, with the groups within it."""
    values: dict[str, Any] = {}
    for item in fields(group):  # type: ignore[arg-type]
        if item.name in _GROUPS:
            values[item.name] = _load(_GROUPS[item.name], source)
            continue
        text = source.get(item.name.upper())
        if text is None or text == "":
            continue
        kind = type(item.default) if item.default is not MISSING else str
        name = item.name.upper()
        shown = repr(text[:_SHOWN])
        if kind is int:
            if not _WHOLE.fullmatch(text):
                raise SettingsError(f"{name} must be a whole number of at most 12 digits, not {shown}.")
            values[item.name] = int(text)
        elif kind is float:
            if not _SHARE.fullmatch(text):
                raise SettingsError(f"{name} must be a number in plain digits, such as 0.05, not {shown}.")
            values[item.name] = float(text)
        else:
            values[item.name] = text
    return group(**values)


def _all(group: type[Any]) -> Iterator[Field[Any]]:
    """Every single setting, of the groups too."""
    for item in fields(group):
        if item.name in _GROUPS:
            yield from _all(_GROUPS[item.name])
        else:
            yield item


def names() -> list[str]:
    """The environment names of all settings."""
    return [item.name.upper() for item in _all(Settings)]


def environment(**values: str | int | float) -> dict[str, str]:
    """Environment variables for the settings given by field name.

    Raises:
        SettingsError: no such setting.
    """
    known = {item.name for item in _all(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"Unknown settings: {', '.join(unknown)}.")
    return {name.upper(): str(value) for name, value in values.items()}
