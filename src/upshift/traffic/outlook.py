"""How long will this call's input and answer be, judged by the calls of the same workload and model before it?

The estimates size holds; they never decide what is charged. Input errs upwards: the largest tokens-per-byte ratio
of recent calls, or one token per three bytes while too few were seen. Output is a quantile, since a hold grows.
"""

from bisect import bisect_right

from upshift.model.tokens import Usage

PRIOR_TOKENS_PER_BYTE = 1 / 3
PRIOR_BYTES_PER_TOKEN = 4
"""What prose and code in English come to at the vendors' tokenisers: the guess before anything was seen."""
PRIOR_OUTPUT = 1024
IMAGE_TOKENS = 1600
"""What one image is held at (the vendors' usual upper figure for a full-size image)."""

_ENOUGH = 20
_GENERATION = 256
_HALVE_AT = 1024
_STEPS_PER_DOUBLING = 4
_BINS = 96


class Outlook:
    """What was learnt about one workload on one model. Deterministic; its owner keeps it between calls."""

    __slots__ = (
        "_counts",
        "_highest",
        "_older",
        "_quantile",
        "_ratio",
        "_recent",
        "_seen",
        "_since",
        "_total",
        "_turn",
        "_usual",
        "bytes_per_token",
    )

    def __init__(self) -> None:
        self._counts = [0] * _BINS
        self._highest = 0
        """No bin above this one has counts."""
        self._total = 0
        self._since = 0
        self._quantile = PRIOR_OUTPUT
        self._seen = 0
        self._recent = 0.0
        self._older = 0.0
        self._turn = _ENOUGH
        """The number of calls with which the prior or a generation ends."""
        self._ratio = PRIOR_TOKENS_PER_BYTE
        """Tokens per byte that an input is held at: kept, for it is asked for more often than it changes."""
        self._usual = 0.0
        self.bytes_per_token = 3.0
        """Bytes of generated text per output token, lowest believed; turns streamed bytes into tokens."""

    def input_tokens(self, text_bytes: int, images: int) -> int:
        """Tokens to hold for an input."""
        return int(text_bytes * self._ratio + 0.999999) + images * IMAGE_TOKENS

    def usual_input_tokens(self, text_bytes: int, images: int) -> int:
        """The best guess at an input's tokens: neither up nor down, for somebody who asks."""
        ratio = self._usual or 1 / PRIOR_BYTES_PER_TOKEN
        return max(1, round(text_bytes * ratio)) + images * IMAGE_TOKENS

    @property
    def seen(self) -> int:
        """Calls that the guess at an input rests on."""
        return self._seen

    def output_tokens(self) -> int:
        """The 90 % quantile of past answers, in tokens, rounded up to a step of about a fifth; 1024 before any."""
        if self._since >= 16 or (self._since and self._total <= 16):
            self._quantile = self._compute()
            self._since = 0
        return self._quantile

    def observe(self, usage: Usage, text_bytes: int, images: int, output_bytes: int) -> None:
        """Learn from a call whose usage the provider reported."""
        if text_bytes > 0 and images == 0:
            # More tokens than bytes are not of the request: the provider added them (a search, a document).
            ratio = min(1.0, usage.input / text_bytes)
            usual = self._usual
            self._usual = usual + (ratio - usual) * 0.05 if usual else ratio
            self._seen = seen = self._seen + 1
            if ratio > self._recent or seen == self._turn:
                self._note(ratio)
        output = usage.output
        visible = output - usage.reasoning
        if visible >= 16 and output_bytes > 0:
            # Follow a lower ratio at once and a higher one slowly: too few bytes per token only grows a hold early.
            known, length = self.bytes_per_token, max(0.25, output_bytes / visible)
            self.bytes_per_token = known + (length - known) * (1.0 if length < known else 0.05)
        at = bisect_right(_LOWEST, output)
        self._counts[at] += 1
        self._highest = max(self._highest, at)
        self._since += 1
        self._total = total = self._total + 1
        if total >= _HALVE_AT:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def _note(self, ratio: float) -> None:
        """A call after which inputs may be held at another ratio."""
        seen = self._seen
        self._recent = max(self._recent, ratio)
        if seen % _GENERATION == 0:
            self._older, self._recent = self._recent, 0.0
        self._turn = _ENOUGH if seen < _ENOUGH else (seen // _GENERATION + 1) * _GENERATION
        self._ratio = max(self._recent, self._older, PRIOR_TOKENS_PER_BYTE if seen < _ENOUGH else 0.0)

    def _compute(self) -> int:
        rest = self._total - (9 * self._total) // 10
        index = self._highest + 1
        while rest > 0:
            index -= 1
            rest -= self._counts[index]
        return _upper(index)


def _upper(index: int) -> int:
    """The largest token count that falls into a bin."""
    if index == 0:
        return 1
    doublings, part = divmod(index - 1, _STEPS_PER_DOUBLING)
    return max(1, (1 << doublings) + -(-((part + 1) << doublings) // _STEPS_PER_DOUBLING) - 1)


_LOWEST = (1, *(_upper(index) + 1 for index in range(1, _BINS - 1)))
"""The smallest token count of each bin but the first, where nothing is; the last bin has no upper end."""
