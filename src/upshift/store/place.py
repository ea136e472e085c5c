"""Where is an installation's database: a file of SQLite, or a server of PostgreSQL?"""

from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

_SCHEMES = ("postgresql", "postgres")
_SECRET = ("password", "sslpassword")
_HIDDEN = "***"


class PostgresUrl(msgspec.Struct, frozen=True):
    """A database of PostgreSQL. Shown without its password, whoever prints it."""

    url: str
    """What libpq takes, with the password if there is one: never to be printed or logged."""
    spelled: str
    """What `parse` made it of: the URL, or `@` and the file that holds it."""

    def __str__(self) -> str:
        begin, slashes, rest = self.url.partition("://")
        address, mark, options = rest.partition("?")
        users, at, hosts = address.rpartition("@")
        user, colon, _ = users.partition(":")
        told = "&".join(map(_without_secret, options.split("&")))
        return f"{begin}{slashes}{user}{colon}{_HIDDEN if colon else ''}{at}{hosts}{mark}{told}"

    def __repr__(self) -> str:
        return f"PostgresUrl({str(self)!r})"


Place: TypeAlias = Path | PostgresUrl


def parse(text: str) -> Place:
    """A path, a postgresql:// URL, or `@FILE` for a URL in a file. Raises ValueError, which never tells a password.

    What a URL leaves out is up to libpq: PGPASSWORD, ~/.pgpass and its other variables.
    """
    if not text:
        raise ValueError("the database is a file or a postgresql:// URL, and must not be empty")
    if text.startswith("@"):
        return _url(_content(Path(text[1:])), text)
    if text.split("://", 1)[0] in _SCHEMES and "://" in text:
        return _url(text, text)
    if "://" in text:
        raise ValueError(f"{text.split('://', 1)[0]}:// is no database; expected a file or postgresql://")
    return Path(text)


def spelled(place: Place) -> str:
    """What `parse` reads as this place; may hold a password."""
    return str(place) if isinstance(place, Path) else place.spelled


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file with the database's URL cannot be read: {path}: {error}") from error


def _url(url: str, as_spelled: str) -> PostgresUrl:
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or any(character.isspace() for character in url):
        raise ValueError("the file with the database's URL holds none; expected postgresql://user@host:5432/name")
    users, at, _ = rest.rpartition("@")
    if at and any(mark in users for mark in "/?#@"):
        # Where a password ends would be anybody's guess, and part of it might be shown for a host.
        raise ValueError("the database's URL must have / ? # and @ percent-encoded in user, password and options")
    return PostgresUrl(url, as_spelled)


def _without_secret(option: str) -> str:
    name, equals, _ = option.partition("=")
    return f"{name}{equals}{_HIDDEN}" if unquote(name) in _SECRET else option
