"""How is each coding agent told about a gateway, and how many calls does a task cost it?"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.clients.installation import House
from tests.clients.places import AIDER, MODULES
from tests.clients.places import CLAUDE as CLAUDE_BINARY
from tests.clients.places import OPENCODE as OPENCODE_BINARY
from tests.docs.pages import ROOT, blocks

GUIDE = ROOT / "docs" / "guide-clients.md"
BIN = MODULES / ".bin"
NO_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
"""For clients on Node that send even loopback through a proxy; the guard keeps those in."""
SMALL = "gpt-6-mini"
"""What an agent is given for titles and the like."""


_MODEL = re.compile(r"(?<![A-Z_-])MODEL\b")


@dataclass(frozen=True)
class Errand:
    """What an agent is sent to do."""

    house: House
    key: str
    prompt: str
    model: str


@dataclass(frozen=True)
class Command:
    """A client's command line and what it needs in its environment."""

    argv: list[str]
    env: dict[str, str]


@dataclass(frozen=True)
class Agent:
    """One coding agent and the counts that hold it to account. Counts are calls that reach the provider."""

    name: str
    model: str
    """The model of its own dialect that it is given."""
    command: Callable[[Errand], Command]
    edit_calls: int
    """Calls for one edit: two where it reads the file before."""
    beside: int = 0
    """Calls that it makes beside its task: warm-ups, titles."""
    mark_beside: bytes = b""
    """What those have in their bodies, and no others."""
    refusals: int = 1
    """Calls that a spent budget refuses before it gives up."""
    hosts: frozenset[str] = frozenset()
    """Hosts it tries to reach for its own ends, in vain."""
    names_session: bool = True


def _told(errand: Errand, language: str, name: str) -> str:
    """What the guide tells people to write, with this gateway, key and model in it."""
    (block,) = [each for each in blocks(language, GUIDE) if name in each.marks]
    text = block.text.replace("http://127.0.0.1:8787", errand.house.url).replace("upk_...", errand.key)
    return _MODEL.sub(errand.model, text.replace("SMALL-MODEL", SMALL))


def environment(errand: Errand, name: str) -> dict[str, str]:
    """The variables that the guide tells people to set for a client."""
    lines = [shlex.split(line) for line in _told(errand, "sh", name).splitlines()]
    pairs = [word.partition("=") for line in lines for word in line if line[0] == "export" and word != "export"]
    return {variable: value for variable, _, value in pairs}


def _claude(errand: Errand) -> Command:
    argv = [str(CLAUDE_BINARY), "-p", errand.prompt, "--permission-mode", "acceptEdits", "--model", errand.model]
    return Command(argv, environment(errand, "claude-code"))


def _codex(errand: Errand) -> Command:
    _write(errand.house.home / ".codex" / "config.toml", _told(errand, "toml", "codex"))
    argv = [str(BIN / "codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return Command([*argv, "-m", errand.model, errand.prompt], environment(errand, "codex"))


def _gemini(errand: Errand) -> Command:
    _write(errand.house.home / ".gemini" / "settings.json", _told(errand, "json", "gemini-cli"))
    # It would start itself a second time, which takes as long again.
    env = NO_PROXY | environment(errand, "gemini-cli") | {"GEMINI_CLI_NO_RELAUNCH": "true"}
    return Command([str(BIN / "gemini"), "--yolo", "-m", errand.model, "-p", errand.prompt], env)


def _opencode(package: str) -> Callable[[Errand], Command]:
    def command(errand: Errand) -> Command:
        settings = _told(errand, "json", "opencode").replace("@ai-sdk/openai-compatible", package)
        if package == "@ai-sdk/google":
            settings = settings.replace("/v1", "/v1beta")
        _write(errand.house.work / "opencode.json", settings)
        return Command([str(OPENCODE_BINARY), "run", errand.prompt], environment(errand, "opencode"))

    return command


def _qwen(errand: Errand) -> Command:
    _write(errand.house.home / ".qwen" / "settings.json", _told(errand, "json", "qwen-code"))
    return Command([str(BIN / "qwen"), "--yolo", "-p", errand.prompt], NO_PROXY | environment(errand, "qwen-code"))


def _aider(vendor: str) -> Callable[[Errand], Command]:
    def command(errand: Errand) -> Command:
        settings = _told(errand, "json", "aider").replace("openai/", f"{vendor}/")
        _write(errand.house.home / ".aider.model.settings.yml", settings)
        quiet = ["--no-git", "--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings"]
        argv = [str(AIDER), *quiet, "--no-show-release-notes", "--model", f"{vendor}/{errand.model}"]
        prompt = errand.prompt.replace(f"{errand.house.work}/", "")
        return Command([*argv, "--message", prompt, "written.txt"], environment(errand, "aider"))

    return command


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


CLAUDE = Agent(
    "claude-code",
    "claude-sonnet-5-5",
    _claude,
    edit_calls=2,
    beside=2,
    mark_beside=b'"Warmup"',
    refusals=6,
    hosts=frozenset({"api.anthropic.com"}),
)
CODEX = Agent("codex", "gpt-6", _codex, edit_calls=1, hosts=frozenset({"chatgpt.com", "github.com", "api.github.com"}))
GEMINI = Agent("gemini-cli", "gemini-3.5-pro", _gemini, edit_calls=2)
OPENCODE = Agent(
    "opencode",
    "gpt-6",
    _opencode("@ai-sdk/openai-compatible"),
    edit_calls=1,
    beside=1,
    mark_beside=b"title generator",
    refusals=2,
    hosts=frozenset({"registry.npmjs.org", "models.opencode.ai"}),
)
OPENCODE_RESPONSES = replace(OPENCODE, name="opencode-responses", command=_opencode("@ai-sdk/openai"))
OPENCODE_ANTHROPIC = replace(
    OPENCODE,
    name="opencode-anthropic",
    model="claude-sonnet-5-5",
    command=_opencode("@ai-sdk/anthropic"),
    edit_calls=2,
)
OPENCODE_GEMINI = replace(
    OPENCODE_ANTHROPIC,
    name="opencode-gemini",
    model="gemini-3.5-pro",
    command=_opencode("@ai-sdk/google"),
)
QWEN = Agent("qwen-code", "gpt-6", _qwen, edit_calls=2)
AIDER_CHAT = Agent(
    "aider", "gpt-6", _aider("openai"), edit_calls=0, refusals=9, hosts=frozenset({"raw.githubusercontent.com"})
)
AIDER_ANTHROPIC = replace(AIDER_CHAT, name="aider-anthropic", model="claude-sonnet-5-5", command=_aider("anthropic"))
