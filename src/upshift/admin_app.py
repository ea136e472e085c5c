"""Where are the parts of the admin process joined? Settings -> journal -> desk -> API, with the notifier beside it."""

import functools
import socket

from upshift.admin.api import create_api
from upshift.admin.desk import Desk
from upshift.admin.served import serve_api
from upshift.app import channels, open_journal
from upshift.engine.notify import Notifier
from upshift.gateway.clock import SystemClock
from upshift.settings import Settings
from upshift.store.verify import verify

NOTIFY_SECONDS = 1.0


async def run_admin(settings: Settings, sock: socket.socket) -> None:
    """Serve the admin API on a listening socket and send alerts, until told to stop.

    Raises ValueError for channels that cannot be, and what opening the database raises.
    """
    journal, clock = open_journal(settings.db), SystemClock()
    try:
        desk = Desk(journal, clock.now)
        notifier = Notifier(journal, desk.snapshot, channels(settings), clock.now)
        api = create_api(desk, functools.partial(verify, settings.db))
        await serve_api(api, sock, [notifier.watch(NOTIFY_SECONDS)])
    finally:
        journal.close()
