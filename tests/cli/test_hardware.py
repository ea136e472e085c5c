"""Does the command on hardware say months, or what is missing to say them?"""

import pytest
from tests.cli.conftest import Shell


def test_months_and_what_is_behind_them(shell: Shell) -> None:
    shown = shell.ok(
        "hardware", "--price", "$2600", "--displaces", "$1200", "--share", "30%", "--utilisation", "20%"
    ).out
    assert "pays back in at least 7.2 months at 20% utilisation" in shown
    assert "not counted: power" in shown
    assert "--tokens-per-second" in shown


def test_every_load_beside_the_stated_one(shell: Shell) -> None:
    words = ("hardware", "--price", "$4000", "--displaces", "$5000", "--share", "30%", "--utilisation", "20%",
             "--tokens-per-second", "500", "--api-price", "$1.50", "--watts", "140", "--kwh", "$0.30")  # fmt: skip
    shown = shell.ok(*words).out
    assert "it cannot serve all that it should displace, that takes 76% utilisation" in shown
    assert [line.split()[0] for line in shown.splitlines() if "%  " in line and line.lstrip()[0].isdigit()] == [
        "10%", "20%", "25%", "50%", "75%", "100%",
    ]  # fmt: skip
    found = shell.json(*words)
    assert found["outcome"] == "pays"
    assert found["bound"] is True
    assert [each["utilisation"] for each in found["at"]] == [0.1, 0.2, 0.25, 0.5, 0.75, 1.0]


def test_a_rented_machine(shell: Shell) -> None:
    words = ("hardware", "--hourly", "$2.50", "--tokens-per-second", "700", "--utilisation", "10%")
    shown = shell.ok(*words).out
    assert "$9.92" in shown
    assert "$0.99" in shown
    assert shell.json(*words)["per_million"] == pytest.approx(9.92e9, rel=0.001)


def test_unknown_stays_unknown(shell: Shell) -> None:
    shown = shell.ok("hardware", "--displaces", "$500", "--price", "unknown", "--utilisation", "30%").out
    assert "unknown: say the price of the machine" in shown
    found = shell.json("hardware", "--displaces", "$500", "--utilisation", "30%")
    assert (found["outcome"], found["months"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("price", "says"), [("$4000", "does not pay back in its life"), ("$1k", "never pays back")], ids=["late", "never"]
)
def test_what_does_not_pay(shell: Shell, price: str, says: str) -> None:
    upkeep = "$0" if "life" in says else "$100"
    words = ("--price", price, "--displaces", "$50", "--utilisation", "0.3", "--upkeep", upkeep)
    assert says in shell.ok("hardware", *words).out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--utilisation"),
        (("--utilisation", "30"), "write it like 30% or 0.3"),
        (("--utilisation", "0%"), "saves nothing"),
        (("--utilisation", "30%", "--price", "1,50"), "is not an amount of money"),
        (("--utilisation", "30%", "--hourly", "$2"), "--tokens-per-second"),
        (("--utilisation", "30%", "--hourly", "$2", "--price", "$5"), "rented machine"),
    ],
)
def test_wrong_usage_is_said(shell: Shell, words: tuple[str, ...], says: str) -> None:
    ran = shell.run("hardware", *words)
    assert ran.code == 2
    assert says in ran.err
