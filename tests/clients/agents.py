"""How is each coding agent told about a gateway, and how many calls does a task cost it?"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.clients.installation import House
from tests.clients.places import AIDER, MODULES

BIN = MODULES / ".bin"
NO_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
"""For clients on Node that send even loopback through a proxy; the guard keeps those in."""
SMALL = "gpt-6-mini"


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


def _claude(errand: Errand) -> Command:
    env = {
        "ANTHROPIC_BASE_URL": errand.house.url,
        "ANTHROPIC_API_KEY": errand.key,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": "claude-sonnet-5-5",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-5",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    argv = [str(BIN / "claude"), "-p", errand.prompt, "--permission-mode", "acceptEdits", "--model", errand.model]
    return Command(argv, env)


CODEX_CONFIG = """\
model_provider = "upshift"

[model_providers.upshift]
name = "Upshift"
base_url = "BASE/v1"
env_key = "UPSHIFT_KEY"
wire_api = "responses"

[analytics]
enabled = false
"""


def _codex(errand: Errand) -> Command:
    _write(errand.house.home / ".codex" / "config.toml", CODEX_CONFIG.replace("BASE", errand.house.url))
    argv = [str(BIN / "codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return Command([*argv, "-m", errand.model, errand.prompt], {"UPSHIFT_KEY": errand.key})


GEMINI_SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "tools": {"useRipgrep": False},
}


def _gemini(errand: Errand) -> Command:
    _write(errand.house.home / ".gemini" / "settings.json", json.dumps(GEMINI_SETTINGS))
    env = NO_PROXY | {
        "GOOGLE_GEMINI_BASE_URL": errand.house.url,
        "GEMINI_API_KEY": errand.key,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GEMINI_CLI_CUSTOM_HEADERS": "x-upshift-session: an-evening",
    }
    return Command([str(BIN / "gemini"), "--yolo", "-m", errand.model, "-p", errand.prompt], env)


def _opencode(package: str, path: str) -> Callable[[Errand], Command]:
    def command(errand: Errand) -> Command:
        options = {
            "baseURL": errand.house.url + path,
            "apiKey": "{env:UPSHIFT_KEY}",
            "headers": {"x-upshift-session": "an-evening"},
        }
        small = errand.model if package == "@ai-sdk/google" else SMALL
        provider = {"npm": package, "options": options, "models": {errand.model: {}, small: {}}}
        settings = {
            "model": f"upshift/{errand.model}",
            "small_model": f"upshift/{small}",
            "autoupdate": False,
            "share": "disabled",
            "provider": {"upshift": provider},
        }
        _write(errand.house.work / "opencode.json", json.dumps(settings))
        argv = [str(MODULES / "opencode-linux-x64" / "bin" / "opencode"), "run", errand.prompt]
        return Command(argv, {"UPSHIFT_KEY": errand.key, "OPENCODE_DISABLE_MODELS_FETCH": "1"})

    return command


def _qwen(errand: Errand) -> Command:
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "privacy": {"usageStatisticsEnabled": False},
        "model": {"generationConfig": {"customHeaders": {"x-upshift-session": "an-evening"}}},
        "tools": {"useRipgrep": False},
    }
    _write(errand.house.home / ".qwen" / "settings.json", json.dumps(settings))
    env = NO_PROXY | {
        "OPENAI_BASE_URL": f"{errand.house.url}/v1",
        "OPENAI_API_KEY": errand.key,
        "OPENAI_MODEL": errand.model,
    }
    return Command([str(BIN / "qwen"), "--yolo", "-p", errand.prompt], env)


def _aider(vendor: str) -> Callable[[Errand], Command]:
    def command(errand: Errand) -> Command:
        extra = {"extra_headers": {"x-upshift-session": "an-evening"}}
        settings = [{"name": f"{vendor}/{errand.model}", "edit_format": "whole", "extra_params": extra}]
        _write(errand.house.home / ".aider.model.settings.yml", json.dumps(settings))
        env = {
            "OPENAI_API_BASE": f"{errand.house.url}/v1",
            "OPENAI_API_KEY": errand.key,
            "ANTHROPIC_API_BASE": errand.house.url,
            "ANTHROPIC_API_KEY": errand.key,
        }
        quiet = ["--no-git", "--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings"]
        argv = [str(AIDER), *quiet, "--no-show-release-notes", "--model", f"{vendor}/{errand.model}"]
        prompt = errand.prompt.replace(f"{errand.house.work}/", "")
        return Command([*argv, "--message", prompt, "written.txt"], env)

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
CODEX = Agent(
    "codex", "gpt-6", _codex, edit_calls=1, refusals=6, hosts=frozenset({"chatgpt.com", "github.com", "api.github.com"})
)
GEMINI = Agent("gemini-cli", "gemini-3.5-pro", _gemini, edit_calls=2)
OPENCODE = Agent(
    "opencode",
    "gpt-6",
    _opencode("@ai-sdk/openai-compatible", "/v1"),
    edit_calls=1,
    beside=1,
    mark_beside=b"title generator",
    refusals=2,
    hosts=frozenset({"registry.npmjs.org", "models.opencode.ai"}),
)
OPENCODE_RESPONSES = replace(OPENCODE, name="opencode-responses", command=_opencode("@ai-sdk/openai", "/v1"))
OPENCODE_ANTHROPIC = replace(
    OPENCODE,
    name="opencode-anthropic",
    model="claude-sonnet-5-5",
    command=_opencode("@ai-sdk/anthropic", "/v1"),
    edit_calls=2,
)
OPENCODE_GEMINI = replace(
    OPENCODE_ANTHROPIC,
    name="opencode-gemini",
    model="gemini-3.5-pro",
    command=_opencode("@ai-sdk/google", "/v1beta"),
)
QWEN = Agent("qwen-code", "gpt-6", _qwen, edit_calls=2)
AIDER_CHAT = Agent("aider", "gpt-6", _aider("openai"), edit_calls=0, hosts=frozenset({"raw.githubusercontent.com"}))
