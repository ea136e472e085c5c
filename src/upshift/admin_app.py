"""Where are the parts of the admin process joined? Settings -> journal -> desk -> API, console, notifier, upkeep."""

import functools
import socket

from starlette.responses import RedirectResponse

from upshift.admin.api import create_api
from upshift.admin.desk import Desk
from upshift.admin.served import serve_api
from upshift.app import channels, open_journal
from upshift.console.app import create_console
from upshift.engine.notify import Notifier
from upshift.engine.upkeep import Upkeep
from upshift.gateway.clock import SystemClock
from upshift.settings import Settings
from upshift.store.engines import keeping, verify

NOTIFY_SECONDS = 1.0
UPKEEP_SECONDS = 5.0


async def _to_console() -> RedirectResponse:
    return RedirectResponse("/console/", 303)


async def run_admin(settings: Settings, sock: socket.socket) -> None:
    """Serve the admin API on a listening socket and send alerts, until told to stop.

    Raises ValueError for channels that cannot be, and what opening the database raises.
    """
    journal, clock = open_journal(settings.db), SystemClock()
    try:
        desk = Desk(journal, clock.now)
        notifier = Notifier(journal, desk.snapshot, channels(settings), clock.now)
        whole = functools.partial(verify, settings.db)
        api = create_api(desk, whole)
        api.mount("/console", create_console(desk, whole))
        api.add_api_route("/", _to_console, include_in_schema=False)
        beside = [notifier.watch(NOTIFY_SECONDS)]
        store = keeping(settings.db)
        if store is not None:
            beside.append(Upkeep(store, clock.now, settings.retain_days).watch(UPKEEP_SECONDS))
        await serve_api(api, sock, beside)
    finally:
        journal.close()
