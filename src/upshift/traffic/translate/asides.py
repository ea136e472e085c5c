"""What do all dialects say alike of what cannot be carried?"""

from upshift.traffic.translate.words import Loss, Request


class Losses:
    """Collects losses, each field once."""

    __slots__ = ("_found",)

    def __init__(self, known: list[Loss] | None = None) -> None:
        self._found = {loss.field: loss for loss in known or ()}

    def add(self, field: str, why: str) -> None:
        """Something is left out, or carried as something less."""
        if field not in self._found:
            self._found[field] = Loss(field, why)

    def refuse(self, field: str, why: str) -> None:
        """Without this the answer would mean something else."""
        self._found[field] = Loss(field, why, fatal=True)

    def all(self) -> list[Loss]:
        """All of them, in the order in which they were met."""
        return list(self._found.values())


def bound(request: Request, max_output: int | None) -> int | None:
    """Tokens that the answer may have: the smaller of what the request says and what it is given."""
    if request.max_output is None or max_output is None:
        return max_output if request.max_output is None else request.max_output
    return min(request.max_output, max_output)
