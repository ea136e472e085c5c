"""Do keys, budgets, consents and reports work from the command line, and say what is wrong?"""

import csv
import io

import pytest
from tests.admin.installation import Installation, alert
from tests.cli.conftest import Shell

from upshift.gateway.clock import SystemClock
from upshift.model.metered import Outcome


def test_a_key_is_shown_once_with_a_line_to_try(planned: Shell) -> None:
    ran = planned.ok("key", "issue", "--name", "app", "--tenant", "acme", "--user", "alice")
    secret = ran.out.strip()
    assert secret.startswith("upk_")
    assert f"authorization: Bearer {secret}" in ran.err
    assert "x-upshift-workload: chat" in ran.err
    assert secret not in planned.ok("key", "list").out
    assert "alice" in planned.ok("key", "list").out


def test_keys_from_issue_to_revocation(planned: Shell) -> None:
    issued = planned.json("key", "issue", "--name", "app", "--tenant", "acme", "--workload", "chat", "--expires", "90d")
    assert issued["key"]["workloads"] == ["chat"]
    id_ = issued["key"]["id"]
    rotated = planned.json("key", "rotate", id_, "--overlap", "1h")
    assert rotated["key"]["replaces"] == id_
    assert rotated["secret"] != issued["secret"]
    assert planned.json("key", "revoke", rotated["key"]["id"])["state"] == "revoked"
    assert [each["state"] for each in planned.json("key", "list", "--tenant", "acme")] == ["live", "revoked"]
    again = planned.run("key", "revoke", rotated["key"]["id"])
    assert (again.code, "revoked already" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--tenant", "acme"], 2, "--name"),
        (["--name", "x", "--tenant", "initech"], 1, "no tenant 'initech'; it has acme, globex"),
        (["--name", "x", "--tenant", "acme", "--workload", "nope"], 1, "no workload 'nope'; served: chat, docs"),
        (["--name", "x", "--tenant", "acme", "--role", "king"], 2, "king"),
        (["--name", "x", "--tenant", "acme", "--expires", "soon"], 2, "'soon' is not a time"),
        (["--name", "x", "--tenant", "acme", "--expires", "2020-01-01"], 1, "passed already"),
    ],
)
def test_keys_that_cannot_be(planned: Shell, words: list[str], code: int, says: str) -> None:
    ran = planned.run("key", "issue", *words)
    assert ran.code == code
    assert says in " ".join(ran.err.replace("│", " ").split())


def test_failures_are_json_too(planned: Shell) -> None:
    ran = planned.run("key", "revoke", "key_none", "--json")
    assert ran.code == 1
    assert "no key 'key_none'" in ran.json["error"]


GRANT = ["--tenant", "acme", "--user", "alice", "--workload", "chat", "--reason", "a big week"]


def test_budgets_are_shown_granted_and_adjusted(planned: Shell) -> None:
    text = planned.ok("budget", "show", "--user", "alice").out
    assert "100k" in text
    assert "$10.00" in text
    assert {each["workload"] for each in planned.json("budget", "show", "--tenant", "acme")} == {"chat", "docs"}
    assert planned.json("budget", "grant", *GRANT, "--tokens", "5k")["tokens"] == 5000
    assert planned.json("budget", "adjust", *GRANT, "--money", "-$5")["nano"] == -5_000_000_000
    assert "takes it in" in planned.ok("budget", "grant", *GRANT, "--money", "$5").out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["budget", "show", "--tenant", "initech"], 1, "no tenant 'initech'"),
        (["budget", "show", "--user", "nobody", "--tenant", "globex"], 1, "no user 'nobody'"),
        (["budget", "grant", *GRANT], 1, "positive"),
        (["budget", "grant", *GRANT, "--tokens", "lots"], 2, "'lots' is not a number of tokens"),
        (["budget", "grant", *GRANT, "--money", "5 euros"], 2, "is not an amount of money"),
        (["budget", "grant", *GRANT, "--tokens", "1k", "--window", "week"], 1, "no ceiling per week"),
        (["budget", "opt-in", "--tenant", "acme", "--workload", "chat"], 1, "set UPSHIFT_KEY"),
        (["usage", "--by", "colour"], 2, "'colour' is not a dimension"),
        (["usage", "--where", "workload"], 2, "is not a condition"),
        (["usage", "--since", "soon"], 2, "is not a time"),
        (["usage", "--zone", "Mars"], 2, "is not a time zone"),
        (["usage", "call", "up_none"], 1, "no call 'up_none'"),
    ],
)
def test_what_is_wrong_is_said(planned: Shell, words: list[str], code: int, says: str) -> None:
    ran = planned.run(*words)
    assert ran.code == code, ran.err
    assert says in " ".join(ran.err.replace("│", " ").split())


def test_only_the_tenants_admin_opts_in(planned: Shell) -> None:
    own = planned.json("key", "issue", "--name", "ada", "--tenant", "acme", "--role", "tenant-admin")["secret"]
    admin = planned.json("key", "issue", "--name", "root", "--role", "admin")["secret"]
    words = ["budget", "opt-in", "--tenant", "acme", "--workload", "chat"]
    refused = planned.run(*words, key=admin)
    assert (refused.code, "only an admin of tenant acme" in refused.err) == (1, True)
    assert planned.run(*words, key="upt_unknown").code == 1
    assert planned.json(*words, "--limit", "$50", key=own)["limit_nano"] == 50_000_000_000
    assert "at most $50.00 a month" in planned.ok(*words, "--limit", "$50", key=own).out
    out = ["budget", "opt-out", "--tenant", "acme", "--workload", "chat"]
    assert planned.json(*out, key=own)["opted_in"] is False
    assert planned.run(*out, key=own).code == 1


@pytest.fixture
async def used(planned: Shell) -> Shell:
    installation = Installation(planned.db)
    now = SystemClock().now()
    call = installation.call
    await installation.spend(
        call(at=now),
        call(at=now, cost=None, outcome=Outcome.CLIENT_LEFT),
        call(at=now, tenant="globex", user="frank", workload="docs", cost=7_000_000),
        alerts=[alert(90)],
    )
    installation.desk.journal.close()
    return planned


async def test_usage_as_table_csv_and_json(used: Shell) -> None:
    # Unless it is said, only this month, which may have ended since they called.
    usage = ["usage", "--since", "2d"]
    text = used.ok(*usage, "--by", "workload").out
    assert "+1 unknown" in text
    assert "TOTAL" in text
    rows = list(csv.DictReader(io.StringIO(used.ok(*usage, "--by", "tenant,user", "--format", "csv").out)))
    assert [(row["tenant"], row["calls"]) for row in rows] == [("globex", "1"), ("acme", "2")]
    assert used.json(*usage, "--by", "day", "--where", "tenant=acme")["total"]["calls"] == 2
    assert used.ok(*usage, "--format", "json").json["total"]["unknown_cost_calls"] == 1


async def test_calls_and_one_call(used: Shell) -> None:
    assert [each["id"] for each in used.json("usage", "calls", "--limit", "2")] == ["up_0003", "up_0002"]
    assert "unknown" in used.ok("usage", "calls", "--where", "tenant=acme").out
    assert used.json("usage", "call", "up_0001")["served_model"] == "big"
    assert "served model" in used.ok("usage", "call", "up_0001").out


async def test_alerts_and_verify(used: Shell) -> None:
    (raised,) = used.json("budget", "alerts")
    assert (raised["threshold"], raised["deliveries"]) == (90, [])
    assert "alice" in used.ok("budget", "alerts").out
    assert used.json("verify")["ok"] is True
    assert used.ok("verify").out.startswith("sound")
