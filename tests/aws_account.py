"""An AWS account in the test's own process: the places that give keys, and an SQS that accepts only the keys of now.

The places are STS, the portal of IAM Identity Center (SSO), the container endpoint of ECS and EKS, and the instance
metadata (IMDSv2). :data:`SOURCES` says how boto3 is pointed at each of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from courier.local.exchange import Request, Response
from courier.local.virtual.errors import ErrorKind
from courier.local.virtual.service import VirtualSqs
from tests.threaded_server import ThreadedServer

ROLE: Final = "arn:aws:iam::210987654321:role/courier"
EXTERNAL_ID: Final = "shop/42"
START_URL: Final = "https://example.awsapps.com/start"
LONG_LIVED: Final = ("AKIDLONGLIVED", "secret-of-long-lived")

EXPIRED: Final = ErrorKind("com.amazon.coral.service#ExpiredTokenException", "ExpiredToken", 403)
UNKNOWN: Final = ErrorKind("com.amazon.coral.service#UnrecognizedClientException", "InvalidClientTokenId", 403)

_CREDENTIAL: Final = re.compile(r"Credential=([^/]+)/")
_XML: Final = "text/xml"


class AwsAccount(ThreadedServer):
    """The account, at ``url``. ``asked`` counts what was asked of it, ``signed`` the keys of the accepted SQS calls.

    ``broken`` are the places that answer with 500 now. ``minutes`` is how long new keys live. Tokens of containers and
    of web identities must have the content of ``token``. ``queue`` is the URL of a queue, if the test has made one.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.signed: list[str] = []
        self.broken: set[str] = set()
        self.queue = ""
        self.minutes = 60.0
        self.token = "token-1"
        self.sso_token = "sso-1"
        self.requests: list[tuple[str, Request]] = []
        self._lock = threading.Lock()
        self._sqs = VirtualSqs()
        self._keys: dict[str, str] = {}
        self._expired: set[str] = set()
        super().__init__(self._answer)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._sqs.close)
        super().stop()

    def expire(self) -> None:
        """Let all keys expire that were given until now."""
        with self._lock:
            self._expired |= set(self._keys)

    def keys_in_use(self) -> set[str]:
        return {key for key in self._keys if key not in self._expired}

    # What is asked

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        place, act = self._place(request)
        self.asked[place] += 1
        self.requests.append((place, request))
        if place in self.broken:
            return Response(500, [("Content-Type", "text/plain")], b"broken")
        return act(request)

    def _place(self, request: Request) -> tuple[str, Callable[[Request], Response | Awaitable[Response]]]:
        path = urlsplit(request.target).path
        if request.headers.get("x-amz-target", "").startswith("AmazonSQS."):
            return "sqs", self._call_sqs
        if path.startswith("/federation/credentials"):
            return "sso", self._sso
        if path.startswith("/latest/"):
            return "imds", self._imds
        if path.startswith("/container"):
            return "container", self._container
        return "sts", self._sts

    def _call_sqs(self, request: Request) -> Response | Awaitable[Response]:
        key = self._key_of(request)
        token = request.headers.get("x-amz-security-token", "")
        with self._lock:
            if key in self._expired:
                return _json({"__type": EXPIRED.shape, "message": "The security token is expired"}, 403)
            if key == "test":
                return self._sqs.handle(request)  # the test itself
            if self._keys.get(key) != token:
                return _json({"__type": UNKNOWN.shape, "message": "The security token is invalid"}, 403)
            self.signed.append(key)
        return self._sqs.handle(request)

    def _key_of(self, request: Request) -> str:
        found = _CREDENTIAL.search(request.headers.get("authorization", ""))
        return found[1] if found else ""

    def _sts(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        action = form.get("Action", "")
        if action == "AssumeRole":
            if self._key_of(request) != LONG_LIVED[0]:
                return _sts_error("InvalidClientTokenId", "The security token included in the request is invalid")
            if form.get("ExternalId", "") != EXTERNAL_ID or form["RoleArn"] != ROLE:
                return _sts_error(
                    "AccessDenied",
                    f"User: arn:aws:iam::1:user/x is not authorized to perform: sts:AssumeRole on {ROLE}",
                )
        elif action == "AssumeRoleWithWebIdentity":
            if form.get("WebIdentityToken") != self.token:
                return _sts_error("InvalidIdentityToken", "The token is not valid")
        else:
            return _sts_error("InvalidAction", action)
        key, secret, token, end = self._issue(form["RoleSessionName"])
        text = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            f"<AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>x:y</AssumedRoleId></AssumedRoleUser><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{_iso(end)}</Expiration></Credentials>"
            f"</{action}Result></{action}Response>"
        )
        return Response(200, [("Content-Type", _XML)], text.encode())

    def _sso(self, request: Request) -> Response:
        if request.headers.get("x-amz-sso_bearer_token") != self.sso_token:
            return Response(
                401,
                [("Content-Type", "application/json"), ("x-amzn-ErrorType", "UnauthorizedException")],
                b'{"message": "Session token not found or invalid"}',
            )
        key, secret, token, end = self._issue("sso")
        role = {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token}
        return _json({"roleCredentials": {**role, "expiration": int(end.timestamp() * 1000)}})

    def _imds(self, request: Request) -> Response:
        if request.target.endswith("/api/token"):
            ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
            return Response(200, [], b"imds-token") if request.method == "PUT" and ttl else Response(400)
        if request.headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return Response(401)
        if request.target.endswith("/security-credentials/"):
            return Response(200, [("Content-Type", "text/plain")], b"courier")
        return self._document("imds")

    def _container(self, request: Request) -> Response:
        if request.headers.get("authorization") != self.token:
            return Response(401, [], b"no")
        return self._document("container")

    def _document(self, place: str) -> Response:
        key, secret, token, end = self._issue(place)
        fields = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": _iso(end)}
        return _json({"Code": "Success", **fields})

    def _issue(self, name: str) -> tuple[str, str, str, datetime]:
        with self._lock:
            number = len(self._keys) + 1
            key, token = f"ASIA{name.upper()}{number}", f"token-of-{name}-{number}"
            self._keys[key] = token
        return key, f"secret-{number}", token, datetime.now(UTC) + timedelta(minutes=self.minutes)

    def allow(self, key: str, token: str = "") -> None:
        """Accept keys that come from elsewhere."""
        with self._lock:
            self._keys[key] = token


def _json(fields: Mapping[str, object], status: int = 200) -> Response:
    return Response(status, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(fields).encode())


def _sts_error(code: str, message: str) -> Response:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f"<ErrorResponse>{error}</ErrorResponse>"
    return Response(403, [("Content-Type", _XML)], text.encode())


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Pointing:
    """How boto3 is pointed at a place of an account: variables, options of Courier, and files in a directory.

    ``rotate`` changes what proves who asks; the account must be told.
    """

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        self.account = account
        self.directory = directory
        self.options: list[str] = []
        self.place = "sts"
        self.variables: dict[str, str] = {
            "AWS_CONFIG_FILE": str(directory / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_STS": account.url,
            "AWS_ENDPOINT_URL_SSO": account.url,
            "HOME": str(directory),
        }

    def config(self, *lines: str) -> None:
        (self.directory / "config").write_text("\n".join([*lines, ""]))

    def rotate(self, number: int) -> None:
        """Replace the token that proves who asks, where there is one."""


class _Role(Pointing):
    """Long-lived keys that assume the role by our own options."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        self.variables |= dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), LONG_LIVED, strict=True))
        self.options = ["--role-arn", ROLE, "--external-id", EXTERNAL_ID, "--role-session-name", "shop"]


class _Profile(Pointing):
    """A profile that assumes the role with the keys of another profile."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        key, secret = LONG_LIVED
        self.config(
            "[profile base]", f"aws_access_key_id = {key}", f"aws_secret_access_key = {secret}",
            "[profile shop]", f"role_arn = {ROLE}", f"external_id = {EXTERNAL_ID}", "source_profile = base",
        )  # fmt: skip
        self.variables["AWS_PROFILE"] = "shop"


class _Process(Pointing):
    """A profile with a credential process, which asks the container endpoint."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        self.place = "container"
        script = directory / "process.py"
        script.write_text(
            "import json, urllib.request\n"
            f"asked = urllib.request.Request({account.url + '/container'!r}, headers={{'Authorization': 'token-1'}})\n"
            "found = json.load(urllib.request.urlopen(asked))\n"
            "print(json.dumps({'Version': 1, 'AccessKeyId': found['AccessKeyId'],\n"
            "    'SecretAccessKey': found['SecretAccessKey'], 'SessionToken': found['Token'],\n"
            "    'Expiration': found['Expiration']}))\n"
        )
        self.config("[default]", f"credential_process = {sys.executable} -S {script}")


class _Sso(Pointing):
    """A profile of IAM Identity Center, with the token that ``aws sso login`` left in the home directory."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        self.place = "sso"
        self.config(
            "[profile shop]", "sso_session = company", "sso_account_id = 210987654321", "sso_role_name = courier",
            "[sso-session company]", f"sso_start_url = {START_URL}", "sso_region = us-east-1",
        )  # fmt: skip
        self.variables["AWS_PROFILE"] = "shop"
        self.log_in("sso-1", minutes=60.0)

    def log_in(self, token: str, minutes: float) -> None:
        """Leave a token, as ``aws sso login`` does."""
        cache = self.directory / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        end = _iso(datetime.now(UTC) + timedelta(minutes=minutes))
        text = json.dumps({"startUrl": START_URL, "region": "us-east-1", "accessToken": token, "expiresAt": end})
        (cache / f"{hashlib.sha1(b'company', usedforsecurity=False).hexdigest()}.json").write_text(text)

    def rotate(self, number: int) -> None:
        self.account.sso_token = f"sso-{number}"
        self.log_in(self.account.sso_token, minutes=60.0)


class _WebIdentity(Pointing):
    """The role of a Kubernetes service account (IRSA): a token in a file that Kubernetes replaces."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        (directory / "token").write_text(account.token)
        self.variables |= {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(directory / "token"),
            "AWS_ROLE_SESSION_NAME": "pod",
        }

    def rotate(self, number: int) -> None:
        self.account.token = f"token-{number}"
        (self.directory / "token").write_text(self.account.token)


class _Pod(Pointing):
    """The pod identity of EKS: the container endpoint with a token in a file that Kubernetes replaces."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        self.place = "container"
        (directory / "token").write_text(account.token)
        self.variables |= {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{account.url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(directory / "token"),
        }

    def rotate(self, number: int) -> None:
        self.account.token = f"token-{number}"
        (self.directory / "token").write_text(self.account.token)


class _Instance(Pointing):
    """The role of an EC2 instance."""

    def __init__(self, account: AwsAccount, directory: Path) -> None:
        super().__init__(account, directory)
        self.place = "imds"
        self.variables |= {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{account.url}/",
            "AWS_EC2_METADATA_V1_DISABLED": "true",
        }


SOURCES: Final[Mapping[str, type[Pointing]]] = {
    "role": _Role,
    "profile": _Profile,
    "process": _Process,
    "sso": _Sso,
    "web-identity": _WebIdentity,
    "pod": _Pod,
    "instance": _Instance,
}
