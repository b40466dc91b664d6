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

from botocore.exceptions import BotoCoreError, ClientError

from infra.cdk import cdk, config_of
from infra.config import ConfigError
from infra.look import Look, Unreachable
from infra.synth import synth
from infra.tree import ROOT, context_value


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


def unlike(template: Mapping[str, Any], chosen: Mapping[str, Mapping[str, str]], dynamodb: Any) -> list[str]:
    """What the tables lack of what the template says, each as the command that adds it.

    An import takes the template's word for it, and no later deployment would add what the template has had before.
    A table that was restored from a backup has neither stream nor TTL nor point-in-time recovery:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_RestoreTableToPointInTime.html

    Args:
        chosen: as ``mapping`` returns it.
        dynamodb: a client.
    """
    wanting: list[str] = []
    for logical_id, found in chosen.items():
        name, wanted = found["TableName"], template["Resources"][logical_id]["Properties"]
        of_table = f"--table-name {name}"
        view = wanted.get("StreamSpecification", {}).get("StreamViewType")
        stream = dynamodb.describe_table(TableName=name)["Table"].get("StreamSpecification", {})
        if view is not None and stream.get("StreamViewType") != view:
            wanting.append(
                f"aws dynamodb update-table {of_table} --stream-specification StreamEnabled=true,StreamViewType={view}"
            )
        attribute = wanted.get("TimeToLiveSpecification", {}).get("AttributeName")
        ends = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if attribute is not None and ends.get("AttributeName") != attribute:
            wanting.append(
                f"aws dynamodb update-time-to-live {of_table} "
                f"--time-to-live-specification Enabled=true,AttributeName={attribute}"
            )
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
            wanting.append(
                f"aws dynamodb update-continuous-backups {of_table} "
                "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
            )
    return wanting


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
        wanting = unlike(template, wanted, look.client("dynamodb"))
    except (ConfigError, argparse.ArgumentTypeError, Ambiguous) as error:
        print(error, file=sys.stderr)
        return 1
    except Unreachable as error:
        print(f"AWS cannot be reached: {error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"The tables cannot be looked at: {error}", file=sys.stderr)
        return 1
    if wanting:
        print("The tables lack what the stack says of them, and an import adds nothing. First:", file=sys.stderr)
        print("\n".join(f"{command} --region {look.region}" for command in wanting), file=sys.stderr)
        return 1
    path = ROOT / "build" / f"adopt-{given.stage}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(wanted, indent=2))
    for table in wanted.values():
        print(f"takes over {table['TableName']}")
    # As unprotected: the next deployment changes only what differs from what was imported, and so protects them.
    stage = ("-c", f"stage={given.stage}", *options, "-c", "protect=false")
    code = cdk("import", config.stack_name, "--resource-mapping", str(path), *stage)
    if code == 0:
        print(f"The stack holds its tables again. The rest: make deploy STAGE={given.stage}")
    return code


if __name__ == "__main__":
    sys.exit(main())
