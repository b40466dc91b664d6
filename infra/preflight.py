"""What would make a deployment fail half-way, said before it begins. Pure: from the facts of the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.config import Config
from infra.context import EDGE_REGION

# Of an account's concurrency, what cannot be reserved.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVABLE = 100
# With less, the functions that answer and those that execute stand in each other's way.
_COMFORTABLE = 100
# Service Quotas' name for "Concurrent executions" of Lambda.
_CONCURRENCY_QUOTA = "L-B99A9384"
# A stack that was never deployed with success: nothing in it has ever worked.
_NEVER_WORKED = frozenset({"REVIEW_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})


@dataclass(frozen=True, slots=True)
class Facts:
    """An account and region, as far as it could be looked at; None for what could not.

    Attributes:
        concurrency: how many functions may run at once.
        unreserved: how much of that is reserved for nobody.
        reserved_here: how much of it this stage's functions have reserved already.
        log_role: by which API Gateway writes logs; empty for none.
        stack_status: CloudFormation's; empty for no such stack.
        protected: whether the stack is protected against termination.
        kept_tables: tables that a former stack of the stage has left.
        issuer_problem: why the OIDC issuer's discovery document cannot be used; empty for no problem.
    """

    account: str
    region: str
    concurrency: int | None = None
    unreserved: int | None = None
    reserved_here: int = 0
    log_role: str | None = None
    stack_status: str | None = None
    protected: bool = False
    kept_tables: Sequence[str] = ()
    issuer_problem: str = ""

    @property
    def first(self) -> bool:
        """Whether the stage has never been deployed with success."""
        return self.stack_status is not None and (not self.stack_status or self.stack_status in _NEVER_WORKED)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands in the way (or only deserves a word), and what to do about it."""

    stops: bool
    what: str
    remedy: str


def check(config: Config, facts: Facts, *, fresh: bool = False) -> list[Finding]:
    """What stands in the way of deploying ``config`` there.

    Args:
        fresh: tables that a former stack has left may stay aside.
    """
    return [
        *_stack(config, facts),
        *_concurrency(config, facts),
        *_log_role(facts),
        *([] if fresh else _kept_tables(config, facts)),
        *_issuer(config, facts),
        *_firewall(config, facts),
        *_key(config, facts),
    ]


def _stack(config: Config, facts: Facts) -> Iterator[Finding]:
    status, name = facts.stack_status, config.stack_name
    if not status:
        return
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        yield Finding(True, f"The stack {name} is being changed ({status}).", "Wait until that is over.")
    elif status in _NEVER_WORKED and facts.protected:
        yield Finding(
            True,
            f"A first deployment of {name} failed ({status}), and the stack is protected against its removal.",
            f"aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {name} "
            f"--region {facts.region}, then deploy again. Tables that it left behind are empty.",
        )
    elif status == "UPDATE_ROLLBACK_FAILED":
        yield Finding(
            True,
            f"The last deployment of {name} could not be rolled back.",
            f"aws cloudformation continue-update-rollback --stack-name {name} --region {facts.region}",
        )
    elif status in ("ROLLBACK_FAILED", "DELETE_FAILED"):
        yield Finding(
            True,
            f"The stack {name} is left over ({status}).",
            f"aws cloudformation describe-stack-events --stack-name {name} says why; remove what is in the way, then "
            f"aws cloudformation delete-stack --stack-name {name} --region {facts.region}",
        )


def _concurrency(config: Config, facts: Facts) -> Iterator[Finding]:
    if facts.concurrency is None or facts.unreserved is None:
        return
    more = (
        f"aws service-quotas request-service-quota-increase --service-code lambda --quota-code {_CONCURRENCY_QUOTA} "
        f"--desired-value 1000 --region {facts.region}"
    )
    free = max(0, facts.unreserved + facts.reserved_here - UNRESERVABLE)
    if config.reserved_in_all > free:
        yield Finding(
            True,
            f"The account may run {facts.concurrency} functions at once, of which {free} can be reserved: AWS keeps "
            f"{UNRESERVABLE} free. This stage reserves {config.reserved_in_all}.",
            f"Deploy with -c reservedConcurrency=none for now, and ask for more: {more}",
        )
    elif config.reserved is None and facts.concurrency < _COMFORTABLE:
        yield Finding(
            False,
            f"The account may run only {facts.concurrency} functions at once, and all of them share that.",
            f"It works, slowly. Ask for more: {more}",
        )


def _log_role(facts: Facts) -> Iterator[Finding]:
    if facts.log_role == "":
        yield Finding(
            True,
            "API Gateway may not write logs in this account and region, and refuses a WebSocket stage that shall.",
            "make bootstrap, which makes a role for that once.",
        )


def _kept_tables(config: Config, facts: Facts) -> Iterator[Finding]:
    if facts.first and facts.kept_tables:
        yield Finding(
            True,
            f"A former stack {config.stack_name} has left {len(facts.kept_tables)} tables: "
            f"{', '.join(facts.kept_tables)}. A new stack would begin with empty ones beside them.",
            f"make adopt STAGE={config.stage} takes them over; make deploy STAGE={config.stage} FRESH=1 leaves them.",
        )


def _issuer(config: Config, facts: Facts) -> Iterator[Finding]:
    if config.oidc_issuer is not None and facts.issuer_problem:
        yield Finding(
            True,
            f"API Gateway reads the issuer's discovery document while it is deployed, and it cannot be read here: "
            f"{facts.issuer_problem}",
            f"Make {config.oidc_issuer.rstrip('/')}/.well-known/openid-configuration answer, or leave oidcIssuer out.",
        )


def _key(config: Config, facts: Facts) -> Iterator[Finding]:
    region = config.kms_key.split(":")[3] if config.kms_key is not None else facts.region
    if region != facts.region:
        yield Finding(
            True,
            f"The key of kmsKey is in {region}. This stage goes to {facts.region}, and services take local keys only.",
            f"Give a key in {facts.region}, or a replica there of a multi-Region key.",
        )


def _firewall(config: Config, facts: Facts) -> Iterator[Finding]:
    if config.edge is not None and config.edge.firewall is None and facts.region != EDGE_REGION:
        yield Finding(
            True,
            f"CloudFront takes firewalls of {EDGE_REGION} only, and this stage goes to {facts.region}.",
            f'make firewall STAGE={config.stage} CONTEXT="-c edge=true" prints an ARN; give it as -c edgeFirewall=….',
        )
