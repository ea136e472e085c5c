"""How is this installation run: where are its database and sockets, and who is written to? From the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from upshift.store.place import Place, PostgresUrl, parse, spelled

PREFIX = "UPSHIFT_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the environment variable UPSHIFT_<FIELD>; the command line wins over it."""

    db: Place = Path("upshift.db")
    """Where ledger, plans and keys are: a file of SQLite, postgresql://user@host/name, or @FILE that holds a URL."""
    retain_days: Annotated[int, Meta(ge=0)] = 0
    """Whole months of calls (UTC) are dropped once they are this old; their totals stay. 0 keeps them for ever."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Gateway processes on this machine that share the port. More than one, or PostgreSQL, need a keeper beside."""
    keeper_host: str = "127.0.0.1"
    """With PostgreSQL: the address at which gateways of other machines reach this one's keeper. A private network."""
    keeper_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of the keeper; 0 takes a free one, which the others find in the database."""
    on_store_trouble: Literal["refuse", "serve-on"] = "refuse"
    """With PostgreSQL, while it is away: refuse calls, or serve on with a log on the keeper's own disk."""
    away_seconds: Annotated[float, Meta(ge=5, le=3600)] = 60.0
    """For how long calls are served on. So long does it also take until another machine can be the keeper."""
    away_log: str = "upshift.away"
    """The file of that log, on a local disk: one per machine."""
    host: str = "127.0.0.1"
    """Address the gateway binds; loopback unless told otherwise."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8787
    """Port of the gateway: the base URL of clients. 0 takes a free one."""
    admin_host: str = "127.0.0.1"
    """Address the admin API binds."""
    admin_port: Annotated[int, Meta(ge=0, le=65535)] = 8788
    """Port of the admin API. 0 takes a free one."""
    strict: bool = False
    """Send nothing to a provider before the hold is on disk, at the price of one commit of latency."""
    grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """How long calls in flight may go on after a stop was asked for."""
    max_body_bytes: Annotated[int, Meta(gt=0)] = 64 * 1024 * 1024
    """The largest request that is accepted."""
    reload_seconds: Annotated[float, Meta(gt=0)] = 0.2
    """How soon a change of plan, keys or consents is in force."""
    smtp_url: str = ""
    """smtp://user:password@host:587 (STARTTLS), smtps://…:465, or smtp+plain://host:25; empty sends no e-mail."""
    mail_from: str = "upshift@localhost"
    """The sender of e-mails."""
    webhook_url: str = ""
    """Every alert is posted here as a CloudEvent; empty posts none."""
    webhook_secret: str = ""
    """Signs webhooks: header x-upshift-signature is the HMAC-SHA256 of the body in hex."""
    apprise_urls: str = ""
    """Where notices of playbooks go besides: URLs as Apprise writes them, separated by spaces; empty for nowhere."""
    console_url: str = ""
    """Where browsers find the console, like https://upshift.example.org; empty takes what the request says."""
    console_embed: str = ""
    """Sites that may frame the widget of a user's own budget, as CSP writes them; empty lets none."""
    oidc_issuer: str = ""
    """The OpenID provider that people sign in with, like https://id.example.org; empty leaves keys only."""
    oidc_client_id: str = ""
    """What the provider calls this console."""
    oidc_client_secret: str = ""
    """What the console proves itself with at the provider; empty for a public client."""
    oidc_roles: str = ""
    """Who has which role by a claim of the id token: groups: platform=admin, finance=finance. Nobody else gets in."""
    oidc_tenant_claim: str = "tenant"
    """The claim that names the tenant of roles that belong to one."""
    oidc_user_claim: str = "email"
    """The claim that names the person, and the user of the plan for roles that belong to one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged to stderr: this and what is worse."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings from UPSHIFT_ variables. Raises ValueError that names an unknown or unreadable one."""
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    found: dict[str, object] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or not value:
            continue
        field = name[len(PREFIX) :].lower()
        if field in IGNORED:
            continue
        if field not in fields:
            known = ", ".join(PREFIX + each.upper() for each in fields)
            raise ValueError(f"{name} is not a setting; there are {known}")
        if field == "db":
            found[field] = parse(value)
            continue
        try:
            found[field] = msgspec.convert(value, fields[field].type, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"{name}={value!r}: {error}") from None
    settings = msgspec.structs.replace(Settings(), **found)
    if settings.on_store_trouble == "serve-on" and isinstance(settings.db, Path):
        raise ValueError(
            "UPSHIFT_ON_STORE_TROUBLE: an SQLite file is on this machine's disk, as the log would be; serve-on needs "
            "PostgreSQL"
        )
    if settings.retain_days and isinstance(settings.db, Path):
        raise ValueError("UPSHIFT_RETAIN_DAYS: an SQLite file keeps everything; retention needs PostgreSQL")
    return settings


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables that from_environment reads as these settings; for a child process."""
    found = {PREFIX + name.upper(): getattr(settings, name) for name in settings.__struct_fields__}
    return {name: _written(value) for name, value in found.items()}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return spelled(value) if isinstance(value, Path | PostgresUrl) else str(value)


IGNORED = frozenset({"key", "admin_url", "keeper_secret", "live_folder"})
"""UPSHIFT_KEY and UPSHIFT_ADMIN_URL, which clients of the API read, not the installation; and two that only its own
processes hand on."""

LIVE_FOLDER = PREFIX + "LIVE_FOLDER"
"""Where the processes of one machine say how they are doing."""
