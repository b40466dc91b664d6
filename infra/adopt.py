"""Take over the tables that a removed stage has left: ``python -m infra.adopt STAGE [options]``, behind ``make adopt``.

A stage that keeps its data leaves its tables when its stack goes, and a new stack would begin with empty ones beside
them. This makes the new stack of the old tables, by CloudFormation's resource import; ``make deploy`` adds the rest.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources.html
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.cdk import cdk, config_of
from infra.config import ConfigError
from infra.look import Look, Unreachable
from infra.synth import ROOT, context_value, synth


class Ambiguous(Exception):
    """The tables found are not one for each of the stack's. Says which."""


def mapping(template: Mapping[str, Any], found: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """What `cdk import` wants to know: the table's name, by logical id.

    Args:
        template: of the stack that is to be.
        found: names of tables, with the parts that they were.

    Raises:
        Ambiguous: a part has none, or several.
    """
    by_part: dict[str, list[str]] = {}
    for name, part in found:
        by_part.setdefault(part, []).append(name)
    chosen: dict[str, dict[str, str]] = {}
    for logical_id, item in template["Resources"].items():
        if item["Type"] != "AWS::DynamoDB::Table":
            continue
        part = next(tag["Value"] for tag in item["Properties"]["Tags"] if tag["Key"] == "part")
        names = sorted(by_part.get(part, []))
        if len(names) != 1:
            kept = ", ".join(names) or "none"
            raise Ambiguous(f"There must be one table {part} to take over, and there is {kept}: name it by --table.")
        chosen[logical_id] = {"TableName": names[0]}
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.adopt", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage")
    parser.add_argument(
        "--table", action="append", default=[], metavar="PART=NAME", help="take this table for a part, such as Orders"
    )
    given, options = parser.parse_known_args(arguments)
    try:
        config = config_of(given.stage, options)
        named = dict(map(context_value, given.table))
        look = Look(config.region)
        status, _ = look.stack(config.stack_name)
        if status:
            print(f"There is a stack {config.stack_name} already ({status}).", file=sys.stderr)
            return 1
        found = [(name, part) for name, part in look.kept_tables(config.stage) if part not in named]
        found += [(name, part) for part, name in named.items()]
        with tempfile.TemporaryDirectory() as directory:
            context = {"stage": given.stage, "bundle": False}
            template = json.loads(synth(Path(directory), context).read_text())
        wanted = mapping(template, found)
    except (ConfigError, argparse.ArgumentTypeError, Ambiguous) as error:
        print(error, file=sys.stderr)
        return 1
    except Unreachable as error:
        print(f"AWS cannot be reached: {error}", file=sys.stderr)
        return 1
    path = ROOT / "build" / f"adopt-{given.stage}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(wanted, indent=2))
    for table in wanted.values():
        print(f"takes over {table['TableName']}")
    code = cdk("import", config.stack_name, "--resource-mapping", str(path), "-c", f"stage={given.stage}", *options)
    if code == 0:
        print(f"The stack holds its tables again. The rest: make deploy STAGE={given.stage}")
    return code


if __name__ == "__main__":
    sys.exit(main())
