"""Which part of a prompt has the simulated provider seen before?"""

from collections.abc import Iterable
from hashlib import blake2b

from upshift.simulated.asked import Block

_STEP = 128
_LOOK_BACK = 20


class PromptCache:
    """Prefixes of prompts by model. They never expire by time, so that the same requests always give the same figures.

    `minimum` is the shortest prefix, in tokens, that is kept; beyond `capacity` prefixes the oldest are forgotten.
    """

    def __init__(self, minimum: int, capacity: int = 100_000) -> None:
        self._minimum = minimum
        self._capacity = capacity
        self._seen: dict[bytes, None] = {}

    def automatic(self, model: str, prompt: list[str]) -> int:
        """Tokens read from the cache when every prompt is kept in steps of 128 tokens; keeps this one."""
        if len(prompt) < self._minimum:
            return 0
        running = blake2b(model.encode(), digest_size=16)
        read = 0
        fresh: list[bytes] = []
        for end in range(_STEP, len(prompt) + 1, _STEP):
            running.update("\0".join(prompt[end - _STEP : end]).encode())
            if end < self._minimum:
                continue
            key = running.digest()
            if not fresh and key in self._seen:
                read = end
            else:
                fresh.append(key)
        self._keep(fresh)
        return read

    def marked(self, model: str, blocks: list[Block]) -> tuple[int, int, int]:
        """Tokens read, written for five minutes and written for an hour, for prompts cached at the marked blocks.

        What was written at a mark is found again up to 20 blocks before a later mark, as the vendor documents.
        """
        running = blake2b(model.encode(), digest_size=16)
        ends: list[tuple[bytes, int]] = []
        total = 0
        for block in blocks:
            running.update(len(block.content).to_bytes(8, "big") + block.content)
            total += block.tokens
            ends.append((running.digest(), total))
        marks = [at for at, block in enumerate(blocks) if block.ttl and ends[at][1] >= self._minimum]
        read = 0
        for mark in marks:
            found = (tokens for key, tokens in ends[max(0, mark - _LOOK_BACK) : mark + 1] if key in self._seen)
            read = max(read, *found, 0)
        written = {"5m": 0, "1h": 0}
        done = read
        for mark in marks:
            tokens = ends[mark][1]
            if tokens > done:
                written[blocks[mark].ttl] += tokens - done
                done = tokens
        self._keep(ends[mark][0] for mark in marks)
        return read, written["5m"], written["1h"]

    def _keep(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._seen[key] = None
        while len(self._seen) > self._capacity:
            del self._seen[next(iter(self._seen))]
