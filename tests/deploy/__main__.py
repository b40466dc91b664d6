"""``python -m tests.deploy``: prove the deployment, step by step."""

from __future__ import annotations

import sys

from tests.deploy.proof import main

if __name__ == "__main__":
    sys.exit(main())
