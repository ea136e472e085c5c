"""Who calls what in the demo, and with which client?"""

from collections.abc import Sequence
from random import Random

import msgspec

from upshift.simulated.traces import Arrival


class Part(msgspec.Struct, frozen=True):
    """One user of one workload. `share` is its part of all calls; `app`: by an application's key that names users."""

    tenant: str
    user: str
    workload: str
    model: str
    sdk: str
    share: float
    app: bool = False


CAST = (
    Part("acme", "alice", "support-chat", "claude-sonnet-5-5", "anthropic", 0.24),
    Part("acme", "bob", "support-chat", "gpt-6.1-sol", "openai", 0.12),
    Part("acme", "carol", "support-chat", "claude-sonnet-5-5", "anthropic", 0.08),
    Part("acme", "dave", "support-chat", "gpt-6.1-sol", "openai", 0.06),
    Part("acme", "erin", "docs-qa", "gpt-6.1-sol", "openai", 0.16),
    Part("globex", "frank", "docs-qa", "gpt-6.1-sol", "openai", 0.07),
    Part("acme", "visitor-1041", "call-summaries", "gpt-6-luna", "openai", 0.06, app=True),
    Part("acme", "visitor-2077", "call-summaries", "claude-haiku-5-5", "anthropic", 0.04, app=True),
    Part("acme", "heidi", "code-review", "claude-opus-5-5", "anthropic", 0.17),
)
STREAMED = 0.6

_TEXT = (
    "the order that was placed on monday has not arrived and the customer would like to know when it will be "
    "delivered or whether a refund is possible since the gift is for a birthday next week"
)


class Line(msgspec.Struct, frozen=True):
    """One call to make: when (seconds from the start), by whom, and how long."""

    at: float
    part: Part
    streamed: bool
    prompt: str


def script(arrivals: Sequence[Arrival], calls: int, seconds: float, seed: int) -> list[Line]:
    """The first `calls` arrivals of a trace, squeezed into `seconds`, dealt out to the cast. Deterministic by seed.

    Lengths are the trace's own: the prompt has as many words as the trace has input tokens (more or less), and the
    simulated provider is told to answer with as many tokens as the trace has.
    """
    draws = Random(seed)
    vocabulary = _TEXT.split()
    chosen = arrivals[:calls]
    last = max(arrival.t_seconds for arrival in chosen) or 1.0
    parts = draws.choices(CAST, weights=[part.share for part in CAST], k=len(chosen))
    lines = []
    for arrival, part in zip(chosen, parts, strict=True):
        words = " ".join(draws.choices(vocabulary, k=max(4, arrival.input_tokens)))
        prompt = f"{words}\n[[simulate: output_tokens={max(1, arrival.output_tokens)}]]"
        lines.append(Line(arrival.t_seconds / last * seconds, part, draws.random() < STREAMED, prompt))
    return lines
