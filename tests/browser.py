"""Where is a Chromium for the tests of the console, and how does a fresh machine get one?

`python -m tests.browser` installs one where it is missing and can be installed; without, those tests are skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage")
"""Containers run tests as root, and give little shared memory."""
PATIENCE_MS = 120_000
"""More than anything in a page ever takes."""
_APT_SECONDS, _OWN_SECONDS = 180, 120


def chromium() -> str | None:
    """The path of a browser: the system's, else the one that Playwright brings."""
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def install() -> str | None:
    """Install a browser from the system's packages, else Playwright's own; its path, or None."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not sudo or shutil.which("sudo")):
        get = [*sudo, "apt-get", "-q", "-y", "-o", "Acquire::Retries=2"]
        _run([*get, "update"], _APT_SECONDS)
        _run([*get, "install", "--no-install-recommends", "chromium"], _APT_SECONDS)
    if chromium() is None:
        _run([sys.executable, "-m", "playwright", "install", "chromium"], _OWN_SECONDS)
    return chromium()


def _run(words: list[str], seconds: float) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(words, timeout=seconds, check=False, stdout=subprocess.DEVNULL, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{words[0]}: {error}\n")


if __name__ == "__main__":
    found = chromium()
    if found is None:
        sys.stdout.write("installing a browser for the tests of the console ...\n")
        found = install()
    sys.stdout.write("" if found else "no browser can be installed here: the tests that need one will be skipped\n")
