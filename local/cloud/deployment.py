"""A template's tables, queues and secrets in this process, for handlers and adapters that are called by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import boto3

from local.cloud.account import ACCOUNT, CREDENTIALS, REGION
from local.cloud.environment import common_environment, process_environment
from local.cloud.moto_state import remembered
from local.cloud.provision import provision
from local.cloud.services import Services
from local.cloud.template import Function, Json, Template, TemplateError, functions


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was made.

    Attributes:
        functions: by name.
        apart: where functions have different values for a variable, so that no process can be all of them: what wins
            over each function's own. Else None.
    """

    template: Template
    services: Services
    functions: Mapping[str, Function]
    apart: Mapping[str, str] | None = None


@contextmanager
def deployed(body: Mapping[str, Json], **settings: str) -> Iterator[Deployment]:
    """The resources of a synthesised template, empty, with this process's environment as that of its functions.

    One at a time per process, since the environment and moto's state are its own. Calls of boto3's default session, and
    of sessions that are made inside the block, are answered in this process.

    Args:
        settings: variables that win over the template's.
    """
    services = Services()
    with process_environment({**CREDENTIALS, "AWS_PROFILE": None, "AWS_ENDPOINT_URL": None}):
        services.attach()
        session = boto3.DEFAULT_SESSION = _session()
        try:
            template = _provisioned(body, session)
            found = {function.name: function for function in functions(template)}
            try:
                shared, apart = common_environment(found), None
            except TemplateError:
                shared, apart = _agreed(found), settings
            with process_environment({**shared, **settings}):
                yield Deployment(template, services, found, apart)
        finally:
            services.detach()
            boto3.DEFAULT_SESSION = None


def _agreed(functions: Mapping[str, Function]) -> dict[str, str]:
    """Variables that no two functions give different values."""
    every = {pair for function in functions.values() for pair in function.environment.items()}
    names = [name for name, _ in every]
    return {name: value for name, value in every if names.count(name) == 1}


@cache
def _session() -> boto3.Session:
    """One for all: it knows the services' models by heart, which take longer to read than a client to make."""
    return boto3.Session(region_name=REGION)


def _provisioned(body: Mapping[str, Json], session: boto3.Session) -> Template:
    """Make what the template describes; from the second time on as copies of what was made first."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    if digest in _made:
        template, restore = _made[digest]
        restore()
        return template
    template = Template(body, account=ACCOUNT, region=REGION)
    provision(template, session)
    _made[digest] = template, remembered()
    return template


_made: dict[str, tuple[Template, Callable[[], None]]] = {}
