from __future__ import annotations

import ssl

from courier.http.tls import client_context


def test_the_default_context_verifies_host_and_certificate_from_tls_1_2_on() -> None:
    context = client_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
