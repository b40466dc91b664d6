"""Findings of cdk-nag that are meant to be so, each with its reason, beside what causes it."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept one finding (``Rule`` or ``Rule[Finding]``) on a construct and what is below it."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))
