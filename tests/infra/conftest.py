"""Synthesised templates, made once per session: the CDK takes its time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.template import Stack

type Synthesise = Callable[..., Stack]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """Synthesise with context values, without third-party packages."""
    from infra.synth import synth

    made: dict[str, Stack] = {}

    def make(**context: object) -> Stack:
        key = json.dumps(context, sort_keys=True)
        if key not in made:
            with pytest.MonkeyPatch.context() as patch:
                for name in ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION"):
                    patch.delenv(name, raising=False)
                path = synth(tmp_path_factory.mktemp("assembly"), {"bundle": False, **context})
            content: dict[str, Any] = json.loads(path.read_text())
            made[key] = Stack(content, path)
        return made[key]

    return make


@pytest.fixture(scope="session")
def stack(synthesise: Synthesise) -> Stack:
    """A deployment with the defaults of cdk.json."""
    return synthesise()


@pytest.fixture(scope="session")
def prod(synthesise: Synthesise) -> Stack:
    """A deployment with everything switched on."""
    return synthesise(
        stage="prod",
        oidcIssuer="https://id.example.com/",
        oidcAudience="order-engine",
        alarmEmail="ops@example.com",
        corsOrigins="https://desk.example.com",
        reservedConcurrency="none",
        logRetentionDays="365",
        region="eu-central-1",
    )
