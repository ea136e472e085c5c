"""What takes long is made once, whoever asks, and who does not want to wait is told."""

import functools
import threading

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import Installation

from upshift.admin.api import create_api
from upshift.admin.kept import BeingComputedError, Kept
from upshift.model.key import Role
from upshift.store.verify import verify


def test_only_the_latest_are_kept() -> None:
    kept: Kept[int] = Kept(2)
    made: list[str] = []

    def make(name: str) -> int:
        made.append(name)
        return len(made)

    for name in ("a", "b", "a", "c", "a", "b"):
        kept.get(name, functools.partial(make, name))
    assert made == ["a", "b", "c", "b"]
    assert ("c" in kept, "a" in kept, "b" in kept) == (False, True, True)


def test_many_who_ask_at_once_have_it_made_once() -> None:
    kept: Kept[object] = Kept(2)
    go, made, had = threading.Event(), [], []

    def make() -> object:
        go.wait()
        made.append(object())
        return made[-1]

    askers = [threading.Thread(target=lambda: had.append(kept.get("it", make))) for _ in range(8)]
    for each in askers:
        each.start()
    go.set()
    for each in askers:
        each.join()
    assert len(made) == 1
    assert had == made * 8


def test_who_does_not_wait_is_told_and_has_it_later() -> None:
    kept: Kept[int] = Kept(2, patience=0.0)
    go, done = threading.Event(), threading.Event()

    def make() -> int:
        go.wait()
        done.set()
        return 7

    for _ in range(2):
        with pytest.raises(BeingComputedError, match="being computed"):
            kept.get("it", make)
    assert "it" not in kept
    go.set()
    done.wait()
    while "it" not in kept:
        pass
    assert kept.get("it", pytest.fail) == 7


def test_what_failed_is_tried_again() -> None:
    kept: Kept[int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("it", lambda: 1 // 0)
    assert kept.get("it", lambda: 1) == 1


def test_the_api_says_when_to_ask_again(installation: Installation) -> None:
    desk = installation.desk
    desk.kept = Kept(4, patience=0.0)
    client = TestClient(create_api(desk, functools.partial(verify, installation.db)))
    client.headers["authorization"] = f"Bearer {installation.secret(Role.ADMIN)}"
    while (answer := client.get("/api/v1/portfolio")).status_code == 503:
        assert answer.headers["retry-after"] == "2"
        assert "being computed" in answer.json()["detail"]
    assert answer.json()["in_force"]
