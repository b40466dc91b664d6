"""What a deployment may choose: context values, read once and checked with clear errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from order_engine.settings import Settings, SettingsError

# What CloudWatch Logs accepts (AWS::Logs::LogGroup RetentionInDays).
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
                      3653)  # fmt: skip
# Whole-number settings of the paper market that a deployment may change, by their context name.
_PAPER = {
    "quoteDelayMs": "quote_delay_ms",
    "landingMinMs": "landing_min_ms",
    "landingMaxMs": "landing_max_ms",
    "marketSeed": "market_seed",
}
_DEFAULT_CONCURRENCY = 10
# The event source's MaximumConcurrency has these limits, and the reserved concurrency must be at least as high.
_MIN_CONCURRENCY, _MAX_CONCURRENCY = 2, 1000


class ConfigError(ValueError):
    """Context values that cannot be deployed. The message has one line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One deployment.

    Attributes:
        stage: its name; part of the stack's name.
        region: where it goes; None leaves that to the AWS profile.
        reserve: whether functions reserve concurrency. An account with a low limit cannot.
        concurrency: how many invocations execute orders at the same time.
        batch_size: messages per invocation of them.
        orders_per_minute, orders_burst: a user's limit of new orders.
        open_orders_per_user: how many limit orders that have not ended a user may have.
        reads_per_minute, reads_burst: a user's limit of reads, in units of one order's read.
        api_rate_limit, api_burst_limit: the throttle of each route that asks for a key, in requests per second, for all
            users together.
        public_rate_limit, public_burst_limit: the same for each route that anybody may call.
        log_retention_days: how long logs are kept.
        oidc_issuer, oidc_audience: tokens of this issuer for this audience are accepted; None for none.
        oidc_plain_issuer: an issuer whose users are named without it; None for none.
        alarm_email: who is told of alarms; None for nobody.
        retain: whether tables and their data outlive the stack.
        cors_origins: web origins that may call the API from a browser; the page at / needs none.
        architecture: the functions' processor.
        emulator_url: an emulator of AWS that the deployment is tried on; functions find their sockets there.
        bundle: False leaves third-party packages out of the layer, for running the handlers from the source tree.
        paper: settings of the paper market that differ from their defaults, by settings name.
    """

    stage: str
    region: str | None
    reserve: bool
    concurrency: int
    batch_size: int
    orders_per_minute: int
    open_orders_per_user: int
    orders_burst: int
    reads_per_minute: int
    reads_burst: int
    api_rate_limit: int
    api_burst_limit: int
    public_rate_limit: int
    public_burst_limit: int
    log_retention_days: int
    oidc_issuer: str | None
    oidc_audience: tuple[str, ...]
    oidc_plain_issuer: str | None
    alarm_email: str | None
    retain: bool
    cors_origins: tuple[str, ...]
    architecture: Literal["arm64", "x86_64"]
    emulator_url: str | None
    bundle: bool
    paper: Mapping[str, int | float]

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Config:
        """Read the CDK context. A value from the command line is text, one from cdk.json has its JSON type.

        Raises:
            ConfigError: names every value that is unknown or cannot be used, and what it may be.
        """
        reader = _Reader(context)
        stage = reader.text("stage", r"[a-z][a-z0-9-]{0,15}", "1 to 16 lower-case letters, digits and dashes", "dev")
        concurrency = reader.concurrency()
        issuer, audience = reader.oidc()
        config = cls(
            stage=stage or "dev",
            region=reader.text("region", r"[a-z]{2}(-[a-z]+){1,2}-[0-9]", "an AWS region such as eu-central-1", None),
            reserve=concurrency is not None,
            concurrency=concurrency or _DEFAULT_CONCURRENCY,
            batch_size=reader.whole("batchSize", 1, 10, 10),
            orders_per_minute=reader.whole("ordersPerMinute", 1, 60_000, 100),
            open_orders_per_user=reader.whole("openOrdersPerUser", 1, 10_000, 200),
            orders_burst=reader.whole("ordersBurst", 1, 60_000, 100),
            reads_per_minute=reader.whole("readsPerMinute", 1, 600_000, 1200),
            reads_burst=reader.whole("readsBurst", 1, 600_000, 600),
            api_rate_limit=reader.whole("apiRateLimit", 1, 10_000, 500),
            api_burst_limit=reader.whole("apiBurstLimit", 1, 5_000, 1000),
            public_rate_limit=reader.whole("publicRateLimit", 1, 10_000, 100),
            public_burst_limit=reader.whole("publicBurstLimit", 1, 5_000, 200),
            log_retention_days=reader.one_of_numbers("logRetentionDays", LOG_RETENTION_DAYS, 30),
            oidc_issuer=issuer,
            oidc_audience=audience,
            oidc_plain_issuer=reader.issuer("oidcPlainIssuer"),
            alarm_email=reader.text("alarmEmail", r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "an e-mail address", None),
            retain=reader.retain(stage or "dev"),
            cors_origins=reader.urls("corsOrigins"),
            architecture="x86_64" if reader.choice("architecture", ("arm64", "x86_64")) == "x86_64" else "arm64",
            emulator_url=reader.emulator(),
            bundle=reader.choice("bundle", ("true", "false")) == "true",
            paper=reader.paper(),
        )
        reader.finish()
        return config

    @property
    def stack_name(self) -> str:
        return f"order-engine-{self.stage}"


class _Reader:
    """Collects what is wrong instead of stopping at the first."""

    def __init__(self, context: Mapping[str, object]) -> None:
        self._context = context
        self._known: list[str] = []
        self._problems: list[str] = []

    def _get(self, name: str) -> str | None:
        """The value as text; None if it is absent or empty."""
        self._known.append(name)
        value = self._context.get(name)
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value).strip() or None
        self._problem(name, "text or a number", value)
        return None

    def _problem(self, name: str, expected: str, value: object) -> None:
        self._problems.append(f"{name} must be {expected}, not {value!r}.")

    def text(self, name: str, pattern: str, expected: str, default: str | None) -> str | None:
        value = self._get(name)
        if value is None:
            return default
        if not re.fullmatch(pattern, value):
            self._problem(name, expected, value)
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of some words; the first is the default."""
        value = self._get(name)
        if value is None:
            return allowed[0]
        if value not in allowed:
            self._problem(name, " or ".join(allowed), value)
        return value

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        value = self._get(name)
        if value is None:
            return default
        if re.fullmatch(r"[0-9]{1,9}", value) and low <= int(value) <= high:
            return int(value)
        self._problem(name, f"a whole number from {low} to {high}", value)
        return default

    def one_of_numbers(self, name: str, allowed: Sequence[int], default: int) -> int:
        value = self._get(name)
        if value is None:
            return default
        if value in map(str, allowed):
            return int(value)
        self._problem(name, f"one of {', '.join(map(str, allowed))}", value)
        return default

    def concurrency(self) -> int | None:
        """None where nothing is to be reserved."""
        name = "reservedConcurrency"
        value = self._get(name)
        if value is None:
            return _DEFAULT_CONCURRENCY
        if value in ("0", "none"):
            return None
        if re.fullmatch(r"[0-9]{1,4}", value) and _MIN_CONCURRENCY <= int(value) <= _MAX_CONCURRENCY:
            return int(value)
        expected = f"a whole number from {_MIN_CONCURRENCY} to {_MAX_CONCURRENCY}, or 0 or none to reserve nothing"
        self._problem(name, expected, value)
        return None

    def retain(self, stage: str) -> bool:
        value = self._get("removalPolicy")
        if value is None:
            return stage == "prod"
        if value not in ("retain", "destroy"):
            self._problem("removalPolicy", "retain or destroy", value)
        elif value == "destroy" and stage == "prod":
            self._problems.append("removalPolicy must be retain for the stage prod: its data outlives the stack.")
        return value != "destroy"

    def _listed(self, name: str) -> tuple[str, ...]:
        value = self._get(name)
        return tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()

    def urls(self, name: str) -> tuple[str, ...]:
        values = self._listed(name)
        for value in values:
            if not _is_url(value, ("https", "http")) or urlsplit(value).path:
                self._problem(name, "web origins such as https://desk.example.com, separated by commas", value)
        return values

    def emulator(self) -> str | None:
        value = self._get("emulatorUrl")
        if value is not None and (not _is_url(value, ("http",)) or urlsplit(value).path):
            self._problem("emulatorUrl", "an address such as http://127.0.0.1:4566", value)
        return value

    def issuer(self, name: str) -> str | None:
        value = self._get(name)
        if value is not None and not _is_url(value, ("https",)):
            self._problem(name, "an https address", value)
        return value

    def oidc(self) -> tuple[str | None, tuple[str, ...]]:
        issuer, audience = self.issuer("oidcIssuer"), self._listed("oidcAudience")
        if (issuer is None) != (not audience):
            self._problems.append(
                "oidcIssuer and oidcAudience must be given together: any issuer's token is not enough."
            )
        return issuer, audience

    def paper(self) -> dict[str, int | float]:
        """Settings of the paper market that differ from their defaults."""
        values: dict[str, int | float] = {}
        for name, setting in _PAPER.items():
            if self._get(name) is not None:
                values[setting] = self.whole(name, 0, 999_999_999, 0)
        share = self._get("failureRate")
        if share is not None:
            if re.fullmatch(r"0|1|[01]\.[0-9]{1,9}", share) and float(share) <= 1:
                values["failure_rate"] = float(share)
            else:
                self._problem("failureRate", "a number from 0 to 1", share)
        try:
            Settings.load({setting.upper(): str(value) for setting, value in values.items()})
        except SettingsError as error:
            self._problems.append(str(error))
        return values

    def finish(self) -> None:
        # The CDK's own keys contain a colon, a dash or an at sign.
        unknown = [key for key in self._context if re.fullmatch(r"[A-Za-z]+", key) and key not in self._known]
        for name in sorted(unknown):
            close = difflib.get_close_matches(name, self._known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" Known are {', '.join(dict.fromkeys(self._known))}."
            self._problems.append(f"{name} is not a context value of this app.{hint}")
        if self._problems:
            raise ConfigError("\n".join(self._problems))


def _is_url(value: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not parts.query and not parts.fragment
