"""What is compared, and how is each of it started in front of the same upstream?"""

import http.client
import json
import os
import secrets
import shlex
import shutil
import string
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.load import Target, chat_request, first_answer
from bench.process import Server, free_port, launch, wait_listening
from bench.upstream import nginx_answering

HERE = Path(__file__).parent
CHAT = "/v1/chat/completions"
START_SECONDS = 120.0
"""LiteLLM imports for up to a minute on a small machine."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: scratch directory, the gateway's core and the ports of the two upstreams."""

    tmp: Path
    core: int | None
    upstream_port: int
    stream_port: int

    def fill(self, text: str, port: int) -> str:
        """Replaces {port}, {upstream} and the like; other braces stay, since configurations are full of them."""
        values = {
            "{port}": str(port),
            "{upstream}": f"http://127.0.0.1:{self.upstream_port}",
            "{upstream_port}": str(self.upstream_port),
            "{stream_upstream}": f"http://127.0.0.1:{self.stream_port}",
            "{stream_port}": str(self.stream_port),
            "{tmp}": str(self.tmp),
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return text


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that runs, and how to ask it for an answer and for a stream."""

    name: str
    server: Server
    port: int
    version: str = ""
    path: str = CHAT
    stream_path: str = CHAT
    model: str = "bench"
    stream_model: str = "bench-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    ready_path: str = ""
    streaming: bool = True

    def target(self, size: int = 600, *, streaming: bool = False) -> Target:
        """A request of `size` bytes for this gateway."""
        path, model = (self.stream_path, self.stream_model) if streaming else (self.path, self.model)
        request = chat_request(self.port, path, self.headers, model, size=size, streaming=streaming)
        return Target(self.port, request, streaming)


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A [[peer]] of a peers file. `port` 0 takes any free one; `files` are written to {tmp} before the start.

    `command`, `env`, `headers` and `files` may name {port}, {upstream}, {upstream_port}, {stream_upstream},
    {stream_port}, {tmp}.
    """

    name: str
    command: str | list[str]
    port: int = 0
    path: str = CHAT
    stream_path: str = ""
    headers: dict[str, str] = {}
    model: str = "bench"
    stream_model: str = "bench-stream"
    ready_path: str = ""
    version: str = ""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    streaming: bool = True


class PeersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of a peers file."""

    peer: list[Declared]


def read_peers(path: Path) -> list[Declared]:
    """The peers that a TOML file declares. Raises msgspec.ValidationError or tomllib.TOMLDecodeError."""
    return msgspec.convert(tomllib.loads(path.read_text()), PeersFile).peer


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).strip()


def nginx_program() -> str:
    """The nginx to run, installed first where that is possible. Raises RuntimeError with what to do."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("nginx is missing: apt-get install nginx-light")
        subprocess.run(["apt-get", "install", "-y", "-q", "nginx-light"], check=False, timeout=300)
        found = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if found is None:
        raise RuntimeError("nginx is missing, both as upstream and to compare with: apt-get install nginx-light")
    return found


def nginx_version() -> str:
    """As in '1.22.1'."""
    return _output(nginx_program(), "-v").rpartition("/")[2]


def _nginx_user() -> str:
    # Started by root, the worker would become nobody, who may not enter a private scratch directory.
    return "user root;" if os.geteuid() == 0 else ""


def start_nginx_upstream(tmp: Path, core: int, port: int) -> Server:
    """The upstream of every gateway for answers that are not streamed."""
    conf = tmp / "upstream.conf"
    conf.write_text(nginx_answering(port, str(tmp), _nginx_user()))
    command = [nginx_program(), "-p", str(tmp), "-e", "stderr", "-c", str(conf)]
    server = launch(command, core=core, log=tmp / "upstream.log")
    wait_listening(server, port, 10)
    return server


def start_stream_upstream(tmp: Path, core: int, port: int) -> Server:
    """The upstream of every gateway for streams."""
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    server = launch(command, core=core, log=tmp / "stream.log", env={"PYTHONPATH": str(HERE.parent)})
    wait_listening(server, port, 10)
    return server


def start_nginx(place: Place) -> Peer:
    """nginx as the plainest reverse proxy: one worker, connections to the upstream kept, nothing read or logged."""
    port, tmp = free_port(), place.tmp
    conf = tmp / "nginx.conf"
    # A body above client_body_buffer_size would go to a file, which is not what a proxy in use is tuned for.
    conf.write_text(f"""{_nginx_user()}
worker_processes 1; daemon off; pid {tmp}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 4m; client_body_buffer_size 256k;
  client_body_temp_path {tmp}/nginx.body; proxy_temp_path {tmp}/n1; fastcgi_temp_path {tmp}/n2;
  uwsgi_temp_path {tmp}/n3; scgi_temp_path {tmp}/n4;
  upstream answers {{
    server 127.0.0.1:{place.upstream_port}; keepalive 256; keepalive_requests 1000000000;
  }}
  upstream streams {{
    server 127.0.0.1:{place.stream_port}; keepalive 256; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ proxy_pass http://answers; }}
    location /stream/ {{ proxy_pass http://streams; proxy_buffering off; }}
  }}
}}
""")
    command = [nginx_program(), "-p", str(tmp), "-e", "stderr", "-c", str(conf)]
    server = launch(command, core=place.core, log=tmp / "nginx.log")
    return Peer("nginx", server, port, version=nginx_version(), stream_path=f"/stream{CHAT}")


def start_upshift(place: Place, *more: str) -> Peer:
    """Upshift with keys, ceilings and durable ledger on; `more` words for `upshift serve`."""
    port, tmp = free_port(), place.tmp
    plan, db = tmp / "plan.yaml", tmp / "ledger.db"
    plan.write_text(
        string.Template((HERE / "plan.yaml").read_text()).substitute(
            UPSTREAM=f"http://127.0.0.1:{place.upstream_port}",
            STREAM_UPSTREAM=f"http://127.0.0.1:{place.stream_port}",
        )
    )
    upshift = [sys.executable, "-m", "upshift"]
    scope = ["--tenant", "bench", "--user", "load", "--name", "bench"]
    for words in (["plan", "apply", str(plan), "--yes"], ["key", "issue", *scope]):
        done = subprocess.run(
            [*upshift, *words, "--db", str(db), "--json"], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"upshift {words[0]} {words[1]} failed: {done.stderr.strip()[-500:]}")
    key = json.loads(done.stdout)["secret"]
    serve = [*upshift, "serve", "--plan", str(plan), "--db", str(db), "--port", str(port), "--admin-port", "0"]
    server = launch([*serve, *more], core=place.core, log=tmp / "upshift.log")
    version = _output(sys.executable, "-c", "import upshift; print(upshift.__version__)")
    return Peer("upshift", server, port, version=version, headers={"Authorization": f"Bearer {key}"})


def litellm_venv() -> Path:
    """The environment with LiteLLM: BENCH_LITELLM_VENV, or our own, made at the first run."""
    if given := os.environ.get("BENCH_LITELLM_VENV"):
        return Path(given)
    home = HERE / ".venvs" / "litellm"
    if not (home / "bin" / "litellm").exists():
        print(f"installing LiteLLM into {home} (once; a few minutes)")
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "litellm[proxy]"]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pip could not install litellm[proxy]: {done.stderr.strip()[-500:]}")
    return home


def start_litellm(place: Place) -> Peer:
    """LiteLLM's proxy with one worker and one key, without database or budgets: its fastest."""
    port, tmp, home = free_port(), place.tmp, litellm_venv()
    # It refuses to start without a master key.
    key = f"sk-{secrets.token_hex(32)}"
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": "openai/bench",
                "api_base": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "none",
            },
        }
        for name, upstream in (("bench", place.upstream_port), ("bench-stream", place.stream_port))
    ]
    config = tmp / "litellm.yaml"
    settings = {"general_settings": {"master_key": key}, "litellm_settings": {"telemetry": False}}
    config.write_text(json.dumps({"model_list": models, **settings}))
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    server = launch(command, core=place.core, log=tmp / "litellm.log", env=env)
    version = _output(str(home / "bin" / "python"), "-c", "import importlib.metadata as m; print(m.version('litellm'))")
    return Peer("litellm", server, port, version=version, headers={"Authorization": f"Bearer {key}"})


def start_declared(declared: Declared, place: Place) -> Peer:
    """A peer of a peers file."""
    port = declared.port or free_port()
    for name, text in declared.files.items():
        (place.tmp / name).write_text(place.fill(text, port))
    words = shlex.split(declared.command) if isinstance(declared.command, str) else declared.command
    command = [place.fill(os.path.expandvars(word), port) for word in words]
    env = {name: place.fill(value, port) for name, value in declared.env.items()}
    server = launch(command, core=place.core, log=place.tmp / f"{declared.name}.log", env=env)
    return Peer(
        name=declared.name,
        server=server,
        port=port,
        version=declared.version,
        path=declared.path,
        stream_path=declared.stream_path or declared.path,
        model=declared.model,
        stream_model=declared.stream_model,
        headers={name: place.fill(value, port) for name, value in declared.headers.items()},
        ready_path=declared.ready_path,
        streaming=declared.streaming,
    )


def _wait_for_page(peer: Peer) -> None:
    deadline = time.monotonic() + START_SECONDS
    status: int | str = "nothing"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=5)
        try:
            connection.request("GET", peer.ready_path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            status = str(error)
        finally:
            connection.close()
        if status == 200:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{peer.ready_path} still answers {status} after {START_SECONDS:.0f} s")


def wait_ready(peer: Peer) -> None:
    """Returns once the peer answers rightly, streams included. Raises RuntimeError with what it said instead."""
    wait_listening(peer.server, peer.port, START_SECONDS)
    if peer.ready_path:
        _wait_for_page(peer)
    first_answer(peer.target(), 30)
    if peer.streaming:
        first_answer(peer.target(streaming=True), 30)
