"""Which texts may stand in a plan: names, addresses, references to keys, headers, steps?"""

import re
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from upshift.plan_file.problems import nearest
from upshift.plan_file.quantities import unfit

NAME_PATTERN = r"^[a-z0-9._/:-]{1,64}$"
WORKLOAD_PATTERN = r"^[A-Za-z0-9._/:-]{1,64}$"
EMAIL_PATTERN = r"^[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+$"
KEY_PATTERN = r"^env:[A-Za-z_][A-Za-z0-9_]*$"

_NAME = re.compile(NAME_PATTERN)
_WORKLOAD = re.compile(WORKLOAD_PATTERN)
_EMAIL = re.compile(EMAIL_PATTERN)
_KEY = re.compile(KEY_PATTERN)
_HEADER_NAME = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
_LONGEST_USER = 128

FAILOVER_STEPS = ("same-model", "same-tier", "none")

REFUSED_HEADERS = frozenset(
    (
        *("authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "proxy-authenticate"),
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"),
        *("host", "content-length", "content-type", "content-encoding", "accept-encoding", "expect", "cookie"),
    )
)


def name(value: str) -> str:
    if _NAME.match(value) and not value.endswith("\n"):
        return value
    better = re.sub(r"[^a-z0-9._/:-]+", "-", value.lower()).strip("-")[:64]
    remedy = f"Write '{better}'." if better else ""
    raise unfit(value, "cannot be a name", "1 to 64 lower-case letters, digits and . - _ / :", remedy)


def workload_name(value: str) -> str:
    # Plans number their rows W-01, W-02: capitals are taken here, and two names that differ by them only are refused.
    if _WORKLOAD.match(value) and not value.endswith("\n"):
        return value
    better = re.sub(r"[^A-Za-z0-9._/:-]+", "-", value).strip("-")[:64]
    remedy = f"Write '{better}'." if better else ""
    raise unfit(value, "cannot be a name", "1 to 64 letters, digits and . - _ / :", remedy)


def user_name(value: str) -> str:
    # Callers name users by the ids of their own systems, so these are freer than the names that a plan makes up.
    if 0 < len(value) <= _LONGEST_USER and value.isprintable() and "*" not in value:
        return value
    raise unfit(value, "cannot be a user", f"1 to {_LONGEST_USER} printable characters without '*'")


def email(value: str) -> str:
    if _EMAIL.match(value) and value.isprintable():
        return value
    raise unfit(value, "is not an e-mail address", "an address like ada@example.com")


def key(value: str) -> str:
    if _KEY.match(value):
        return value
    remedy = "Put the secret in an environment variable and write its name, e.g. key: env:OPENAI_API_KEY."
    raise unfit(value, "is not a reference to a key", "env:NAME, never the secret itself", remedy, secret=True)


def url(value: str) -> str:
    expected = "a URL like https://api.example.com/v1"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise unfit(value, "is not a URL", expected) from None
    if parts.username is not None or parts.password is not None:
        remedy = "Take it out, and name an environment variable in 'key:'."
        raise unfit(value, "holds a user name or password", expected, remedy, secret=True)
    if parts.scheme not in {"http", "https"} or not host or re.search(r"[\s\x00-\x20\x7f-\uffff]", value):
        remedy = f"Write 'https://{value}'." if re.match(r"^[a-z0-9.-]+\.[a-z]+(/|$)", value) else ""
        raise unfit(value, "is not a URL", expected, remedy)
    if parts.query or parts.fragment:
        raise unfit(value, "has a query or a fragment", expected, "The path of each call is added to it.")
    return value


def header_name(value: str) -> str:
    if not _HEADER_NAME.match(value) or value.endswith("\n"):
        raise unfit(value, "cannot be a header", "a header name like x-team")
    if value.lower() in REFUSED_HEADERS:
        remedy = "Secrets go by 'key: env:NAME'." if "auth" in value.lower() or "key" in value.lower() else ""
        raise unfit(value, "is a header that the gateway sets itself", "another header", remedy or "Remove it.")
    return value.lower()


def header_value(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    raise unfit(value, "cannot be sent in a header", "printable ASCII text", secret=True)


def step(value: str) -> str:
    word, _, tier = value.partition(" ")
    if value in FAILOVER_STEPS or (word == "tier" and _NAME.match(tier.strip())):
        return value if value in FAILOVER_STEPS else f"tier {tier.strip()}"
    remedy = nearest(value, FAILOVER_STEPS) or (f"Write 'tier {value}'." if _NAME.match(value) else "")
    raise unfit(value, "is not a step of a failover", "same-model, same-tier, tier NAME or none", remedy)


Name: TypeAlias = Annotated[str, AfterValidator(name), Field(json_schema_extra={"pattern": NAME_PATTERN})]
WorkloadName: TypeAlias = Annotated[
    str, AfterValidator(workload_name), Field(json_schema_extra={"pattern": WORKLOAD_PATTERN})
]
UserName: TypeAlias = Annotated[str, AfterValidator(user_name)]
Email: TypeAlias = Annotated[
    str,
    AfterValidator(email),
    Field(json_schema_extra={"pattern": EMAIL_PATTERN, "examples": ["ada@example.com"]}),
]

Url: TypeAlias = Annotated[
    str, AfterValidator(url), Field(json_schema_extra={"format": "uri", "pattern": "^https?://"})
]
KeyName: TypeAlias = Annotated[
    str, AfterValidator(key), Field(json_schema_extra={"pattern": KEY_PATTERN, "examples": ["env:OPENAI_API_KEY"]})
]
HeaderName: TypeAlias = Annotated[str, AfterValidator(header_name)]
HeaderValue: TypeAlias = Annotated[str, AfterValidator(header_value)]
Step: TypeAlias = Annotated[str, AfterValidator(step)]
