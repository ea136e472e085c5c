"""What does the published table say of what survives between which dialects? `python -m` this module writes it anew."""

from pathlib import Path

from tests.traffic.translate.vectors import Vector, replies, requests

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.fidelity import Fate, Outcome, reply_outcome, request_outcome
from upshift.traffic.translate.translate import TRANSLATORS

PAGE = Path(__file__).parents[3] / "docs" / "fidelity.md"
DIALECTS = [dialect for dialect in Dialect if dialect in TRANSLATORS]
NAMES = {
    Dialect.OPENAI: "Chat Completions",
    Dialect.RESPONSES: "Responses",
    Dialect.ANTHROPIC: "Messages",
    Dialect.GEMINI: "Gemini",
}
MODELS = {
    Dialect.OPENAI: "a-model",
    Dialect.RESPONSES: "a-model",
    Dialect.ANTHROPIC: "claude-sonnet-4-6",
    Dialect.GEMINI: "gemini-3-pro",
}
"""The model that the provider is asked for: what is refused differs between models of a vendor, too."""

_HEAD = """\
# What survives translation

A client may speak another dialect than the provider that the plan sends it to. Requests, answers and streams are then
translated. Nothing is dropped in silence: what cannot be carried is **refused** where the answer would mean something
else without it, and otherwise **declared**: the answer's header `x-upshift-not-carried` names the fields.

This page is generated from tests (`python -m tests.traffic.translate.fidelity_table`). Each row is a request or an
answer that is translated, and read on the other side.

| word | what it means |
|---|---|
| carried | it reaches the other side and says the same there |
| changed | it reaches the other side in another form, which says as much as that dialect can |
| declared | it does not reach the other side whole, and the answer says so |
| refused | the call is refused with `cannot_serve`, and the message says why |

A call that goes to a provider which speaks the client's own dialect is not translated at all: its bytes are passed on.

The models asked for are {models}.
Some models of a vendor refuse what others of it take (sampling parameters, budgets for thinking, a forced tool), and
the name tells which: `src/upshift/traffic/translate/families.py`.
"""


def page() -> str:
    """The whole page."""
    models = ", ".join(f"`{MODELS[dialect]}` ({NAMES[dialect]})" for dialect in DIALECTS)
    lines = [_HEAD.format(models=models)]
    for client in DIALECTS:
        others = [dialect for dialect in DIALECTS if dialect is not client]
        lines += _heads(f"## Requests of {NAMES[client]} clients", others)
        for vector in requests(client):
            outcomes = [request_fate(client, provider, vector) for provider in others]
            lines.append(_row(vector, outcomes))
    for provider in DIALECTS:
        others = [dialect for dialect in DIALECTS if dialect is not provider]
        lines += _heads(f"## Answers of {NAMES[provider]} providers", others)
        for vector in replies(provider):
            lines.append(_row(vector, [reply_outcome(provider, client, vector.body) for client in others]))
    return "\n".join(lines) + "\n"


def request_fate(client: Dialect, provider: Dialect, vector: Vector) -> Outcome:
    """What becomes of a request on the way to a provider's usual model."""
    return request_outcome(client, provider, vector.body, target=vector.target, model=MODELS[provider])


def _heads(title: str, others: list[Dialect]) -> list[str]:
    return [
        "",
        title,
        "",
        _cells("", *(f"to {NAMES[dialect]}" for dialect in others)),
        "|---" * (len(others) + 1) + "|",
    ]


def _row(vector: Vector, outcomes: list[Outcome]) -> str:
    return _cells(vector.says, *map(_cell, outcomes))


def _cell(outcome: Outcome) -> str:
    names = sorted({loss.field for loss in outcome.losses if loss.fatal or outcome.fate is Fate.DECLARED})
    return f"{outcome.fate}: {', '.join(f'`{name}`' for name in names)}" if names else str(outcome.fate)


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page())
