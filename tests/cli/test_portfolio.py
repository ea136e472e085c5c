"""Do the commands sign off, review, draw and roll back as people would, and refuse what is not signed?"""

from pathlib import Path

import pytest
from tests.cli.conftest import Ran, Shell

PLAN = (Path(__file__).parents[1] / "admin" / "portfolio.yaml").read_text()
COMMITTED = PLAN.replace("status: candidate", "status: committed")


def written(shell: Shell, text: str, name: str = "plan.yaml") -> str:
    path = shell.folder / name
    path.write_text(text)
    return str(path)


def key(shell: Shell, role: str, name: str) -> str:
    return str(shell.json("key", "issue", "--role", role, "--name", name)["secret"])


@pytest.fixture
def signed(shell: Shell) -> Shell:
    """A database in which W-01 is signed off."""
    shell.ok("db", "migrate")
    plan = written(shell, PLAN)
    for role, name in (("engineering", "Edith"), ("finance", "Fay")):
        shell.ok("plan", "signoff", plan, "W-01", "--budget", "all", "--yes", key=key(shell, role, name))
    return shell


def sign(shell: Shell, secret: str, *more: str, answer: str = "") -> Ran:
    return shell.run("plan", "signoff", written(shell, PLAN), "W-01", *more, key=secret, answer=answer)


def test_signing_shows_the_figures_and_asks(shell: Shell) -> None:
    shell.ok("db", "migrate")
    fay = key(shell, "finance", "Fay")
    no = sign(shell, fay, "--budget", "ops", answer="n\n")
    assert no.code == 1
    assert "W-01 for finance, by Fay:" in no.err
    assert "ops_hours" in no.err
    assert "sessions " not in no.err
    yes = sign(shell, fay, "--budget", "ops", answer="y\n")
    assert "signed off ops of W-01 for finance by Fay" in yes.out
    again = sign(shell, fay, "--budget", "ops", "--yes")
    assert "as it was before" in again.out
    (found,) = sign(shell, fay, "--budget", "ops", "--withdraw", "--json").json
    assert (found["budget"], found["by"]) == ("ops", "Fay")
    assert sign(shell, fay, "--budget", "ops", "--withdraw").code == 1


def test_signing_needs_a_persons_own_key(shell: Shell) -> None:
    shell.ok("db", "migrate")
    assert "set UPSHIFT_KEY" in sign(shell, "", "--budget", "all", "--yes").err
    assert "the key is unknown" in sign(shell, "upf_nobody", "--budget", "all", "--yes").err
    admin = key(shell, "admin", "Root")
    assert "only keys with the role engineering or finance sign off" in sign(shell, admin, "--budget", "all", "-y").err
    fay = key(shell, "finance", "Fay")
    assert sign(shell, "", "--budget", "all", "--yes", "--key", fay).code == 0
    assert sign(shell, fay, "--budget", "all", "--until", "soon").code == 2
    assert sign(shell, fay).code == 2


def test_an_unsigned_plan_is_not_applied(shell: Shell) -> None:
    plan = written(shell, COMMITTED)
    ran = shell.run("plan", "apply", plan, "--yes")
    assert ran.code == 1
    assert "refused W-01: ops is not signed off by finance" in ran.err
    assert "see: upshift plan review" in ran.err
    asked = shell.run("plan", "apply", plan, "--json")
    assert (asked.code, asked.json["applied"], len(asked.json["refusals"])) == (1, False, 6)
    assert shell.run("plan", "show").code == 1


def test_a_signed_plan_is_applied_changed_and_rolled_back(signed: Shell) -> None:
    signed.ok("plan", "apply", written(signed, COMMITTED), "--yes")
    more = written(signed, COMMITTED.replace("280", "400"))
    shown = signed.ok("plan", "diff", more)
    assert "W-01: tokens lost the sign-off of finance (Fay): users 280 -> 400" in shown.out
    assert "refused W-01: compute" in shown.err
    assert signed.run("plan", "apply", more, "--yes").code == 1
    signed.ok("plan", "apply", written(signed, PLAN), "--yes")
    refused = signed.run("plan", "rollback", answer="n\n")
    assert refused.code == 1
    assert "W-01 is committed instead of candidate" in refused.err
    done = signed.json("plan", "rollback")
    assert (done["restored"]["number"], done["in_force"]["number"], done["applied"]) == (1, 3, True)
    assert [each["restores"] for each in signed.json("plan", "history")] == [1, None, None]
    assert "in force already" in signed.ok("plan", "rollback", "3", "--yes").out
    assert signed.run("plan", "rollback", "9", "--yes").code == 1


def test_the_review_shows_everything_that_is_to_be_decided(signed: Shell) -> None:
    text = signed.ok("plan", "review", written(signed, PLAN)).out
    for part in (
        "not in force, in Q",
        "W-01      Chat                   Sarah  candidate  Q3-2026     6/6  planned  may move",
        "W-05 is not planned yet: it has no gate",
        "it does not say users, estimate.sessions, estimate.tokens, estimate.ops",
        "6 of 6 sign-offs are missing",
        "Edith 20",
        "hours of ops a week",
        "tokens   product, finance      monthly    monthly",
        "buffer: 18% on top of each",
        "  ops: ",
    ):
        assert part in text, part
    lost = signed.ok("plan", "review", written(signed, COMMITTED.replace("280", "400"))).out
    assert "W-01 may not be committed: tokens lost the sign-off of finance (Fay): users 280 -> 400" in lost
    assert "void: Fay 20" in lost
    assert "this plan may not be put in force, for 4 reasons" in lost
    assert "6 of 6 sign-offs are missing" in lost
    assert "nothing was forecast or called in the last quarter" in lost
    beyond = signed.ok("plan", "review", written(signed, COMMITTED.replace("40h", "9h"))).out
    assert "Q1-2027: 10.0 h/week of ops are more than the ceiling of 9 h" in beyond
    assert signed.run("plan", "review").code == 1
    signed.ok("plan", "apply", written(signed, COMMITTED), "--yes")
    assert signed.json("plan", "review")["in_force"] is True


def test_draws_on_the_buffer(signed: Shell) -> None:
    fay = key(signed, "finance", "Fay Finance")
    assert "nothing was drawn" in signed.ok("plan", "buffer").err
    assert signed.run("plan", "buffer", "--draw", "3h", "--why", "x", key=fay).code == 1
    assert signed.run("plan", "buffer", "--draw", "much", "--budget", "ops", "--why", "x", key=fay).code == 2
    (made,) = signed.json("plan", "buffer", "--draw", "3h", "--budget", "ops", "--why", "a bad week", key=fay)
    assert (made["amount"], made["says"], made["why"]) == (3.0, "3 h/week", "a bad week")
    assert "a bad week" in signed.ok("plan", "buffer").out
    assert "a bad week" in signed.ok("plan", "review", written(signed, PLAN)).out


def test_the_forecast_counts_what_was_drawn_from_the_buffer(signed: Shell) -> None:
    fay = key(signed, "finance", "Fay Finance")
    signed.ok(
        "plan", "buffer", "--draw", "3h", "--budget", "ops", "--quarter", "Q1-2027", "--why", "a bad week", key=fay
    )
    asked = "plan", "forecast", written(signed, PLAN), "--start", "2027-01", "--months", "3", "--draws", "50"
    counted = signed.json(*asked, "--candidates", "--db", str(signed.db))["buffer"]
    assert {each["line"]: each["drawn"] for each in counted} == {"tokens": 0, "compute": 0, "ops": 3.0}
    assert "not known without --db" in signed.ok(*asked).out
    assert "not known without --db" not in signed.ok(*asked, "--db", str(signed.db)).out
