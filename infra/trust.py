"""The roots that the functions trust: AWS's own certificate authority's, of the hundred-odd that botocore brings.

botocore reads its whole file of roots for every connection that it opens, 258 KB each time. The functions talk to AWS
alone. Which roots AWS's endpoints may end at, and that a trust store of one's own should hold all five, is said at
https://www.amazontrust.com/repository/ (read in November 2026; the fingerprints are listed there).
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

# SHA-256 of the certificate, by its common name.
ROOTS: Mapping[str, str] = {
    "Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
    "Amazon Root CA 2": "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
    "Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    "Amazon Root CA 4": "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
    "Starfield Services Root Certificate Authority - G2": (
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5"
    ),
}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class RootMissing(RuntimeError):
    """A root that AWS's endpoints may end at is not in the store."""


def cut(store: Path, roots: Mapping[str, str] = ROOTS) -> None:
    """Leave only these roots in a store of PEM certificates.

    Raises:
        RootMissing: one of them is not in it, and calls to AWS could fail.
    """
    certificates = _CERTIFICATE.findall(store.read_text(encoding="utf-8"))
    by_fingerprint = {
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest(): certificate for certificate in certificates
    }
    missing = [name for name, fingerprint in roots.items() if fingerprint not in by_fingerprint]
    if missing:
        raise RootMissing(f"{store} does not have {', '.join(missing)}: see {__name__} for what AWS needs.")
    kept = [f"# {name}\n{by_fingerprint[fingerprint]}\n" for name, fingerprint in roots.items()]
    # Never into the file itself: an installer may have linked it to the copy that everybody else reads.
    new = store.with_name(f".{store.name}.new")
    new.write_text("\n".join(kept), encoding="utf-8")
    new.replace(store)
