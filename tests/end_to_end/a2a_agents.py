"""Agents on the official a2a-sdk: a server that does what its message says, and clients that go through the gateway."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from a2a.client import Client, ClientConfig, create_client
from a2a.helpers.proto_helpers import get_data_parts, new_data_part, new_message, new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as a2a
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

PLAN = """
upshift: 1
name: agents
providers:
  openai: {dialect: openai, base_url: "http://127.0.0.1:9/v1"}
models:
  big: {provider: openai, context: 200k, max_output: 32k, price: {input: $2, output: $10}}
model_tiers: {premium: [big]}
tiers: [pro]
tenants:
  acme: {owner: ada@acme.example, default_tier: pro}
  globex: {owner: gus@globex.example, default_tier: pro}
gates:
  hard: {ceilings: {pro: {month: 20k}}}
workloads:
  planning: {owner: sam, status: committed, tenants: [acme, globex], models: {primary: premium}, gate: hard}
  research: {owner: sam, status: committed, tenants: [acme], models: {primary: premium}, gate: hard}
agents:
  planner: {owner: mia, workload: planning}
  researcher: {owner: tom, workload: research, url: "AGENT", key: env:A2A_TEST_KEY, timeouts: TIMEOUTS}
  dead: {owner: tom, workload: research, url: "http://127.0.0.1:1/"}
interfaces:
  plan-research:
    from: planner
    to: researcher
    version: 1.0.0
    owner: mia
    escalation: mia, then tom
    review: quarterly
    reviewed: 2026-11-01
    enforcement: ENFORCEMENT
    request:
      volume: 600/h
      payload:
        type: object
        required: [question]
        properties: {question: {type: string}, depth: {type: integer, maximum: 5}, do: {type: string}}
        additionalProperties: false
    response:
      latency: 8s
      errors: 2%
      payload: {type: object, required: [answer], properties: {answer: {type: string}}}
  plan-dead:
    from: planner
    to: dead
    version: 1.0.0
    owner: mia
    escalation: mia
    review: quarterly
    reviewed: 2026-11-01
    request: {volume: 600/h, payload: {type: object}}
    response: {latency: 8s, payload: {type: object}}
"""


def plan_text(agent: str, enforcement: str = "reject", timeouts: str = "{connect: 60s, first_byte: 60s}") -> str:
    return PLAN.replace("AGENT", agent).replace("ENFORCEMENT", enforcement).replace("TIMEOUTS", timeouts)


class Researcher(AgentExecutor):
    """Answers a question with data. `do` asks for something else: wait, lie (an answer that breaks the contract), fail."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        asked: dict[str, Any] = next(iter(get_data_parts(context.message.parts)), {})
        if asked.get("do") == "message":
            await event_queue.enqueue_event(
                new_message([new_data_part({"answer": "briefly"})], context_id=context.context_id)
            )
            return
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        if asked.get("do") == "wait":
            self.waiting.set()
            await self.cancelled.wait()
            return
        if asked.get("do") == "fail":
            await updater.failed()
            return
        answer = {"answer": 42} if asked.get("do") == "lie" else {"answer": f"about {asked.get('question')}"}
        await updater.add_artifact([new_data_part(answer)], name="answer")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        assert context.context_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()
        self.cancelled.set()


@dataclass
class Served:
    """An agent that is served, and the headers of the requests that reached it."""

    url: str
    agent: Researcher
    seen: list[dict[str, str]] = field(default_factory=list)


class _Seeing:
    def __init__(self, app: ASGIApp, seen: list[dict[str, str]]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._seen.append(dict(Request(scope).headers))
        await self._app(scope, receive, send)


def card_of(url: str) -> a2a.AgentCard:
    return a2a.AgentCard(
        name="Researcher",
        description="Looks things up.",
        version="1.0.0",
        supported_interfaces=[
            a2a.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0"),
            a2a.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="0.3"),
            a2a.AgentInterface(url=url + "rest", protocol_binding="HTTP+JSON", protocol_version="1.0"),
        ],
        capabilities=a2a.AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["application/json"],
        default_output_modes=["application/json"],
        skills=[a2a.AgentSkill(id="research", name="Research", description="Looks things up.", tags=["research"])],
    )


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """A researcher on a free port of the loopback address."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
    card, agent, seen = card_of(url), Researcher(), list[dict[str, str]]()
    handler = DefaultRequestHandler(agent_executor=agent, task_store=InMemoryTaskStore(), agent_card=card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)]
    app = _Seeing(Starlette(routes=routes), seen)
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, timeout_keep_alive=600)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield Served(url, agent, seen)
    finally:
        server.should_exit = True
        await running


@contextlib.asynccontextmanager
async def speaking(
    base_url: str, secret: str, *, agent: str = "planner", to: str = "researcher", streaming: bool = False,
    version: str = "", session: str = "",
) -> AsyncIterator[Client]:  # fmt: skip
    """A client of the official SDK that finds an agent by its card at the gateway. `version` chooses among those of
    the card."""
    headers = {"authorization": f"Bearer {secret}", "x-upshift-agent": agent}
    if session:
        headers["x-upshift-session"] = session
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        if version:
            http.headers["A2A-Version"] = version
        url = f"{base_url}/a2a/{to}"
        config = ClientConfig(streaming=streaming, httpx_client=http)
        if version == "0.3":
            card = a2a.AgentCard(
                name="r", capabilities=a2a.AgentCapabilities(streaming=True),
                supported_interfaces=[a2a.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="0.3")],
            )  # fmt: skip
            yield await create_client(card, client_config=config)
        else:
            yield await create_client(url, client_config=config)


def asking(**data: Any) -> a2a.SendMessageRequest:
    """A message with one part of data."""
    return a2a.SendMessageRequest(message=new_message([new_data_part(data)], role=a2a.Role.ROLE_USER))


def data_in(answers: list[a2a.StreamResponse]) -> list[Any]:
    """The data of all artifacts and messages."""
    found: list[Any] = []
    for answer in answers:
        artifacts = [*answer.task.artifacts, answer.artifact_update.artifact]
        for parts in (*(artifact.parts for artifact in artifacts), answer.message.parts):
            found += get_data_parts(parts)
    return found
