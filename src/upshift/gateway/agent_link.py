"""How is an agent reached: its connections, the gateway's own key for it, and the headers that are passed on?"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from upshift.gateway.call import MissingSecretError
from upshift.http.client import Response, Timeouts, Trouble, Upstream
from upshift.http.exchange import Headers
from upshift.model.contract import Agent
from upshift.model.ids import AgentId
from upshift.traffic.snapshot import Snapshot

_PASSED_ON = frozenset(
    (
        b"a2a-version",
        b"a2a-extensions",
        b"x-a2a-extensions",
        b"accept",
        b"traceparent",
        b"tracestate",
        b"baggage",
        b"x-request-id",
    )
)
"""All else stays here, the caller's key first of all."""
_JSON = (b"content-type", b"application/json")


class Link:
    """One agent, ready to be spoken to. It is reached at the URLs that the plan declares, and at no other."""

    def __init__(self, agent: Agent, secret: str) -> None:
        self.agent = agent
        self._own: Headers = [(b"authorization", b"Bearer " + secret.encode())] if secret else []
        self._timeouts = Timeouts(
            agent.connect_seconds, agent.first_byte_seconds, agent.idle_seconds, agent.total_seconds
        )
        self._calls, self._target = self._upstream(agent.url)
        self._cards, self._card_target = self._upstream(agent.card_url)

    def _upstream(self, url: str) -> tuple[Upstream, bytes]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        return Upstream(origin, timeouts=self._timeouts), parts.path.encode() or b"/"

    async def send(self, headers: Headers, told: Headers, body: bytes) -> Response | Trouble:
        """Send a request on. `told` is what the gateway says of the caller."""
        passed = [header for header in headers if header[0] in _PASSED_ON]
        return await self._calls.send(b"POST", self._target, [*passed, _JSON, *told, *self._own], body)

    async def card(self) -> Response | Trouble:
        """Ask for the agent's card."""
        headers: Headers = [(b"accept", b"application/json"), *self._own]
        return await self._cards.send(b"GET", self._card_target, headers, b"")

    async def close(self) -> None:
        await self._calls.close()
        await self._cards.close()


class Links:
    """The agents of the plan in force; connections outlive a change of plan that does not touch their agent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._links: dict[AgentId, Link] = {}
        self._retired: list[Link] = []

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Agents whose key is not in the environment, as 'researcher (RESEARCHER_KEY)'."""
        return [
            f"{agent.id} ({agent.key_env})"
            for agent in snapshot.agents.values()
            if agent.key_env and not self._environment.get(agent.key_env)
        ]

    def to(self, agent: Agent) -> Link:
        """The link to an agent. Raises MissingSecretError."""
        link = self._links.get(agent.id)
        if link is not None and link.agent == agent:
            return link
        secret = self._environment.get(agent.key_env, "") if agent.key_env else ""
        if agent.key_env and not secret:
            raise MissingSecretError(
                f"the environment variable {agent.key_env} with the key of agent {agent.id} is not set"
            )
        if link is not None:
            # Calls of the plan before may still be in flight on it; its idle connections end by themselves.
            self._retired.append(link)
        link = self._links[agent.id] = Link(agent, secret)
        return link

    async def close(self) -> None:
        """Close every connection."""
        for link in (*self._links.values(), *self._retired):
            await link.close()
