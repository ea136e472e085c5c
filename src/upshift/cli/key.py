"""Which commands issue, list, rotate and revoke keys?"""

import json
import os
from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.desk import Issued
from upshift.admin.moments import future, span_seconds
from upshift.admin.views import IssuedView, key_view
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, local_admin, meaning, out, table
from upshift.model.ids import TenantId
from upshift.model.key import Role
from upshift.model.span import Instant
from upshift.settings import PREFIX, Settings
from upshift.traffic import dispatch
from upshift.traffic.snapshot import Dialect, Snapshot

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Issue, list, rotate and revoke keys.")

KeyName = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as 'upshift key list' shows it.")]


@app.command()
def issue(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    tenant: Annotated[str, typer.Option(help="Whose it is; none for an admin key.")] = "",
    user: Annotated[str, typer.Option(help="Whose budget its calls count against.")] = "",
    workload: Annotated[list[str] | None, typer.Option(help="What it may be used for; may be repeated.")] = None,
    agent: Annotated[str, typer.Option(help="The agent whose own key it is, for calls to other agents.")] = "",
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.CALLER,
    expires: Annotated[str, typer.Option(help="When it ends by itself: 90d or 2027-01-01.")] = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Issue a key. Its secret is shown this once."""
    with desk_at(db, json_) as desk:
        now = desk.now()
        until = meaning(future, expires, now, option="--expires") if expires else None
        issued = desk.issue(
            local_admin(),
            role=role,
            name=name,
            tenant=tenant,
            user=user,
            workloads=workload or (),
            agent=agent,
            expires=until,
        )
        snapshot = desk.snapshot()
    _show(issued, now, snapshot, json_)


@app.command("list")
def list_(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "", db: Db = DEFAULT_DB, json_: Json = False
) -> None:
    """Every key, its scope and state; never its secret."""
    with desk_at(db, json_) as desk:
        now = desk.now()
        views = [key_view(each, now) for each in desk.keys(local_admin()) if tenant in ("", each.tenant)]
    if json_:
        emit(views)
        return
    rows = table("ID", "SECRET", "NAME", "ROLE", "TENANT", "USER", "WORKLOADS", "STATE", "EXPIRES")
    styles = {"live": "green", "expired": "yellow", "revoked": "red"}
    for each in views:
        state = Text(each.state.value, styles[each.state.value])
        scope = ", ".join(each.workloads)
        rows.add_row(
            each.id, f"{each.hint}…", each.name, each.role, each.tenant, each.user, scope, state, each.expires or ""
        )
    out().print(rows)


@app.command()
def rotate(
    id_: KeyName,
    overlap: Annotated[str, typer.Option(help="How long the old secret goes on, like 1h.")] = "0s",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """A new secret of the same scope; shown this once."""
    seconds = meaning(span_seconds, overlap, option="--overlap")
    with desk_at(db, json_) as desk:
        issued = desk.rotate(local_admin(), id_, seconds)
        now, snapshot = desk.now(), desk.snapshot()
    _show(issued, now, snapshot, json_)


@app.command()
def revoke(id_: KeyName, db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """End a key now."""
    with desk_at(db, json_) as desk:
        key = desk.revoke(local_admin(), id_)
        view = key_view(key, desk.now())
    if json_:
        emit(view)
    else:
        out().print(f"{view.id} ({view.name}) is revoked; the gateway refuses it within a second")


def _show(issued: Issued, now: Instant, snapshot: Snapshot | None, as_json: bool) -> None:
    if as_json:
        emit(IssuedView(secret=issued.secret, key=key_view(issued.key, now)))
        return
    out().print(Text(issued.secret, "bold green"), soft_wrap=True)
    console = err()
    console.print(f"{issued.key.id}, {issued.key.role} {issued.key.name}. The secret is shown this once.", style="dim")
    example = _example(issued, snapshot) if snapshot is not None else ""
    if example:
        console.print(f"try it:\n{example}", soft_wrap=True)


def _example(issued: Issued, snapshot: Snapshot) -> str:
    key = issued.key
    if key.role is not Role.CALLER:
        port = os.environ.get(f"{PREFIX}ADMIN_PORT", Settings().admin_port)
        return f"  curl -s http://127.0.0.1:{port}/api/v1/budgets -H 'authorization: Bearer {issued.secret}'"
    port = os.environ.get(f"{PREFIX}PORT", Settings().port)
    served = dispatch.open_to(snapshot, TenantId(key.tenant), key.workloads)
    if not served:
        return ""
    model = served[0].primary[0]
    asked: dict[str, object] = {"model": model.name, "messages": [{"role": "user", "content": "Say hello"}]}
    path = "/v1/chat/completions"
    if model.provider.dialect is Dialect.ANTHROPIC:
        path, asked["max_tokens"] = "/v1/messages", 100
    which = f" -H 'x-upshift-workload: {served[0].id}'" if len(served) > 1 else ""
    return (
        f"  curl -s http://127.0.0.1:{port}{path} -H 'authorization: Bearer {issued.secret}'{which}"
        f" -H 'content-type: application/json' -d '{json.dumps(asked)}'"
    )
