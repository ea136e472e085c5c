"""How do notices reach chats, pagers and phones, by whatever Apprise knows?"""

import importlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from upshift.playbook.notices import Notice


class _Target(Protocol):
    """What this uses of apprise.Apprise."""

    def add(self, servers: str) -> bool: ...

    def notify(self, body: str, title: str, body_format: str) -> bool | None: ...


class AppriseWay:
    """Every notice to one Apprise URL, at most once.

    Apprise says whether it worked and not at which step it failed, so that a failure may have arrived: it is logged,
    kept as a delivery without an outcome, and not tried again. Its name holds no secret.
    """

    again = False

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that Apprise does not know, and where it is not installed."""
        try:
            apprise = importlib.import_module("apprise")
        except ModuleNotFoundError:
            raise ValueError("Apprise is not installed; run: pip install 'upshift[apprise]'") from None
        scheme = urlsplit(url).scheme
        # One after the other and in this thread: whoever looks for notices waits for it anyway.
        asset = apprise.AppriseAsset(app_id="Upshift", app_desc="Upshift", async_mode=False)
        self._target: _Target = apprise.Apprise(asset=asset)
        if not scheme or not self._target.add(url):
            # Not the URL itself: it holds a secret, and this is logged.
            raise ValueError(f"Apprise makes nothing of the URL that begins with {scheme or 'no scheme'}://")
        self._format: str = apprise.NotifyFormat.TEXT
        self.name = f"apprise {scheme} {sha256(url.encode()).hexdigest()[:12]}"

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool:
        return True

    def send(self, notice: Notice, tell: Sequence[str]) -> None:
        """Raises OSError where it did not work, as far as Apprise knows."""
        body = notice.text or "Nothing more is said of it."
        if not self._target.notify(body=body, title=notice.title, body_format=self._format):
            raise OSError("Apprise could not deliver it; what it says of that is in its own log")
