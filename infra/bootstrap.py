"""Prepare an account and region, once: ``python -m infra.bootstrap STAGE [options of cdk]``, behind ``make bootstrap``.

The CDK's own bootstrap, and a role by which API Gateway writes logs. Where the account has one, it is left as it is;
``--log-role ARN`` takes a given one, and otherwise a stack of its own makes it (``infra.account``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from infra.account import STACK
from infra.cdk import cdk, config_of
from infra.config import ConfigError
from infra.look import Look, Unreachable


def allow_logs(known: str, given: str, options: Sequence[str], run: Callable[..., int]) -> int:
    """See to it that API Gateway may write logs; the exit code.

    Args:
        known: the role that the account has; empty for none.
        given: the role that it shall have; empty for any.
    """
    if known and given in ("", known):
        print(f"API Gateway writes logs by {known}: left as it is.", flush=True)
        return 0
    role = ("-c", f"apiLogRole={given}") if given else ()
    application = f"{sys.executable} -m infra.account"
    return run("deploy", STACK, "--app", application, "--require-approval", "never", *role, *options)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bootstrap", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage")
    parser.add_argument("--log-role", default="", metavar="ARN", help="take this role instead of making one")
    given, options = parser.parse_known_args(arguments)
    try:
        look = Look(config_of(given.stage, options).region)
        known = look.log_role()
    except (ConfigError, argparse.ArgumentTypeError) as error:
        print(error, file=sys.stderr)
        return 1
    except Unreachable as error:
        print(f"AWS cannot be reached: {error}", file=sys.stderr)
        return 1
    # What only names the stack needs no layer.
    code = cdk("bootstrap", "-c", f"stage={given.stage}", "-c", "bundle=false", *options)
    return code or allow_logs(known, given.log_role, options, cdk)


if __name__ == "__main__":
    sys.exit(main())
