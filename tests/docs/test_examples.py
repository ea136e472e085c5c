"""Do the examples of the pages work: plans load, commands parse, Python runs?"""

import asyncio
import builtins
import re
import shlex
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.docs.pages import PAGES, ROOT, Block, blocks, name, spans
from tests.end_to_end.stack import running

from upshift.cli.root import app
from upshift.model.metered import Outcome
from upshift.plan_file import loads

TODAY = date(2026, 11, 21)
GUIDE = ROOT / "docs" / "guide-plan.md"
MODELS = (
    ("big: {provider: openai,", "big: {provider: openai, aliases: [gpt-6.1-sol],"),
    ("aliases: [claude-test]", "aliases: [claude-test, claude-sonnet-5-5]"),
)


def whole(block: Block) -> bool:
    return block.text.startswith("upshift:")


PLANS = blocks("yaml")
(BASE,) = [block for block in PLANS if whole(block) and block.page == GUIDE]


def together(one: Any, other: Any) -> Any:
    """`other` laid over `one`, mapping by mapping."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: together(one.get(key), other[key]) if key in other else one[key] for key in {**one, **other}}
    return other


@pytest.mark.parametrize("block", PLANS, ids=str)
def test_plans_load(block: Block) -> None:
    """What is not a whole plan is an addition to the guide's."""
    text = block.text
    if not whole(block):
        text = yaml.safe_dump(together(yaml.safe_load(BASE.text), yaml.safe_load(block.text)), sort_keys=False)
    checked = loads(text, str(block), today=TODAY)
    assert [problem.what for problem in checked.warnings] == []


def commands(block: Block) -> list[list[str]]:
    """The `upshift` commands of a block, as words, without variables before them."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == "upshift":
            found.append(words[1:])
    return found


def parse(words: list[str], *, only_the_name: bool) -> None:
    """Raises what the command line would say of these words. Nothing is run."""
    command: Any = typer.main.get_command(app)
    name_, rest, parent = "upshift", words, None
    while True:
        if only_the_name and not (hasattr(command, "resolve_command") and rest and rest[0].isalpha()):
            return
        context = command.make_context(name_, list(rest), parent=parent)
        rest = [*context._protected_args, *context.args]
        if not (hasattr(command, "resolve_command") and rest):
            return
        name_, command, rest = command.resolve_command(context, rest)
        parent = context


COMMANDS = [(str(block), words) for block in blocks("sh") for words in commands(block)]


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=[f"{where} {' '.join(words)}" for where, words in COMMANDS])
def test_commands_parse(where: str, words: list[str]) -> None:
    parse(words, only_the_name=False)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_exist(page: Path) -> None:
    for span in spans(page):
        if span.startswith("upshift "):
            parse(shlex.split(span)[1:], only_the_name=True)


@pytest.mark.parametrize("words", ["plan aply x.yaml", "budget show --tenants acme", "nothing"])
def test_a_command_that_is_not_one_would_be_noticed(words: str) -> None:
    with pytest.raises(Exception, match=r"No such|aply|tenants|nothing"):
        parse(words.split(), only_the_name=False)


def test_make_has_the_targets_that_are_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for block in blocks("sh") for line in block.text.replace("\\\n", " ").splitlines()]
    asked = {words[1] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "make"}
    asked |= {span.split()[1] for page in PAGES for span in spans(page) if span.startswith("make ")}
    assert asked
    assert asked <= targets


PYTHON = blocks("python")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", [block for block in PYTHON if "runnable" in block.marks], ids=str)
async def test_python_runs(block: Block, tmp_path: Path) -> None:
    printed: list[str] = []
    async with running(tmp_path, extra=MODELS) as stack:
        secret = stack.secret()
        await stack.gateway.flow.regime.refresh()
        text = block.text.replace("http://127.0.0.1:8787", stack.base_url).replace("upk_...", secret)
        names: dict[str, Any] = {"__builtins__": {**vars(builtins), "print": printed.append}}

        def run() -> None:
            exec(compile(text, str(block), "exec"), names)
            names["client"].close()

        await asyncio.to_thread(run)
        records = await stack.records()
    assert [record.outcome for record in records] == [Outcome.SERVED]
    assert len(printed) == 1
    assert printed[0]
