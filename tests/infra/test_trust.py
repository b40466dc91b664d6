"""The functions trust AWS's own certificate authority, and nobody else."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from infra import trust
from tests.infra.authority import Issued, https_server, issue

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
ALL = Path(botocore.__file__).with_name("cacert.pem")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    copy = tmp_path / "cacert.pem"
    copy.write_bytes(ALL.read_bytes())
    return copy


def certificates(store: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(store.read_bytes())


def name_of(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert isinstance(found, str)
    return found


def test_the_roots_of_awss_own_authority_are_kept_and_no_other(store: Path) -> None:
    assert len(ssl.create_default_context(cafile=store).get_ca_certs()) > 100

    trust.cut(store)

    kept = certificates(store)
    assert {name_of(certificate): certificate.fingerprint(hashes.SHA256()).hex() for certificate in kept} == trust.ROOTS
    for certificate in kept:
        certificate.verify_directly_issued_by(certificate)
        assert certificate.not_valid_after_utc.year >= 2037
    assert len(ssl.create_default_context(cafile=store).get_ca_certs()) == 5


def test_a_file_that_the_store_is_linked_to_stays_whole(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.hardlink_to(store)
    trust.cut(store)
    assert other.read_bytes() == ALL.read_bytes()
    assert len(store.read_bytes()) < 10_000


def test_the_roots_are_those_that_the_authority_names() -> None:
    """https://www.amazontrust.com/repository/: "we recommend that all five of the above roots be included"."""
    assert set(trust.ROOTS) == {
        *(f"Amazon Root CA {number}" for number in (1, 2, 3, 4)),
        "Starfield Services Root Certificate Authority - G2",
    }


def test_a_root_that_is_missing_stops_the_build(store: Path) -> None:
    trust.cut(store)
    store.write_text(
        re.sub(r"# Amazon Root CA 3\n.*?-----END CERTIFICATE-----\n", "", store.read_text(), flags=re.DOTALL)
    )
    assert len(certificates(store)) == 4

    with pytest.raises(trust.RootMissing, match="Amazon Root CA 3"):
        trust.cut(store)


def client(address: str, store: Path) -> Any:
    session = Session()
    session.set_credentials("a", "b")
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)
    return session.create_client(
        "apigatewaymanagementapi", region_name="us-east-1", endpoint_url=address, verify=str(store), config=config
    )


def test_a_server_whose_chain_ends_at_a_kept_root_is_trusted_and_another_is_refused(tmp_path: Path) -> None:
    """With roots of our own in the place of AWS's, whose keys nobody has."""
    kept, dropped, store = issue("kept"), issue("dropped"), tmp_path / "cacert.pem"
    roots: list[Issued] = [issue("some"), kept, dropped, issue("others")]
    store.write_text("\n".join(root.pem for root in roots))

    with https_server(kept, tmp_path) as ours, https_server(dropped, tmp_path) as another:
        for address in (ours, another):
            client(address, store).post_to_connection(ConnectionId="c", Data=b"frame")
        trust.cut(store, {"kept": kept.fingerprint})

        client(ours, store).post_to_connection(ConnectionId="c", Data=b"frame")
        with pytest.raises(SSLError, match="certificate verify failed"):
            client(another, store).post_to_connection(ConnectionId="c", Data=b"frame")


def test_a_connection_costs_a_small_part_of_what_it_did(store: Path) -> None:
    """What each new connection does with the store, in processor time."""

    def read() -> float:
        began = time.process_time()
        for _ in range(20):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(store)
        return time.process_time() - began

    before = read()
    trust.cut(store)
    assert read() < before / 5
