"""Is a place read as it is written, and never shown with its password?"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.store.place import PostgresUrl, parse, spelled

SECRET = "s3cret%2Fword"


@pytest.mark.parametrize("text", ["upshift.db", "/var/lib/a b.db", "postgres", "a:b", "./@odd"])
def test_a_path_is_a_path(text: str) -> None:
    assert parse(text) == Path(text)
    assert spelled(parse(text)) == str(Path(text))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        (f"postgresql://me:{SECRET}@host:5432/db", "postgresql://me:***@host:5432/db"),
        (f"postgres://me:{SECRET}@[::1]/db?sslmode=require", "postgres://me:***@[::1]/db?sslmode=require"),
        (f"postgresql://host/db?user=me&password={SECRET}", "postgresql://host/db?user=me&password=***"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
        (f"postgresql://me:{SECRET}@a:1,b:2/db?sslpassword={SECRET}", "postgresql://me:***@a:1,b:2/db?sslpassword=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    place = parse(url)
    assert isinstance(place, PostgresUrl)
    assert str(place) == shown
    assert SECRET not in f"{place} {place!r} {[place]}"
    assert (place.url, spelled(place)) == (url, url)


@given(st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="/?#@"), min_size=1))
def test_no_password_is_shown(password: str) -> None:
    assert str(parse(f"postgresql://me:{password}@host/db")) == "postgresql://me:***@host/db"


@given(st.text(min_size=1))
def test_what_might_be_a_password_is_hidden_or_refused(password: str) -> None:
    url = f"postgresql://me:~{password}~@host/db"
    try:
        shown = repr(parse(url))
    except ValueError as error:
        shown = str(error)
    assert f"~{password}~" not in shown


def test_a_file_may_hold_the_url(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"postgresql://me:{SECRET}@host/db\n")
    place = parse(f"@{secret}")
    assert isinstance(place, PostgresUrl)
    assert place.url == f"postgresql://me:{SECRET}@host/db"
    assert spelled(place) == f"@{secret}"
    secret.write_text(SECRET)
    with pytest.raises(ValueError, match="holds none") as caught:
        parse(f"@{secret}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["", "mysql://host/db", "@/does/not/exist", "postgresql://me:a/b@host/db"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="database"):
        parse(text)
