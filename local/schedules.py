"""Schedules: EventBridge rules and schedules that invoke functions."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass

from local.cloud.account import ACCOUNT, REGION
from local.cloud.template import Json, Template, TemplateError
from local.functions import Functions, InvocationError, Throttled

logger = logging.getLogger("local")

# AWS says only that a rate starts when the rule is made; a developer wants to see the first run soon.
_FIRST_AFTER_S = 1.0
# Lambda's default age of an asynchronous event, and how often it tries one again whose function is busy: from a second
# on, ever less often. https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
_LONGEST_PATIENCE_S = 6 * 3600.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0
_UNITS_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_EVERY_N_MINUTES = re.compile(r"cron\((?:\*|0/(\d+)|\*/(\d+)) \* \* \* \? \*\)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule and what it invokes.

    Attributes:
        input: the event, or None for EventBridge's own.
        patience_s: how long an invocation waits for a function that is busy, before it is dropped.
    """

    name: str
    function: str
    every_s: float
    input: Json
    patience_s: float


def schedules(template: Template) -> list[Schedule]:
    """The enabled schedules.

    Raises:
        TemplateError: an expression or a target is not simulated.
    """
    found = []
    for resource in template.of_type("AWS::Events::Rule", "AWS::Scheduler::Schedule"):
        properties = template.properties(resource)
        if properties.get("State", "ENABLED") != "ENABLED":
            continue
        if "ScheduleExpression" not in properties:
            raise TemplateError(f"{resource.logical_id}: rules on events are not simulated.")
        every_s = interval(properties["ScheduleExpression"])
        targets = properties["Targets"] if "Targets" in properties else [properties["Target"]]
        for target in targets:
            text = target.get("Input")
            event = json.loads(text) if text else None
            function = template.function_of(target["Arn"])
            found.append(Schedule(template.name(resource), function, every_s, event, _patience(template, function)))
    return found


def _patience(template: Template, function: str) -> float:
    """How old an asynchronous event for a function may become, in seconds."""
    for resource in template.of_type("AWS::Lambda::EventInvokeConfig"):
        properties = template.properties(resource)
        if properties["FunctionName"] == function and "MaximumEventAgeInSeconds" in properties:
            return float(properties["MaximumEventAgeInSeconds"])
    return _LONGEST_PATIENCE_S


def interval(expression: str) -> float:
    """Seconds between two runs of a schedule expression: ``rate(…)``, or a ``cron(…)`` of every so many minutes.

    Raises:
        TemplateError: another cron expression.
    """
    if rate := _RATE.fullmatch(expression):
        return int(rate[1]) * _UNITS_S[rate[2]]
    if cron := _EVERY_N_MINUTES.fullmatch(expression):
        return int(cron[1] or cron[2] or 1) * _UNITS_S["minute"]
    raise TemplateError(f"The schedule {expression} is not simulated.")


async def run(schedule: Schedule, functions: Functions, *, first_after_s: float = _FIRST_AFTER_S) -> None:
    """Invoke on schedule until cancelled. A run that takes longer than the interval does not delay the next."""
    due = time.monotonic() + first_after_s
    running: set[asyncio.Task[None]] = set()
    while True:
        await asyncio.sleep(max(0, due - time.monotonic()))
        due += schedule.every_s
        task = asyncio.create_task(_once(schedule, functions))
        running.add(task)
        task.add_done_callback(running.discard)


async def _once(schedule: Schedule, functions: Functions) -> None:
    event = schedule.input
    if event is None:
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT,
            "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "region": REGION,
            "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{schedule.name}"],
            "detail": {},
        }
    dropped_at, wait = time.monotonic() + schedule.patience_s, _FIRST_WAIT_S
    while True:
        try:
            await functions.invoke(schedule.function, event, wait=False)
        except InvocationError as error:
            logger.warning("the schedule %s failed: %s", schedule.name, error)
        except Throttled:
            if time.monotonic() + wait >= dropped_at:
                logger.info("the schedule %s found its function busy for too long", schedule.name)
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
            continue
        return
