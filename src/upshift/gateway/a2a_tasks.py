"""Whose task is it that a caller asks an agent for? One tenant's are not another's, though the agent serves both."""

from upshift.model.ids import AgentId

_MOST = 100_000


class Tasks:
    """The tenants of tasks that went by in this process, the latest of them.

    Of a task that is not known here (begun at another worker, or long ago) the agent judges by itself: it is told the
    tenant with every call, and ids are random, so that only who was told one can ask for it.
    """

    def __init__(self) -> None:
        self._tenants: dict[tuple[AgentId, str], str] = {}

    def learn(self, agent: AgentId, task: str, tenant: str) -> None:
        """A tenant was told of a task. Whoever was told first, it is theirs."""
        if task and (agent, task) not in self._tenants:
            if len(self._tenants) >= _MOST:
                del self._tenants[next(iter(self._tenants))]
            self._tenants[agent, task] = tenant

    def another(self, agent: AgentId, task: str, tenant: str) -> bool:
        """Whether a task is known to be another tenant's."""
        return self._tenants.get((agent, task), tenant) != tenant
