"""Deploy a stage: ``python -m infra.deploy STAGE [options of cdk deploy]``, behind ``make deploy``.

Looks at the account before anything is changed, says what would stop half-way, and asks before permissions widen. A
first deployment is not protected against removal, so that one that fails can be rolled back; once it holds, it is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from infra.cdk import cdk, config_of
from infra.config import Config, ConfigError
from infra.look import Look, Unreachable
from infra.preflight import Facts, Finding, check
from infra.tree import ROOT

type Run = Callable[..., int]


def approval() -> str:
    """When the command line asks: whenever permissions widen, except where nobody could answer."""
    return "never" if os.environ.get("CI") else "broadening"


def deploy(config: Config, facts: Facts, options: Sequence[str], run: Run) -> int:
    """Deploy once, or twice where a first deployment is to be protected afterwards; the exit code."""
    common = ["--outputs-file", str(ROOT / "build" / f"outputs-{config.stage}.json"), "-c", f"stage={config.stage}"]
    if not (facts.first and config.protect):
        return run("deploy", "--require-approval", approval(), *common, *options)
    code = run("deploy", "--require-approval", approval(), *common, *options, "-c", "protect=false")
    if code == 0:
        print("The first deployment holds: now it is protected against removal.", flush=True)
        # It changes nobody's permissions.
        code = run("deploy", "--require-approval", "never", *common, *options)
    return code


def report(findings: Sequence[Finding]) -> bool:
    """Say what was found; whether nothing stands in the way."""
    for finding in findings:
        print(f"{'STOP' if finding.stops else 'NOTE'}  {finding.what}\n      {finding.remedy}", file=sys.stderr)
    return not any(finding.stops for finding in findings)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage")
    parser.add_argument("--fresh", action="store_true", help="leave tables of a former stage aside")
    parser.add_argument("--check", action="store_true", help="look at the account and deploy nothing")
    parser.add_argument("--no-check", action="store_true", help="deploy without looking at the account")
    given, options = parser.parse_known_args(arguments)
    try:
        config = config_of(given.stage, options)
    except (ConfigError, argparse.ArgumentTypeError) as error:
        print(error, file=sys.stderr)
        return 1
    facts = Facts("", "", stack_status="unknown")
    if not given.no_check:
        try:
            facts = Look(config.region).facts(config)
        except Unreachable as error:
            print(f"AWS cannot be reached: {error}", file=sys.stderr)
            return 1
        if not report(check(config, facts, fresh=given.fresh)):
            return 1
        if given.check:
            print(f"Nothing stands in the way of {config.stack_name} in {facts.account}, {facts.region}.")
            return 0
    (ROOT / "build").mkdir(exist_ok=True)
    return deploy(config, facts, options, cdk)


if __name__ == "__main__":
    sys.exit(main())
