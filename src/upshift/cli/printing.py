"""How does a command print what it found, or why it failed?"""

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]

_WIDE = 180


def out() -> Console:
    """Where results go. Wide where nobody looks at it, so that a pipe gets whole lines."""
    return _console(stderr=False)


def err() -> Console:
    """Where everything else goes."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width, soft_wrap=False)


def emit(document: Any) -> None:
    """Print one JSON document."""
    plain = TypeAdapter(Any).dump_python(document, mode="json")
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An unboxed table; columns in `numbers` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def fail(message: str, *, as_json: bool = False) -> NoReturn:
    """Say why it cannot be done, and exit with 1."""
    if as_json:
        emit({"error": message})
    err().print(f"error: {message}", style="red")
    raise typer.Exit(1)


def meaning(parse: Callable[..., T], *arguments: Any, option: str = "") -> T:
    """What a person's text means. A ValueError is a wrong usage: exit code 2."""
    try:
        return parse(*arguments)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option or None) from None
