"""What does the console say while the keeper of the ledger serves on without its database?"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import msgspec
import structlog
from fastapi import Depends, Request

from upshift.model.live import Live
from upshift.model.span import Instant

log = structlog.get_logger()

Look = Callable[[], Awaitable[Sequence[Live]]]
"""What the processes of this machine say of themselves."""


class Away(msgspec.Struct, frozen=True):
    """The database is away, or it was and has been told everything since."""

    since: Instant | None
    """None once it is back."""
    owed: int | None
    """Entries that the keeper's log alone has; None where the keeper runs on another machine."""
    told: Instant | None
    """When the database last had all of them."""


def away_of(processes: Sequence[Live]) -> Away | None:
    """What they know of it, the keeper before all others; None where there is nothing to say."""
    books = [(each.process == "keeper", each.books) for each in processes if each.books is not None]
    since = min((each.away_since for _, each in books if each.away_since is not None), default=None)
    owed = [each.owed for keeper, each in books if keeper]
    told = max((each.told for _, each in books if each.told is not None), default=None)
    if since is None and told is None and not any(owed):
        return None
    return Away(since, sum(owed) if owed else None, told)


async def looked(request: Request) -> Away | None:
    """The same, of the processes beside this one; None where they cannot be asked, for pages do without."""
    look: Look | None = request.app.state.look
    try:
        return None if look is None else away_of(await look())
    except OSError as error:
        log.warning("console.away", problem=str(error))
        return None


InAway = Annotated[Away | None, Depends(looked)]
