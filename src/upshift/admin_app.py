"""Where are the parts of the admin process joined? Settings -> journal -> desk -> API, console, notifier, upkeep."""

import functools
import os
import socket

from starlette.responses import RedirectResponse

from upshift.admin.api import create_api
from upshift.admin.desk import Desk
from upshift.admin.served import serve_api
from upshift.app import channels, open_journal
from upshift.console.app import create_console
from upshift.console.oidc import Provider, registered
from upshift.engine.act import JournalActs
from upshift.engine.gather import Gatherer
from upshift.engine.notices import MailWay, Teller, Way, WebhookWay
from upshift.engine.notify import Mail, Notifier, Webhook
from upshift.engine.recorded import JournalSources
from upshift.engine.runner import Runner
from upshift.engine.upkeep import Upkeep
from upshift.gateway.clock import Clock, SystemClock
from upshift.plan_file.books import known_checks
from upshift.settings import Settings
from upshift.store.engines import keeping, verify
from upshift.store.journal import Journal

NOTIFY_SECONDS = 1.0
UPKEEP_SECONDS = 5.0
PLAYBOOK_SECONDS = 5.0


async def _to_console() -> RedirectResponse:
    return RedirectResponse("/console/", 303)


async def run_admin(settings: Settings, sock: socket.socket) -> None:
    """Serve the admin API on a listening socket and send alerts, until told to stop.

    Raises ValueError for channels and providers of identities that cannot be, and what opening the database raises.
    """
    journal, clock = open_journal(settings.db), SystemClock()
    try:
        desk = Desk(journal, clock.now)
        notifier = Notifier(journal, desk.snapshot, channels(settings), clock.now)
        whole = functools.partial(verify, settings.db)
        api = create_api(desk, whole)
        console = create_console(
            desk, whole, oidc=provider_of(settings), url=settings.console_url, embed=settings.console_embed
        )
        api.mount("/console", console)
        api.add_api_route("/", _to_console, include_in_schema=False)
        playbooks = _playbooks(settings, journal, clock)
        beside = [notifier.watch(NOTIFY_SECONDS), playbooks.watch(PLAYBOOK_SECONDS)]
        store = keeping(settings.db)
        if store is not None:
            beside.append(Upkeep(store, clock.now, settings.retain_days).watch(UPKEEP_SECONDS))
        await serve_api(api, sock, beside)
    finally:
        journal.close()


def notice_ways(settings: Settings) -> list[Way]:
    """The ways out that notices of playbooks take, the same as of alerts. Raises ValueError for a URL that is none."""
    found: list[Way] = []
    if settings.smtp_url:
        found.append(MailWay(Mail(settings.smtp_url, settings.mail_from), settings.mail_from))
    if settings.webhook_url:
        found.append(WebhookWay(Webhook(settings.webhook_url, settings.webhook_secret)))
    return found


def _playbooks(settings: Settings, journal: Journal, clock: Clock) -> Runner:
    gatherer = Gatherer(JournalSources(journal, clock.now), known_checks())
    holder = f"{socket.gethostname()}/{os.getpid()}"
    teller = Teller(journal, notice_ways(settings))
    return Runner(journal, gatherer, JournalActs(journal, gatherer), clock.now, holder, teller)


def provider_of(settings: Settings) -> Provider | None:
    """The provider of identities that settings name, if any. Raises ValueError."""
    found = registered(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        settings.oidc_roles,
        settings.oidc_tenant_claim,
        settings.oidc_user_claim,
    )
    return None if found is None else Provider(found)
