"""Do sign-in with a provider, a user's own budget, its frame elsewhere and bills work in a browser, whatever names say?"""

import asyncio
import functools
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright
from starlette.responses import HTMLResponse
from tests.admin.installation import Installation, alert
from tests.browser import FLAGS, PATIENCE_MS, chromium
from tests.console.identities import CLIENT, SECRET, Identities, served

from upshift.admin.api import create_api
from upshift.console.app import create_console
from upshift.console.oidc import Provider, registered
from upshift.model.key import Role
from upshift.store.verify import verify

FOUND = chromium()
pytestmark = pytest.mark.skipif(FOUND is None, reason="no Chromium here; python -m tests.browser installs one")

EVIL = "\"'><img src=x onerror=document.title='hacked'>"


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        yield int(sock.getsockname()[1])
        server.should_exit = True
        thread.join(10)


@contextmanager
def console(installation: Installation, oidc: Provider | None = None, embed: str = "") -> Iterator[str]:
    whole = functools.partial(verify, installation.db)
    api = create_api(installation.desk, whole)
    api.mount("/console", create_console(installation.desk, whole, oidc=oidc, embed=embed))
    with serving(api) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=list(FLAGS), timeout=PATIENCE_MS)
        yield browser
        browser.close()


def spent(installation: Installation, *, user: str = "alice") -> None:
    made = msgspec.structs.replace(installation.call(user=user, tokens=92_000), session=user, agent=user, reason=user)
    # In a thread: Playwright has an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, installation.spend(made, alerts=[alert(user=user)])).result()


def signed_in(chrome: Chromium, url: str, key: str, width: int, scheme: str) -> tuple[Page, list[str]]:
    context = chrome.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/console/sign-in")
    page.fill("#key", key)
    page.click("form.sign-in button")
    page.wait_for_url(lambda found: "sign-in" not in found)
    return page, complaints


def sound(page: Page) -> None:
    """No serious finding of axe, and no wider than the window."""
    found = Axe().run(page).response["violations"]
    assert not [
        (each["id"], each["nodes"][0]["html"][:150]) for each in found if each["impact"] in {"serious", "critical"}
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_users_pages_are_sound(chrome: Chromium, installation: Installation, width: int, scheme: str) -> None:
    spent(installation)
    with console(installation) as url:
        key = installation.secret(Role.CALLER, "acme", "alice")
        page, complaints = signed_in(chrome, url, key, width, scheme)
        assert page.url == f"{url}/console/mine"
        page.locator("text=nearly used up").wait_for()
        sound(page)
        page.goto(f"{url}/console/mine/widget")
        sound(page)
        assert not complaints
        page.context.close()


def test_a_person_of_another_site_comes_back_signed_in(chrome: Chromium, installation: Installation) -> None:
    # localhost and 127.0.0.1 are two sites to a browser: a strict cookie is not sent while it still follows the first.
    with served(Identities(host="localhost")) as identities:
        known = registered(identities.issuer, CLIENT, SECRET, "groups: platform=admin", "tenant", "email")
        assert known is not None
        with console(installation, Provider(known)) as url:
            page = chrome.new_context().new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{url}/console/budgets?q=alice")
            sound(page)
            page.click("text=Sign in with localhost")
            page.wait_for_url(f"{url}/console/budgets?q=alice")
            assert page.locator("h1", has_text="Budgets").count() == 1
            page.context.close()


def test_the_widget_is_framed_where_it_may_be(chrome: Chromium, installation: Installation) -> None:
    key = installation.secret(Role.CALLER, "acme", "alice")
    elsewhere = FastAPI()
    framed: list[str] = []

    @elsewhere.get("/")
    def page_with_frame() -> HTMLResponse:
        return HTMLResponse(f'<iframe src="{framed[0]}/console/mine/widget"></iframe>')

    with serving(elsewhere) as port:
        # Another port is another origin, and the same site: cookies go along, frames have to be allowed.
        for embed, shown in ((f"http://127.0.0.1:{port}", True), ("", False)):
            with console(installation, embed=embed) as url:
                framed[:] = [url]
                page, _ = signed_in(chrome, url, key, 900, "light")
                page.goto(f"http://127.0.0.1:{port}/")
                page.wait_for_load_state("networkidle")
                text = page.frames[1].evaluate("document.body ? document.body.innerText : ''")
                assert ("chat" in text) == shown
                page.context.close()


def test_names_run_nothing(chrome: Chromium, installation: Installation) -> None:
    spent(installation, user=EVIL)
    with console(installation) as url:
        page, _ = signed_in(chrome, url, installation.secret(Role.ADMIN), 1200, "light")
        for path in ("", "budgets", "traffic", "traffic?q=x", "ledger?kind=all", "keys", "traffic/up_0001"):
            page.goto(f"{url}/console/{path}")
            page.wait_for_load_state("load")
            assert page.title() != "hacked", path
            assert page.locator("img").count() == 0, path
        page.context.close()


def test_a_bill_is_sent_and_compared(chrome: Chromium, installation: Installation) -> None:
    spent(installation)
    bill = [{"id": "req_1", "at": 1_795_251_600_000_000, "model": "big", "usage": {"input": 1, "output": 1}}]
    with console(installation) as url:
        page, complaints = signed_in(chrome, url, installation.secret(Role.ADMIN), 1200, "light")
        page.goto(f"{url}/console/ledger")
        sound(page)
        page.click("text=Hold a provider's bill against it")
        sound(page)
        page.set_input_files(
            "input[type=file]",
            {"name": "bill.json", "mimeType": "application/json", "buffer": json.dumps(bill).encode()},
        )
        page.fill("input[name=since]", "30d")
        page.fill("input[name=until]", "2026-11-21T10:00")
        page.click("text=Compare")
        page.wait_for_selector("text=does not agree")
        sound(page)
        assert not complaints
        page.context.close()
