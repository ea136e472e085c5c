"""Whose call is it: which key, tenant, user and tier?"""

import hashlib
from collections.abc import Callable

import msgspec

from upshift.model.ids import TenantId, UserId
from upshift.model.key import Key, Role
from upshift.model.refusal import BadKey, BadRequest, NoKey, NotAllowed, Refused
from upshift.model.span import Instant
from upshift.traffic.snapshot import InForce, Tenant, User

USER_HEADER = b"x-upshift-user"
LONGEST_USER = 128


class Caller(msgspec.Struct, frozen=True):
    """Who is calling."""

    key: Key
    tenant: Tenant
    user: User


def digest(secret: str | bytes) -> str:
    """SHA-256 of a key in hex. Keys are 256 random bits, so one fast round is enough."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()


def secret_of(header: Callable[[bytes], bytes | None]) -> bytes:
    """The secret from `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`. Raises Refused(NoKey)."""
    bearer = header(b"authorization")
    if bearer is not None and bearer[:7].lower() == b"bearer " and (token := bearer[7:].strip()):
        return token
    secret = header(b"x-api-key") or header(b"x-goog-api-key")
    if not secret:
        raise Refused(NoKey())
    return secret


def key_of(in_force: InForce, secret: bytes, now: Instant) -> Key:
    """The live key of a secret. Raises Refused(BadKey) for one that is unknown, expired or revoked."""
    key = in_force.keys.get(digest(secret))
    if key is None:
        raise Refused(BadKey(state="unknown", hint=secret[:6].decode("ascii", "replace")))
    # An act of a person, so it holds whatever the clock says.
    if key.revoked is not None:
        raise Refused(BadKey(state="revoked", hint=key.hint, since=key.revoked))
    if key.expires is not None and key.expires <= now:
        raise Refused(BadKey(state="expired", hint=key.hint, since=key.expires))
    return key


def who(in_force: InForce, header: Callable[[bytes], bytes | None], user_hint: str, now: Instant) -> Caller:
    """The caller of a call. `user_hint` is what the request's body says of its end user.

    A personal key always is its user. An application's key may name the user per call, by header or body; without
    a name its calls are counted under the key's own name. Raises Refused.
    """
    key = key_of(in_force, secret_of(header), now)
    if key.role is not Role.CALLER:
        raise Refused(NotAllowed(what=f"calls with a key of the role {key.role}", allowed=("the admin API",)))
    tenant = in_force.snapshot.tenants.get(TenantId(key.tenant))
    if tenant is None:
        raise Refused(NotAllowed(what=f"calls for tenant {key.tenant!r}, which is not in the plan", allowed=()))
    return Caller(key, tenant, user_of(tenant, key, header(USER_HEADER), user_hint))


def user_of(tenant: Tenant, key: Key, named: bytes | None, hint: str) -> User:
    """The user of a call and the tier that sizes its ceilings. Raises Refused."""
    name = named.decode("utf-8", "replace").strip() if named else ""
    if key.user:
        if name and name != key.user:
            raise Refused(NotAllowed(what=f"calls as user {name!r} with the key of {key.user!r}", allowed=(key.user,)))
        name = key.user
    else:
        name = name or hint.strip() or f"key:{key.name}"
        if len(name) > LONGEST_USER or not name.isprintable() or "*" in name:
            raise Refused(
                BadRequest(
                    where=USER_HEADER.decode() if named else "the user named in the body",
                    what=f"found {name[:40]!r}, expected at most {LONGEST_USER} printable characters without '*'",
                )
            )
    user = tenant.users.get(UserId(name))
    if user is not None:
        return user
    if tenant.default_tier is None:
        # The users who are listed stay unnamed: they are other people's names, and there may be thousands.
        what = f"calls as user {name!r}, whom the plan does not list for tenant {tenant.id}"
        raise Refused(NotAllowed(what=what, allowed=()))
    return User(UserId(name), tenant.default_tier)
