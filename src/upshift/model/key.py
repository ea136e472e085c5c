"""Who may call: a key's scope, never the secret itself."""

from enum import StrEnum

import msgspec

from upshift.model.ids import KeyId
from upshift.model.span import Instant


class Role(StrEnum):
    """What a key may do. Only callers may spend; an admin of a tenant decides for that tenant alone."""

    CALLER = "caller"
    TENANT_ADMIN = "tenant-admin"
    ADMIN = "admin"
    FINANCE = "finance"
    """A person who signs budgets off for finance. The key's name is the person's."""
    ENGINEERING = "engineering"
    """A person who signs budgets off for engineering."""
    POD_LEAD = "pod-lead"
    """A user who leads pods."""
    VIEWER = "viewer"
    """Sees the portfolio, and may do nothing."""
    METRICS = "metrics"
    """A machine that reads the metrics, and nothing else."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored. `digest` is the SHA-256 of the secret in hex; `hint` its first characters for display.

    `user` empty: the caller names the user per call (an application's key). `workloads` empty: every workload
    that the plan opens to the tenant.
    """

    id: KeyId
    digest: str
    hint: str
    role: Role
    name: str
    tenant: str = ""
    user: str = ""
    workloads: tuple[str, ...] = ()
    agent: str = ""
    """The agent whose own key it is; empty: the caller names the agent per call."""
    created: Instant
    expires: Instant | None = None
    revoked: Instant | None = None
    replaces: str = ""
    by: str = ""
