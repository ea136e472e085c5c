"""Where are the parts of the admin process joined? Settings -> journal -> desk -> API, console, notifier, upkeep."""

import asyncio
import functools
import gc
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.responses import RedirectResponse

from upshift import __version__
from upshift.admin.api import create_api
from upshift.admin.desk import Desk
from upshift.admin.metrics_routes import Scrape
from upshift.admin.served import serve_api
from upshift.app import channels, open_journal
from upshift.console.app import create_console
from upshift.console.away import Look
from upshift.console.oidc import Provider, registered
from upshift.engine.act import JournalActs
from upshift.engine.apprise_way import AppriseWay
from upshift.engine.exposition import exposed
from upshift.engine.gather import Gatherer
from upshift.engine.notices import MailWay, Teller, Way, WebhookWay
from upshift.engine.notify import Mail, Notifier, Webhook
from upshift.engine.processes import PATIENCE_SECONDS, Processes
from upshift.engine.recorded import JournalSources
from upshift.engine.runner import Runner
from upshift.engine.telemetry import Telemetry, target_of
from upshift.engine.totals import Follower
from upshift.engine.upkeep import Upkeep
from upshift.gateway.clock import Clock, SystemClock
from upshift.gateway.live import Pulse, live
from upshift.model.live import Live
from upshift.plan_file.books import known_checks
from upshift.settings import Settings
from upshift.store.engines import keeping, verify
from upshift.store.journal import Journal

NOTIFY_SECONDS = 1.0
UPKEEP_SECONDS = 10.0
PLAYBOOK_SECONDS = 5.0
FOLLOW_SECONDS = 15.0
"""Whoever asks for metrics gets what is new: this only bounds how much that is."""
TELEMETRY_SECONDS = 2.0
FORECAST_PATIENCE_SECONDS = 20.0
"""Who asks for a forecast waits so long; then it is said that it is being computed, and asked for again."""


async def _to_console() -> RedirectResponse:
    return RedirectResponse("/console/", 303)


async def run_admin(
    settings: Settings, sock: socket.socket, told_in: Path | None, environment: Mapping[str, str]
) -> None:
    """Serve the admin API on a listening socket, send alerts, and follow the ledger for metrics, until told to stop.

    `told_in` is the folder in which this machine's processes say how they are doing; the variables of OpenTelemetry
    are in `environment`. Raises ValueError for channels and providers of identities that cannot be, and what opening
    the database raises.
    """
    journal, clock = open_journal(settings.db), SystemClock()
    try:
        desk = Desk(journal, clock.now, FORECAST_PATIENCE_SECONDS)
        notifier = Notifier(journal, desk.snapshot, channels(settings), clock.now)
        whole = functools.partial(verify, settings.db)
        follower = Follower(journal, clock.now)
        processes = processes_of(told_in, clock)
        api = create_api(desk, whole, scrape=scrape_of(follower, processes))
        console = create_console(
            desk, whole, sign_ins=api.state.sign_ins, oidc=provider_of(settings), url=settings.console_url,
            embed=settings.console_embed, look=look_of(processes),
        )  # fmt: skip
        api.mount("/console", console)
        api.add_api_route("/", _to_console, include_in_schema=False)
        playbooks = _playbooks(settings, journal, clock)
        beside = [
            notifier.watch(NOTIFY_SECONDS), playbooks.watch(PLAYBOOK_SECONDS), follower.watch(FOLLOW_SECONDS)
        ]  # fmt: skip
        target = target_of(environment)
        if target is not None:
            telemetry = Telemetry(journal, target, desk.snapshot, clock.now, _holder(), __version__)
            beside.append(telemetry.watch(TELEMETRY_SECONDS))
        beside.append(Upkeep(keeping(settings.db), clock.now, settings.retain_days).watch(UPKEEP_SECONDS))
        settle()
        await serve_api(api, sock, beside)
    finally:
        journal.close()


def settle() -> None:
    """Tune the interpreter for a long life: what is alive now stays so, and the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def processes_of(told_in: Path | None, clock: Clock, patience: float = PATIENCE_SECONDS) -> Processes:
    """This machine's processes; to be made and asked on one event loop.

    One that does not answer within `patience` seconds is told of as silent.
    """
    pulse, began = Pulse(now=clock.now), clock.now()
    return Processes(told_in, lambda: live("admin", began, pulse), patience)


def scrape_of(follower: Follower, processes: Processes) -> Scrape:
    """The metrics of this installation and machine; to be asked on the event loop of `processes`."""

    async def scrape(accept: str) -> tuple[bytes, str]:
        return await asyncio.to_thread(exposed, follower, await processes.look(), accept)

    return scrape


def look_of(processes: Processes) -> Look:
    """What processes say, for the console; to be asked on their event loop."""

    async def look() -> Sequence[Live]:
        return (await processes.look()).processes

    return look


def _holder() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def notice_ways(settings: Settings) -> list[Way]:
    """The ways out that notices of playbooks take: those of alerts, and Apprise. Raises ValueError for a bad URL."""
    found: list[Way] = []
    if settings.smtp_url:
        found.append(MailWay(Mail(settings.smtp_url, settings.mail_from), settings.mail_from))
    if settings.webhook_url:
        found.append(WebhookWay(Webhook(settings.webhook_url, settings.webhook_secret)))
    found += map(AppriseWay, dict.fromkeys(settings.apprise_urls.split()))
    return found


def _playbooks(settings: Settings, journal: Journal, clock: Clock) -> Runner:
    gatherer = Gatherer(JournalSources(journal, clock.now), known_checks())
    teller = Teller(journal, notice_ways(settings))
    return Runner(journal, gatherer, JournalActs(journal, gatherer), clock.now, _holder(), teller)


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
