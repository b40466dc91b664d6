"""What a deployment may choose: context values, read once and checked with clear errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infra.context import ConfigError, EdgeConfig, LiveConfig, Reader

__all__ = ["LOG_RETENTION_DAYS", "Config", "ConfigError"]

# What CloudWatch Logs accepts (AWS::Logs::LogGroup RetentionInDays).
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
                      3653)  # fmt: skip

_KMS_KEY = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One deployment.

    Attributes:
        stage: its name; part of the stack's name.
        region: where it goes; None leaves that to the AWS profile.
        reserved: concurrency that the workers reserve; None where nothing is reserved, in an account with a low limit.
        concurrency: how many invocations execute orders at the same time.
        batch_size: messages per invocation of them.
        orders_per_minute, orders_burst: a user's limit of new orders.
        open_orders_per_user: how many limit orders that have not ended a user may have.
        sockets_per_user: how many sockets a user may have open; a key may have its own limit.
        order_patience_ms: how long a market order may wait for an attempt to begin.
        reads_per_minute, reads_burst: a user's limit of reads, in units of one order's read.
        api_rate_limit, api_burst_limit: the throttle of each route that asks for a key, in requests per second, for all
            users together.
        public_rate_limit, public_burst_limit: the same for each route that anybody may call.
        log_retention_days: how long logs are kept.
        oidc_issuer, oidc_audience: tokens of this issuer for this audience are accepted; None for none.
        oidc_plain_issuer: an issuer whose users are named without it; None for none.
        alarm_email: who is told of alarms; None for nobody.
        monthly_budget: dollars a month, of whose use the same address is told; None for no budget.
        cost_center: a tag of everything; None for none.
        order_retention_days: ended orders are deleted so many days after their end; 0 keeps them.
        kms_key: the ARN of the key that everything at rest is encrypted with; None for AWS's own keys.
        dashboard: whether there is one; an account's first three are free.
        snap_start: whether the HTTP function starts from a snapshot, whose cache is paid by the hour.
        tracing: whether X-Ray samples invocations.
        retain: whether tables and their data outlive the stack.
        protect: whether stack and tables are protected against deletion. A first deployment must be able to roll back.
        cors_origins: web origins that may call the API from a browser; the page at / needs none.
        edge: what stands in front of both APIs; None for nothing.
        architecture: the functions' processor.
        emulator_url: an emulator of AWS that the deployment is tried on; functions find their sockets there.
        bundle: False leaves third-party packages out of the layer, for running the handlers from the source tree.
        live: what swapping on Solana needs; None for the paper market.
        paper: settings of the paper market that differ from their defaults, by settings name.
    """

    stage: str
    region: str | None
    reserved: int | None
    concurrency: int
    batch_size: int
    orders_per_minute: int
    open_orders_per_user: int
    order_patience_ms: int
    orders_burst: int
    sockets_per_user: int
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
    dashboard: bool
    snap_start: bool
    tracing: bool
    monthly_budget: int | None
    cost_center: str | None
    order_retention_days: int
    kms_key: str | None
    retain: bool
    protect: bool
    cors_origins: tuple[str, ...]
    edge: EdgeConfig | None
    architecture: Literal["arm64", "x86_64"]
    emulator_url: str | None
    bundle: bool
    live: LiveConfig | None
    paper: Mapping[str, int | float]

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Config:
        """Read the CDK context. A value from the command line is text, one from cdk.json has its JSON type.

        Raises:
            ConfigError: names every value that is unknown or cannot be used, and what it may be.
        """
        reader = Reader(context)
        stage = reader.text("stage", r"[a-z][a-z0-9-]{0,15}", "1 to 16 lower-case letters, digits and dashes", "dev")
        reserved, concurrency = reader.concurrency()
        retain = reader.retain(stage or "dev")
        issuer, audience = reader.oidc()
        config = cls(
            stage=stage or "dev",
            region=reader.text("region", r"[a-z]{2}(-[a-z]+){1,2}-[0-9]", "an AWS region such as eu-central-1", None),
            reserved=reserved,
            concurrency=concurrency,
            batch_size=reader.whole("batchSize", 1, 10, 10),
            orders_per_minute=reader.whole("ordersPerMinute", 1, 60_000, 100),
            open_orders_per_user=reader.whole("openOrdersPerUser", 1, 10_000, 200),
            order_patience_ms=60_000 * reader.whole("orderPatienceMinutes", 1, 20_160, 360),
            orders_burst=reader.whole("ordersBurst", 1, 60_000, 100),
            sockets_per_user=reader.whole("socketsPerUser", 1, 1_000, 20),
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
            monthly_budget=reader.whole("monthlyBudget", 1, 1_000_000, 0) or None,
            cost_center=reader.text("costCenter", r"[\w .:/=+@-]{1,128}", "a tag's value, 1 to 128 characters", None),
            order_retention_days=reader.whole("orderRetentionDays", 0, 3653, 0),
            kms_key=reader.text("kmsKey", _KMS_KEY, "the ARN of a KMS key (…:key/…), not of an alias", None),
            dashboard=reader.flag("dashboard", True),
            snap_start=reader.flag("snapStart", True),
            tracing=reader.flag("tracing", True),
            retain=retain,
            protect=reader.flag("protect", retain),
            cors_origins=reader.urls("corsOrigins"),
            edge=reader.edge(),
            architecture="x86_64" if reader.choice("architecture", ("arm64", "x86_64")) == "x86_64" else "arm64",
            emulator_url=reader.emulator(),
            bundle=reader.flag("bundle", True),
            live=reader.live(),
            paper=reader.paper(),
        )
        reader.needs("monthlyBudget", "alarmEmail", "Nobody would be told")
        reader.finish()
        return config

    @property
    def stack_name(self) -> str:
        return f"order-engine-{self.stage}"

    @property
    def reserved_in_all(self) -> int:
        """Concurrent executions that the stage takes out of the account's pool: the workers' and the sweeper's."""
        return 0 if self.reserved is None else self.reserved + 1
