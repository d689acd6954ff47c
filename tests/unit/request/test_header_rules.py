"""What a message may call its attributes when they are sent by their own names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.url_parsing import read_url
from courier.message import Attribute, Message
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.header_rules import FRAMING, allowance, is_denied_to_messages
from tests.examples import examples

# Headers that servers, proxies, gateways, meshes, CDNs and clouds set, or trust, by their own documentation.
_TRUSTED = """
Authorization Proxy-Authorization Authentication-Info X-Authorization Cookie Set-Cookie X-Api-Key Api-Key
X-Auth-Token X-Access-Token X-Id-Token X-Token Token DPoP X-CSRF-Token X-XSRF-Token X-Requested-With Origin Referer
Sec-Fetch-Site Forwarded Via X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port
X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-Ssl X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups
X-Forwarded-Client-Cert X-Forwarded-Preferred-Username X-Forwarded-Access-Token X-Forwarded-Uri X-Forwarded-Method
X-Forwarded-Tls-Client-Cert X-Real-IP Real-IP X-Client-IP Client-IP X-Cluster-Client-IP X-Remote-IP X-Remote-Addr
X-Originating-IP X-ProxyUser-Ip True-Client-IP CF-Connecting-IP CF-Connecting-IPv6 CF-IPCountry CF-Ray CF-Visitor
CF-Worker CF-Access-Authenticated-User-Email Cf-Access-Jwt-Assertion Cf-Access-Client-Id Fastly-Client-IP Fastly-SSL
Fastly-FF Fly-Client-IP Fly-Forwarded-Proto Akamai-Origin-Hop CloudFront-Viewer-Address CloudFront-Forwarded-Proto
CDN-Loop WL-Proxy-Client-IP WL-Proxy-SSL Proxy-Client-IP Proxy Proxy-Connection X-Original-URL X-Original-URI
X-Original-Host X-Original-Method X-Rewrite-URL X-Override-URL Request-Uri Base-Url X-HTTP-Method
X-HTTP-Method-Override X-Method-Override X-HTTP-Host-Override X-Host X-Scheme X-Url-Scheme X-Forwarded-Scheme
Front-End-Https X-Accel-Internal Remote-User Remote-Addr Remote-Groups Remote-Email Remote-Name X-Remote-User
X-Remote-Group X-Remote-Extra-Scopes Impersonate-User Impersonate-Group Impersonate-Extra-Scopes X-User X-User-Id
X-Username X-User-Email X-Userinfo X-Email X-Groups X-Roles X-Admin X-Internal X-Trusted-User X-Authenticated-User
X-Authenticated-Userid X-Authenticated-Groups X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Access-Token
X-Auth-User X-Auth-Username X-WEBAUTH-USER X-WebAuth-Email X-Webauth-Role X-Endpoint-API-UserInfo
X-Apigateway-Api-Userinfo X-JWT-Assertion X-JWT-Payload X-Consumer-ID X-Consumer-Username X-Consumer-Custom-ID
X-Credential-Identifier X-Anonymous-Consumer X-Kong-Proxy OIDC_CLAIM_sub OIDC_access_token OIDC-Identity X-OIDC-Sub
X-Saml-User MELLON_NAME_ID Shib-Session-ID Shib-Identity-Provider CAS-User SM_USER SM_UNIVERSALID SM-SERVERSESSIONID
iv-user iv-groups iv-creds OAM_REMOTE_USER X-Okta-User X-authentik-username X-Authelia-User X-Pomerium-Jwt-Assertion
X-Pomerium-Claim-Email Tailscale-User-Login Tailscale-User-Name Teleport-Jwt-Assertion X-Vouch-User X-Hasura-Role
X-Hasura-Admin-Secret X-Scope-OrgID X-Vault-Token X-Rancher-User SSL_CLIENT_CERT SSL_CLIENT_S_DN SSL_CLIENT_VERIFY
SSL-Client-Verify X-SSL X-SSL-Cert X-SSL-Client-CN X-SSL-Client-DN X-SSL-Client-Verify X-SSL-Issuer X-Client-Cert
X-Client-Certificate X-Client-Verify X-Client-DN X-TLS-Client-Cert Client-Cert Client-Cert-Chain X-Tls-Version
X-ARR-ClientCert X-ARR-SSL X-ARR-LOG-ID X-Azure-ClientIP X-Azure-SocketIP X-Azure-FDID X-MS-CLIENT-PRINCIPAL
X-MS-CLIENT-PRINCIPAL-ID X-MS-CLIENT-PRINCIPAL-NAME X-MS-TOKEN-AAD-ID-TOKEN X-MS-Forwarded-Client-IP
X-Amzn-Oidc-Data X-Amzn-Oidc-Identity X-Amzn-Oidc-Accesstoken X-Amzn-Mtls-Clientcert X-Amzn-Mtls-Clientcert-Subject
X-Amzn-Vpc-Id X-Amzn-Apigateway-Api-Id X-Amz-Cf-Id X-Amz-Security-Token X-Amz-Date X-Aws-Sqsd-Msgid
X-Aws-Sqsd-Taskname X-Goog-IAP-JWT-Assertion X-Goog-Authenticated-User-Email X-Goog-Authenticated-User-Id
X-Serverless-Authorization X-Appengine-User-Id X-Appengine-Inbound-Appid X-AppEngine-QueueName X-AppEngine-Cron
X-Appengine-Https X-Envoy-External-Address X-Envoy-Internal X-Envoy-Original-Path X-Istio-Attributes l5d-client-id
l5d-dst-override X-NF-Client-Connection-Ip X-Vercel-Forwarded-For X-Vercel-Id Signature Signature-Input
X-Hub-Signature-256 Stripe-Signature X-Slack-Signature Webhook-Signature Webhook-Id Courier-Message-Id Content-Type
Host Content-Length Transfer-Encoding Connection Keep-Alive TE Trailer Upgrade Expect HTTP2-Settings
"""
TRUSTED = _TRUSTED.split()

# Names as businesses give them, and what correlates: nobody trusts them, and they go through.
_HARMLESS = """
color size tenant tenant_id order-id order_id customer_id user user_id client_id email group role event-type type
version source subject author authors Author-Id correlation-id X-Correlation-Id X-Request-Id X-Trace-Id X-B3-TraceId
X-Tenant traceparent tracestate baggage priority schema certainty original_price realm session_count remoteness
method path status Content-Encoding Content-Language Accept-Language X-Event-Type X-Shop X-Shop-Id X-Retry
X-Priority x.y.z clip_id vital
"""
HARMLESS = _HARMLESS.split()

SEPARATORS = st.sampled_from("-_.")


def spelled(name: str, draw: st.DataObject) -> str:
    """Write a name in another case, and each of its separators as one of those that SQS takes."""
    cased = "".join(c.upper() if draw.draw(st.booleans()) else c.lower() for c in name)
    return "".join(draw.draw(SEPARATORS) if c in "-_." else c for c in cased)


def sent(name: str, *allowed: str, headers: str = "none") -> bool:
    style = HeadStyle(headers, attributes="bare", allowed=tuple(map(allowance, allowed)))
    head = DeliveryHead(read_url("http://example.com/in"), "orders", style)
    message = Message("id", "r", 60.0, 0.0, 1, 0, 0, "", "", "", (Attribute(name, "String", "forged"),), b"")
    told = b"forged" in head.render(message)
    assert head.dropped == (not told)
    return told


@pytest.mark.parametrize("name", TRUSTED)
def test_a_name_that_front_ends_trust_is_dropped(name: str) -> None:
    assert not sent(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_nobody_trusts_goes_through(name: str) -> None:
    assert sent(name)


@given(name=st.sampled_from(TRUSTED), draw=st.data())
@settings(deadline=None, max_examples=examples(500))
def test_no_other_spelling_of_a_trusted_name_gets_through(name: str, draw: st.DataObject) -> None:
    assert is_denied_to_messages(spelled(name, draw))


@given(name=st.sampled_from([name for name in TRUSTED if name.lower() not in FRAMING]), draw=st.data())
@settings(deadline=None)
def test_what_ends_in_more_words_is_dropped_too_where_it_is_a_namespace(name: str, draw: st.DataObject) -> None:
    if name.lower().startswith("x-"):
        assert is_denied_to_messages(spelled(f"{name}-Extra", draw))


@pytest.mark.parametrize("name", ["X-User-Id", "SM_USER", "X-Amzn-Oidc-Data", "Cookie", "Token"])
def test_a_name_that_the_operator_allows_goes_through_in_any_case_and_no_other_does(name: str) -> None:
    assert sent(name, name)
    assert sent(name.upper(), name.lower())
    assert not sent("X-Remote-User", name)
    assert not sent(f"X-Remote-{name}", name)


@given(
    name=st.sampled_from([*sorted(FRAMING), "authorization", "content-type", "proxy-connection", "webhook-id"]),
    draw=st.data(),
)
@settings(deadline=None)
def test_what_frames_the_request_or_has_an_option_of_its_own_cannot_be_allowed(name: str, draw: st.DataObject) -> None:
    with pytest.raises(ValueError, match=r" (is|comes) ") as refused:
        allowance(spelled(name, draw))
    assert "\n" not in str(refused.value)


def test_an_allowed_name_takes_the_place_of_none_that_courier_sends() -> None:
    assert not sent("User-Agent", "User-Agent")
    assert not sent("X-Aws-Sqsd-Msgid", "X-Aws-Sqsd-Msgid", headers="sqsd")
