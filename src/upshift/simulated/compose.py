"""What does the simulated model answer, before any dialect words it?"""

from enum import Enum, auto
from random import Random

import msgspec

from upshift.simulated.asked import Asked, Tool, encoded
from upshift.simulated.schema import instance
from upshift.simulated.tokens import pieces
from upshift.simulated.traces import Lengths

_TEXT = (
    "the plan says each step will run when its gate has been met and then the team can see what it cost for "
    "that week so we hold back some room at the end of a line of work as it may grow more than was said but "
    "not past the mark you set here now if two of them ask for one turn both wait and pay by use"
)
_NO_LIMIT = 1 << 40


class Finish(Enum):
    """Why an answer ended."""

    STOP = auto()
    LENGTH = auto()
    TOOLS = auto()
    STOP_SEQUENCE = auto()


class Call(msgspec.Struct, frozen=True):
    """A tool call; `arguments` are the tokens of its JSON."""

    ident: str
    name: str
    arguments: list[str]
    space: str = ""
    free: bool = False


class Choice(msgspec.Struct, frozen=True):
    """One answer as tokens. `reasoning` counts what was thought, `thinking` is that text where it may be seen."""

    reasoning: int
    thinking: list[str]
    text: list[str]
    calls: list[Call]
    finish: Finish
    stop: str | None = None

    @property
    def output(self) -> int:
        """Output tokens to bill: reasoning, text, and for each call its arguments and one for its name."""
        return self.reasoning + len(self.text) + sum(1 + len(call.arguments) for call in self.calls)


class Composer:
    """Writes answers out of a fixed babble, as long as the trace says answers are."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        draws = Random(seed)
        words = _TEXT.split()
        self._lengths = lengths
        self._babble: list[str] = []
        while len(self._babble) < 8192:
            self._babble += [f" {draws.choice(words)}" for _ in range(draws.randint(5, 14))]
            self._babble.append(".")

    def compose(self, asked: Asked, output_tokens: int | None, draws: Random) -> list[Choice]:
        """Answers to a request, one per choice; `output_tokens` fixes their length. Raises ValueError (schema)."""
        return [self._choice(asked, output_tokens, draws) for _ in range(asked.choices)]

    def _choice(self, asked: Asked, exact: int | None, draws: Random) -> Choice:
        length = self._lengths.draw(asked.prompt_tokens, draws.random()) if exact is None else exact
        budget = _NO_LIMIT if asked.max_tokens is None else asked.max_tokens
        reasoning = min(int(length * asked.reasoning_share), budget)
        if asked.reasoning_limit is not None:
            reasoning = min(reasoning, asked.reasoning_limit)
        thinking = self._prose(reasoning, draws) if asked.reasoning_shown else []
        budget -= reasoning
        if asked.calls:
            return self._calling(asked, exact, reasoning, thinking, budget, draws)
        finish, stop = Finish.STOP, None
        if asked.schema is not None:
            text = pieces(encoded(instance(asked.schema, draws)).decode())
        elif asked.reply:
            text = pieces(asked.reply)
        else:
            text = self._prose(length - reasoning, draws)
        if asked.stops:
            text, stop = _stopped(text, asked.stops)
            finish = Finish.STOP if stop is None else Finish.STOP_SEQUENCE
        if len(text) > budget:
            text, finish, stop = text[:budget], Finish.LENGTH, None
        return Choice(reasoning, thinking, text, [], finish, stop)

    def _calling(
        self, asked: Asked, exact: int | None, reasoning: int, thinking: list[str], budget: int, draws: Random
    ) -> Choice:
        calls = [_call(tool, draws) for tool in asked.calls]
        size = sum(1 + len(call.arguments) for call in calls)
        text = [] if exact is None else self._prose(min(exact - reasoning - size, budget), draws)
        budget -= len(text)
        if size <= budget:
            return Choice(reasoning, thinking, text, calls, Finish.TOOLS)
        kept = []
        for call in calls:
            if budget < 1:
                break
            kept.append(msgspec.structs.replace(call, arguments=call.arguments[: budget - 1]))
            budget -= 1 + len(kept[-1].arguments)
        return Choice(reasoning, thinking, text, kept, Finish.LENGTH)

    def _prose(self, length: int, draws: Random) -> list[str]:
        if length <= 0:
            return []
        start = draws.randrange(len(self._babble) - 1)
        if self._babble[start] == ".":
            start += 1
        text = self._babble[start : start + length]
        while len(text) < length:
            text += self._babble[: length - len(text)]
        text[0] = text[0].lstrip()
        return text


def _call(tool: Tool, draws: Random) -> Call:
    arguments = tool.arguments
    if not arguments:
        made = instance({"type": "string"} if tool.free else {"type": "object", **tool.schema}, draws)
        arguments = made if tool.free and isinstance(made, str) else encoded(made).decode()
    return Call(f"{draws.getrandbits(80):020x}", tool.name, pieces(arguments), tool.space, tool.free)


def _stopped(text: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    whole = "".join(text)
    found = [(at, stop) for stop in stops if stop and (at := whole.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    kept = whole[:at]
    return pieces(kept), stop
