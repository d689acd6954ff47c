"""The files of TLS: what is wrong with them is one line, and a renewed certificate is shown without a restart."""

from __future__ import annotations

import errno
import os
import shutil
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from courier.errors import CannotStart
from courier.http.certificates import TlsFiles, watch_certificate_files
from courier.http.tls import client_context


class Pems:
    """Files of a certificate, its key, and of both."""

    def __init__(self, directory: Path, authority: trustme.CA, name: str) -> None:
        issued = authority.issue_cert(f"{name}@example.com")
        self.cert, self.key, self.both = (directory / f"{name}-{part}.pem" for part in ("cert", "key", "both"))
        self.cert.write_bytes(issued.cert_chain_pems[0].bytes())
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.both.write_bytes(issued.private_key_and_cert_chain_pem.bytes())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pems(tmp_path: Path, authority: trustme.CA) -> Pems:
    return Pems(tmp_path, authority, "courier")


def refusal(files: TlsFiles) -> str:
    with pytest.raises(CannotStart) as refused:
        client_context(files)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_ca_of_ones_own_is_trusted_in_place_of_the_systems(tmp_path: Path, authority: trustme.CA) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = client_context(TlsFiles(ca=ca))
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_key_is_in_its_own_file_or_in_that_of_the_certificate(pems: Pems) -> None:
    client_context(TlsFiles(cert=pems.cert, key=pems.key))
    client_context(TlsFiles(cert=pems.both))


def test_a_file_that_cannot_be_read_is_named_with_its_option(pems: Pems, tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert refusal(TlsFiles(ca=none)).startswith("--ca-file: No such file or directory; give")
    assert refusal(TlsFiles(cert=none)).startswith("--client-cert: No such file or directory; give")
    assert refusal(TlsFiles(cert=pems.cert, key=none)).startswith("--client-key: No such file or directory; give")
    assert refusal(TlsFiles(ca=tmp_path)).startswith(f"--ca-file: cannot read {tmp_path}: it is a directory")


def test_a_file_that_holds_something_else_is_named_with_its_option(pems: Pems, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk")
    assert refusal(TlsFiles(ca=junk)).startswith(f"--ca-file: {junk} holds no certificates")
    assert refusal(TlsFiles(cert=junk)).startswith(f"--client-cert: {junk} with the same file")
    assert refusal(TlsFiles(cert=pems.cert)).startswith(f"--client-cert: {pems.cert} with the same file")
    assert refusal(TlsFiles(cert=pems.cert, key=junk)).startswith(f"--client-cert: {pems.cert} with {junk}")


def test_a_key_of_another_certificate_is_told(pems: Pems, tmp_path: Path, authority: trustme.CA) -> None:
    other = Pems(tmp_path, authority, "other")
    line = refusal(TlsFiles(cert=pems.cert, key=other.key))
    assert line.startswith(f"--client-key: {other.key} is not the key of the certificate in {pems.cert}")


def test_an_encrypted_key_is_refused_without_asking_the_terminal(pems: Pems, tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.pem"
    key = load_pem_private_key(pems.key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"hunter2")
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    line = refusal(TlsFiles(cert=pems.cert, key=encrypted))
    assert line.startswith(f"--client-key: {encrypted} holds an encrypted key")


def shown_names(client: ssl.SSLContext, authority: trustme.CA) -> str:
    """Shake hands in memory, and give the names in the certificate that the client shows."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    authority.configure_trust(client)
    server.verify_mode = ssl.CERT_REQUIRED
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(downward, upward, server_hostname="localhost"),
        server.wrap_bio(upward, downward, server_side=True),
    ]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = ends[1].getpeercert()
    assert certificate
    return str(certificate["subjectAltName"])


def test_a_renewed_certificate_is_shown_once_both_of_its_files_are_there(
    pems: Pems, tmp_path: Path, authority: trustme.CA
) -> None:
    context = client_context(TlsFiles(cert=pems.cert, key=pems.key))
    files = watch_certificate_files(context, TlsFiles(cert=pems.cert, key=pems.key))
    assert "courier@example.com" in shown_names(context, authority)
    renewed = Pems(tmp_path, authority, "renewed")
    shutil.copy(renewed.cert, pems.cert)
    with capture_logs() as logs:
        for file in files:
            file.refresh()
        assert "courier@example.com" in shown_names(context, authority)
        shutil.copy(renewed.key, pems.key)
        for file in files:
            file.refresh()
    assert "renewed@example.com" in shown_names(context, authority)
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]


def test_a_certificate_that_changes_while_the_system_is_short_is_shown_as_soon_as_it_can_be_read(
    pems: Pems, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    files = watch_certificate_files(client_context(), TlsFiles(cert=pems.cert, key=pems.key))
    os.utime(pems.cert, ns=(0, 0))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr("courier.http.certificates.ssl.SSLContext.load_cert_chain", fails)
        for _ in range(10):
            files[0].refresh()
    assert [line["log_level"] for line in logs] == ["warning"]
    with capture_logs() as logs:
        files[0].refresh()
    assert [line["event"] for line in logs] == ["took over a changed secret"]
