"""Does the console work in a browser: no error, no serious finding of axe, charts drawn, live rows, keys, phone width?"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright
from tests.admin.installation import HOUR, NOW, Installation, alert
from tests.browser import FLAGS, PATIENCE_MS, chromium
from tests.console.conftest import Browser
from tests.console.teams import changing

from upshift.console.app import MENU
from upshift.console.roles import may
from upshift.model.budget import Bucket
from upshift.model.key import Role
from upshift.model.metered import Outcome

FOUND = chromium()
pytestmark = pytest.mark.skipif(FOUND is None, reason="no Chromium here; python -m tests.browser installs one")

SERIOUS = {"serious", "critical"}
MORE = (
    "workloads/chat",
    "capacity/team?example=true",
    "capacity/hardware?price=$2600&displaces=$1200&share=30%25&utilisation=20%25",
    "traffic/up_0001",
    "budgets/acme/chat/alice",
    "playbooks/small-dora-1",
    "playbooks/small-emil-1",
    "interfaces/plan-research",
    "interfaces/research-plan",
)
PAGES = [*(entry.path.removeprefix("/console/") for entry in MENU if may(Role.ADMIN, entry.needs)), *MORE]


async def _used(installation: Installation) -> None:
    made = installation.call
    await installation.spend(
        made(),
        made(user="bob", outcome=Outcome.REFUSED),
        made(cost=None),
        made(bucket=Bucket.DEGRADED, at=NOW - 30 * HOUR),
        alerts=[alert()],
    )


@pytest.fixture
def site(installation: Installation) -> Iterator[tuple[str, str]]:
    """The console on a port, with some use: its URL, and an admin's key."""
    # In a thread: Playwright has an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _used(installation)).result()
    changing(installation)
    browser = Browser(installation)
    server = uvicorn.Server(
        uvicorn.Config(browser.client.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", browser.secret(Role.ADMIN)
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=list(FLAGS), timeout=PATIENCE_MS)
        yield browser
        browser.close()


def opened(chrome: Chromium, site: tuple[str, str], width: int, scheme: str) -> tuple[Page, list[str]]:
    """A page that is signed in, and what its console complains of."""
    url, key = site
    context = chrome.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/console/")
    page.fill("#key", key)
    page.click("button.primary")
    page.wait_for_url("**/console/")
    return page, complaints


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_page_is_sound_and_accessible(chrome: Chromium, site: tuple[str, str], width: int, scheme: str) -> None:
    page, complaints = opened(chrome, site, width, scheme)
    for path in PAGES:
        page.goto(f"{site[0]}/console/{path}")
        page.wait_for_load_state("load")
        found = Axe().run(page).response["violations"]
        serious = [
            (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
            for each in found
            if each["impact"] in SERIOUS
        ]
        assert not serious, (path, serious)
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"{path} is wider than {width}"
    assert not complaints
    page.context.close()


def test_charts_are_drawn_and_times_are_the_viewers(chrome: Chromium, site: tuple[str, str]) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.wait_for_selector("[data-chart] svg")
    shown = page.locator("time[data-shown]").count()
    assert shown == page.locator("time").count() > 0
    page.click("[data-theme-button]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not complaints
    page.context.close()


def test_the_keyboard_reaches_search_and_content(chrome: Chromium, site: tuple[str, str]) -> None:
    page, _ = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/budgets")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("alice")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=alice*")
    assert page.locator("tbody tr").count() > 0
    page.context.close()


def test_calls_show_while_they_close(chrome: Chromium, site: tuple[str, str], installation: Installation) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/traffic")
    page.locator("[data-live-says]", has_text="in the last second").wait_for()
    installation.count = 900
    late = installation.call(user="late-comer")
    made = threading.Thread(target=lambda: asyncio.run(installation.spend(late)))
    made.start()
    page.wait_for_selector("tbody tr:first-child >> text=late-comer")
    made.join()
    # Text between rows would stay when they go at the end, and a page that looks on for hours would grow.
    assert page.evaluate("document.getElementById('rows').firstChild.nodeName") == "TR"
    assert not complaints
    page.context.close()


def test_a_key_is_issued_and_shown_once(chrome: Chromium, site: tuple[str, str]) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/keys")
    page.click("summary")
    page.fill("input[name=name]", "a new bot")
    page.fill("input[name=tenant]", "acme")
    page.fill("input[name=user]", "alice")
    page.click("form.form button.primary")
    page.wait_for_selector("code.secret")
    assert page.locator("code.secret").inner_text().startswith("upk_")
    page.reload()
    assert page.locator("code.secret").count() == 0
    assert page.locator("tbody >> text=a new bot").count() == 1
    assert not complaints
    page.context.close()


def test_a_run_is_overridden_in_place_and_its_window_counts_down(
    chrome: Chromium, site: tuple[str, str], installation: Installation
) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/playbooks/small-dora-1")
    page.locator(".phases .left", has_text="18 h left").wait_for()
    page.wait_for_selector(".evidence [data-chart] svg")
    page.click("text=Abort the run")
    page.fill("form[action$=abort] input[name=reason]", " ")
    page.click("form[action$=abort] button")
    page.locator("#said [role=alert]", has_text="an abort needs a reason").wait_for()
    installation.clock.advance(3600)
    page.locator(".phases .left", has_text="17 h left").wait_for()
    page.fill("form[action$=abort] input[name=reason]", "enough")
    page.click("form[action$=abort] button")
    page.locator("h1 .badge", has_text="undoing").wait_for()
    assert all("400" in said for said in complaints), complaints
    page.context.close()


def test_the_picture_of_agents_is_walked_by_keyboard(chrome: Chromium, site: tuple[str, str]) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/interfaces")
    page.focus(".drawing")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("plan-research: planner to")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/interfaces/plan-research")
    page.locator("table", has_text="latency p95").wait_for()
    page.click("text=Deactivate")
    page.locator("h1 .badge", has_text="inactive").wait_for()
    assert not complaints
    page.context.close()


def test_pages_are_gone_to_by_keys_that_a_list_names(chrome: Chromium, site: tuple[str, str]) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.keyboard.press("?")
    page.locator("dialog[open] >> text=Budgets").wait_for()
    assert not page.locator("dialog").evaluate("each => each.getAttribute('aria-labelledby') === ''")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/console/budgets")
    page.keyboard.press("g")
    page.keyboard.press("z")
    page.keyboard.press("t")
    assert page.url.endswith("/console/budgets")
    assert not complaints
    page.context.close()


def test_small_tables_sort_and_are_linked_to_and_taken_away(chrome: Chromium, site: tuple[str, str]) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    url = f"{site[0]}/console/interfaces/plan-research"
    page.goto(url)
    frame = page.locator(".scroller.plain", has_text="latency p95")
    head = frame.get_by_role("button", name="What", exact=True)
    head.click()
    ordered = frame.locator("tbody td:first-child").all_inner_texts()
    assert ordered == sorted(ordered)
    head.click()
    assert frame.locator("tbody td:first-child").all_inner_texts() == ordered[::-1]
    assert page.locator("th[aria-sort=descending]").count() == 1
    linked = page.url
    assert linked == f"{url}#promised-and-measured:sort=-1"
    page.goto("about:blank")
    page.goto(linked)
    page.locator("th[aria-sort=descending]").wait_for()
    assert frame.locator("tbody td:first-child").all_inner_texts() == ordered[::-1]
    with page.expect_download() as download:
        page.get_by_role("button", name="Promised and measured as CSV").click()
    assert download.value.suggested_filename == "promised-and-measured.csv"
    lines = download.value.path().read_text().splitlines()
    assert [line.split(",")[0].strip('"') for line in lines[1:]] == ordered[::-1]
    assert not complaints
    page.context.close()


def test_the_list_waits_while_somebody_points_at_it(
    chrome: Chromium, site: tuple[str, str], installation: Installation
) -> None:
    page, complaints = opened(chrome, site, 1200, "light")
    page.goto(f"{site[0]}/console/traffic")
    page.locator("[data-live-says]", has_text="in the last second").wait_for()
    page.hover("tbody tr:first-child td")
    first = page.locator("tbody tr:first-child").inner_text()
    installation.count = 900
    late = installation.call(user="late-comer")
    made = threading.Thread(target=lambda: asyncio.run(installation.spend(late)))
    made.start()
    page.locator("[data-live-says]", has_text="the list waits").wait_for()
    assert page.locator("tbody tr:first-child").inner_text() == first
    page.hover("h1")
    page.wait_for_selector("tbody tr:first-child >> text=late-comer")
    made.join()
    assert not complaints
    page.context.close()


def test_the_menu_opens_on_a_phone(chrome: Chromium, site: tuple[str, str]) -> None:
    page, _ = opened(chrome, site, 390, "light")
    assert not page.locator("nav.menu").is_visible()
    page.click("[data-menu]")
    assert page.locator("nav.menu").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("nav.menu").is_visible()
    page.context.close()
