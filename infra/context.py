"""Reading the CDK's context: values checked one by one, everything that is wrong said at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from order_engine.settings import MARKETS, Settings, SettingsError, SolanaSettings

# Whole-number settings of the paper market that a deployment may change, by their context name.
_PAPER = {
    "quoteDelayMs": "quote_delay_ms",
    "landingMinMs": "landing_min_ms",
    "landingMaxMs": "landing_max_ms",
    "marketSeed": "market_seed",
}
_DEFAULT_CONCURRENCY = 10
# An event source's MaximumConcurrency has these limits, and the reserved concurrency must be at least as high.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
_MIN_CONCURRENCY, _MAX_CONCURRENCY = 2, 1000

_SECRETS = r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]{1,512}"

# What CloudFront uses lies in this region, wherever the stage is.
EDGE_REGION = "us-east-1"


class ConfigError(ValueError):
    """Context values that cannot be deployed. The message has one line for each."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """CloudFront and a firewall in front of both APIs.

    Attributes:
        rate: requests that one address may send in five minutes.
        domain, certificate: a name of one's own and the ARN of its certificate; None for CloudFront's name.
        firewall: ARN of the firewall, where the stage is not in the region in which it must be.
        key_version: version of the origin key that CloudFront sends; None for the current one.
    """

    rate: int
    domain: str | None
    certificate: str | None
    firewall: str | None
    key_version: str | None


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Swapping on Solana.

    Attributes:
        pools: the file that lists pools and tokens.
        nodes_secret, send_secret: ARNs of the secrets with addresses to read from and to send to; None to send to the
            former.
        wallet_secret: ARN of the secret with the wallet's key.
        wallet: its address.
        priority_fee_percentile, priority_fee_max_microlamports: what is bid for being preferred.
        max_slippage_bps: the most that an order may allow.
    """

    pools: Path
    nodes_secret: str
    send_secret: str | None
    wallet_secret: str
    wallet: str
    priority_fee_percentile: int
    priority_fee_max_microlamports: int
    max_slippage_bps: int


class Reader:
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

    def concurrency(self) -> tuple[int | None, int]:
        """How much the workers reserve (None for nothing), and how many of them the queue may start."""
        name = "reservedConcurrency"
        value = self._get(name)
        reserved: int | None = _DEFAULT_CONCURRENCY
        if value in ("0", "none"):
            reserved = None
        elif value is not None:
            if re.fullmatch(r"[0-9]{1,4}", value) and _MIN_CONCURRENCY <= int(value) <= _MAX_CONCURRENCY:
                reserved = int(value)
            else:
                expected = (
                    f"a whole number from {_MIN_CONCURRENCY} to {_MAX_CONCURRENCY}, or 0 or none to reserve nothing"
                )
                self._problem(name, expected, value)
        # What nothing is reserved for is taken from what every other function needs too.
        default = _MIN_CONCURRENCY if reserved is None else reserved
        started = self.whole("queueConcurrency", _MIN_CONCURRENCY, _MAX_CONCURRENCY, default)
        if reserved is not None and started > reserved:
            self._problems.append(f"queueConcurrency must not be above reservedConcurrency, {reserved}.")
        return reserved, started

    def retain(self, stage: str) -> bool:
        value = self._get("removalPolicy")
        if value is None:
            return stage == "prod"
        if value not in ("retain", "destroy"):
            self._problem("removalPolicy", "retain or destroy", value)
        elif value == "destroy" and stage == "prod":
            self._problems.append("removalPolicy must be retain for the stage prod: its data outlives the stack.")
        return value != "destroy"

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            self._problem(name, "true or false", value)
        return value == "true"

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

    def edge(self) -> EdgeConfig | None:
        """What stands in front of both APIs; None for nothing."""
        wanted = self.flag("edge", False)
        names = ("edgeRate", "edgeDomain", "edgeCertificate", "edgeFirewall", "edgeKeyVersion")
        given = [name for name in names if self._get(name) is not None]
        # WAF counts over five minutes, and takes ten requests at least.
        rate = self.whole("edgeRate", 10, 100_000_000, 10_000)
        domain = self.text("edgeDomain", r"([a-z0-9-]{1,63}\.)+[a-z]{2,63}", "a name such as orders.example.com", None)
        certificate = self.text(
            "edgeCertificate",
            rf"arn:aws:acm:{EDGE_REGION}:[0-9]{{12}}:certificate/[0-9a-f-]+",
            f"the ARN of a certificate in {EDGE_REGION}, where CloudFront looks for it",
            None,
        )
        firewall = self.text(
            "edgeFirewall",
            rf"arn:aws:wafv2:{EDGE_REGION}:[0-9]{{12}}:global/webacl/[\w-]+/[0-9a-f-]+",
            "the ARN that make firewall prints",
            None,
        )
        key_version = self.text("edgeKeyVersion", r"[\w-]{32,64}", "the VersionId of the origin key", None)
        if (domain is None) != (certificate is None):
            self._problems.append("edgeDomain and edgeCertificate must be given together.")
        if not wanted:
            self._problems += [f"{name} is for edge=true only." for name in given]
            return None
        if self._get("emulatorUrl") is not None:
            self._problems.append("edge must be false on an emulator, which has no CloudFront.")
        return EdgeConfig(rate, domain, certificate, firewall, key_version)

    def live(self) -> LiveConfig | None:
        """What swapping on Solana needs; None for the paper market."""
        wanted = self.choice("market", MARKETS) == "solana"
        names = ("pools", "nodesSecret", "walletSecret", "wallet")
        more = ("sendSecret", "priorityFeePercentile", "priorityFeeMaxMicrolamports", "maxSlippageBps")
        given = {name: self._get(name) for name in (*names, *more)}
        nodes, send, key = (self._secret_arn(name) for name in ("nodesSecret", "sendSecret", "walletSecret"))
        wallet = self.text("wallet", r"[1-9A-HJ-NP-Za-km-z]{32,44}", "the address of a wallet", None)
        defaults = SolanaSettings()
        percentile = self.whole("priorityFeePercentile", 0, 100, defaults.priority_fee_percentile)
        most = self.whole("priorityFeeMaxMicrolamports", 0, 999_999_999, defaults.priority_fee_max_microlamports)
        slippage = self.whole("maxSlippageBps", 1, 5000, defaults.max_slippage_bps)
        if not wanted:
            self._problems += [f"{name} is for market=solana only." for name, value in given.items() if value]
            return None
        missing = [name for name in names if given[name] is None]
        if missing:
            self._problems.append(f"market=solana needs {', '.join(missing)} (docs/live.md).")
        pools = Path(given["pools"] or "")
        if given["pools"] is not None and not _lists_pools(pools):
            self._problem("pools", 'a JSON file of the form {"pools": […], "tokens": […]}', given["pools"])
        return LiveConfig(pools, nodes or "", send, key or "", wallet or "", percentile, most, slippage)

    def _secret_arn(self, name: str) -> str | None:
        value = self._get(name)
        if value is not None and not re.fullmatch(_SECRETS, value):
            # What was given instead may be the secret itself, and a build's log is no place for it.
            self._problems.append(f"{name} must be the ARN of a secret of Secrets Manager, and not what it holds.")
        return value

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

    def needs(self, name: str, other: str, otherwise: str) -> None:
        """Refuse a value that is given without another that it needs."""
        if self._get(name) is not None and self._get(other) is None:
            self._problems.append(f"{name} needs {other}. {otherwise}.")

    def finish(self) -> None:
        # The CDK's own keys contain a colon, a dash or an at sign.
        unknown = [key for key in self._context if re.fullmatch(r"[A-Za-z]+", key) and key not in self._known]
        for name in sorted(unknown):
            close = difflib.get_close_matches(name, self._known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" Known are {', '.join(dict.fromkeys(self._known))}."
            self._problems.append(f"{name} is not a context value of this app.{hint}")
        if self._problems:
            raise ConfigError("\n".join(self._problems))


def _lists_pools(path: Path) -> bool:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and all(isinstance(said.get(name), list) for name in ("pools", "tokens"))


def _is_url(value: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not parts.query and not parts.fragment
