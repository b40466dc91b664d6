"""Event filter patterns of event source mappings.

Source: "Filter rule syntax" in the Lambda developer guide. The operators not written here are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from local.cloud.template import Json, TemplateError

type Pattern = Mapping[str, Json]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_OPERATORS = frozenset({"exists", "prefix", "suffix", "anything-but", "equals-ignore-case", "numeric"})
_ABSENT = object()


def check(pattern: Pattern) -> None:
    """Raises TemplateError if the pattern uses what is not simulated."""
    for key, rule in pattern.items():
        if key == "$or":
            for alternative in rule:
                check(alternative)
        elif isinstance(rule, Mapping):
            check(rule)
        elif isinstance(rule, list):
            for item in rule:
                if isinstance(item, Mapping) and not (len(item) == 1 and set(item) <= _OPERATORS):
                    raise TemplateError(f"The filter rule {item!r} is not simulated.")
        else:
            raise TemplateError(f"The filter for {key!r} must be a list or an object, not {rule!r}.")


def matches(pattern: Pattern, event: Mapping[str, Json]) -> bool:
    """Whether an event has all that a pattern asks for."""
    for key, rule in pattern.items():
        if key == "$or":
            if not any(matches(alternative, event) for alternative in rule):
                return False
            continue
        value = event.get(key, _ABSENT)
        if isinstance(rule, Mapping):
            if not matches(rule, value if isinstance(value, Mapping) else {}):
                return False
        elif not _any_of(rule, value):
            return False
    return True


def _any_of(rules: Sequence[Json], value: object) -> bool:
    values = value if isinstance(value, list) and value else [value]
    return any(_accepts(rule, candidate) for rule in rules for candidate in values)


def _accepts(rule: Json, value: object) -> bool:
    if not isinstance(rule, Mapping):
        return value is not _ABSENT and bool(rule == value) and isinstance(rule, bool) == isinstance(value, bool)
    [(operator, operand)] = rule.items()
    match operator:
        case "exists":
            # Only leaves exist: an object is not a value.
            return (value is not _ABSENT and not isinstance(value, Mapping)) is bool(operand)
        case "prefix":
            return isinstance(value, str) and value.startswith(operand)
        case "suffix":
            return isinstance(value, str) and value.endswith(operand)
        case "equals-ignore-case":
            return isinstance(value, str) and value.casefold() == operand.casefold()
        case "anything-but":
            return value is not _ABSENT and not _excluded(operand, value)
        case _:
            return _numeric(operand, value)


def _excluded(operand: Json, value: object) -> bool:
    if isinstance(operand, Mapping):
        return _accepts(operand, value)
    return value in operand if isinstance(operand, list) else value == operand


def _numeric(operand: Sequence[Json], value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return all(_COMPARE[name](value, bound) for name, bound in zip(operand[::2], operand[1::2], strict=True))
