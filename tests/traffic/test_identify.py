"""Is every call's key, tenant, user and tier found, and nobody else's?"""

from collections.abc import Mapping

import pytest
from tests.traffic.builders import DAY, NOW, SECRET, headers, in_force, key, snapshot, tenant, user

from upshift.model.key import Key, Role
from upshift.model.refusal import BadKey, BadRequest, NoKey, NotAllowed, Reason, Refused
from upshift.model.span import Instant
from upshift.traffic.identify import digest, key_of, secret_of, user_of, who

BEARER = b"Bearer " + SECRET


def refused_secret(sent: Mapping[bytes, bytes]) -> Reason:
    with pytest.raises(Refused) as caught:
        secret_of(sent.get)
    return caught.value.reason


@pytest.mark.parametrize(
    "sent",
    [
        headers(authorization=b"Bearer abc"),
        headers(authorization=b"bearer  abc "),
        headers(x_api_key=b"abc"),
        headers(x_goog_api_key=b"abc"),
        headers(authorization=b"Bearer abc", x_api_key=b"other"),
        headers(authorization=b"Basic dXNlcg==", x_api_key=b"abc"),
        headers(authorization=b"Bearer ", x_api_key=b"abc"),
        headers(authorization=b"Bearer   ", x_goog_api_key=b"abc"),
        headers(x_api_key=b"", x_goog_api_key=b"abc"),
    ],
)
def test_the_secret_is_found_where_clients_put_it(sent: Mapping[bytes, bytes]) -> None:
    assert secret_of(sent.get) == b"abc"


@pytest.mark.parametrize(
    "sent",
    [
        headers(),
        headers(authorization=b""),
        headers(authorization=b"Bearer"),
        headers(authorization=b"Bearer    "),
        headers(authorization=b"Basic dXNlcg=="),
        headers(authorization=b"abc"),
        headers(x_api_key=b""),
    ],
)
def test_no_secret_is_no_key(sent: Mapping[bytes, bytes]) -> None:
    assert refused_secret(sent) == NoKey()


def test_keys_are_known_by_their_sha_256_only() -> None:
    assert digest("abc") == digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def refused_key(held: Key, secret: bytes = SECRET, now: Instant = NOW) -> Reason:
    with pytest.raises(Refused) as caught:
        key_of(in_force(keys=[held]), secret, now)
    return caught.value.reason


def test_a_live_key_is_found_by_its_secret() -> None:
    held = key(expires=NOW + 1)
    assert key_of(in_force(keys=[key(b"up-other-key"), held]), SECRET, NOW) == held


def test_an_unknown_key_shows_no_more_than_its_first_characters() -> None:
    assert refused_key(key(), b"up-wrong-secret") == BadKey("unknown", "up-wro")
    assert refused_key(key(), b"\xff\xfe") == BadKey("unknown", "\ufffd\ufffd")


def test_a_key_ends_with_the_instant_it_expires_or_is_revoked_at() -> None:
    assert refused_key(key(expires=NOW)) == BadKey("expired", "up-key", NOW)
    assert refused_key(key(revoked=NOW)) == BadKey("revoked", "up-key", NOW)
    assert refused_key(key(revoked=NOW + DAY)) == BadKey("revoked", "up-key", NOW + DAY), "though the clock went back"
    assert refused_key(key(expires=NOW - DAY, revoked=NOW - 2 * DAY)) == BadKey("revoked", "up-key", NOW - 2 * DAY)


def test_a_personal_key_is_its_user() -> None:
    found = who(in_force(), headers(authorization=BEARER).get, "", NOW)
    assert (found.key.id, found.tenant.id, found.user) == ("key-laptop", "acme", user())


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CALLER])
def test_only_a_callers_key_may_spend(role: Role) -> None:
    with pytest.raises(Refused) as caught:
        who(in_force(keys=[key(role=role)]), headers(authorization=BEARER).get, "", NOW)
    assert caught.value.reason == NotAllowed(f"calls with a key of the role {role}", ("the admin API",))


def test_a_tenant_that_left_the_plan_may_not_call() -> None:
    with pytest.raises(Refused) as caught:
        who(in_force(keys=[key(tenant="gone")]), headers(authorization=BEARER).get, "", NOW)
    assert caught.value.reason == NotAllowed("calls for tenant 'gone', which is not in the plan", ())


def test_a_call_without_a_key_is_refused_before_anything_else() -> None:
    with pytest.raises(Refused) as caught:
        who(in_force(), headers().get, "", NOW)
    assert caught.value.reason == NoKey()


def test_the_user_header_is_read() -> None:
    plan = snapshot(tenants=[tenant(users=[user(), user("bob", "free")])])
    sent = headers(authorization=BEARER, x_upshift_user=b"bob")
    assert who(in_force(plan, [key(user="")]), sent.get, "carol", NOW).user == user("bob", "free")


APP = key(user="", name="shop")
OPEN = tenant(users=[user()], default_tier="free")


@pytest.mark.parametrize(
    ("named", "hint", "found"),
    [
        (None, "", user("key:shop", "free")),
        (b"", "", user("key:shop", "free")),
        (b"  ", "   ", user("key:shop", "free")),
        (None, "carol", user("carol", "free")),
        (None, " carol ", user("carol", "free")),
        (b" dave ", "carol", user("dave", "free")),
        ("zoë".encode(), "", user("zoë", "free")),
        (b"alice", "", user("alice", "pro")),
        (b"x" * 128, "", user("x" * 128, "free")),
        (b"\xff", "", user("\ufffd", "free")),
    ],
)
def test_an_application_names_the_user_by_header_or_body_or_is_counted_itself(
    named: bytes | None, hint: str, found: object
) -> None:
    assert user_of(OPEN, APP, named, hint) == found


@pytest.mark.parametrize(
    ("named", "hint", "where"),
    [
        (b"x" * 129, "", "x-upshift-user"),
        (b"a\x00b", "", "x-upshift-user"),
        (b"*", "carol", "x-upshift-user"),
        (b"a*", "", "x-upshift-user"),
        (None, "x" * 129, "the user named in the body"),
        (None, "a\nb", "the user named in the body"),
        (None, "*", "the user named in the body"),
    ],
)
def test_names_that_could_be_mistaken_for_something_else_are_refused(
    named: bytes | None, hint: str, where: str
) -> None:
    with pytest.raises(Refused) as caught:
        user_of(OPEN, APP, named, hint)
    reason = caught.value.reason
    assert isinstance(reason, BadRequest)
    assert reason.where == where
    assert "128 printable characters" in reason.what
    assert len(reason.what) < 200


def test_a_personal_key_may_name_itself_but_nobody_else() -> None:
    mine = key()
    assert user_of(OPEN, mine, b"alice", "bob") == user()
    with pytest.raises(Refused) as caught:
        user_of(OPEN, mine, b"bob", "")
    assert caught.value.reason == NotAllowed("calls as user 'bob' with the key of 'alice'", ("alice",))


def test_a_user_whom_the_plan_does_not_list_is_refused_without_naming_those_it_does() -> None:
    closed = tenant(users=[user("alice"), user("secret.person@acme.example")])
    with pytest.raises(Refused) as caught:
        user_of(closed, APP, b"mallory", "")
    reason = caught.value.reason
    assert isinstance(reason, NotAllowed)
    assert "'mallory'" in reason.what
    assert "acme" in reason.what
    assert "secret.person" not in str(reason)
