"""Which command shows how full the capacity pools are?"""

import json
import os
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer

from upshift.cli.budget import bar
from upshift.cli.terminal import Json, emit, err, fail, out, table

app = typer.Typer(add_completion=False)

_SECONDS = 25.0


@app.command()
def pools(
    gateway: Annotated[str, typer.Option(help="A gateway of the installation.")] = "http://127.0.0.1:8787",
    json_: Json = False,
) -> None:
    """How full the capacity pools are, over all gateways: with the secret of an admin key in UPSHIFT_KEY."""
    if not gateway.startswith(("http://", "https://")):
        raise typer.BadParameter("write it like http://127.0.0.1:8787", param_hint="--gateway")
    view = _asked(gateway.rstrip("/") + "/upshift/v1/pools", as_json=json_)
    if json_:
        emit(view)
        return
    rows = table(
        "POOL", "LIMITS", "WORKLOAD", "IN USE", "", "WAITING", "REFUSED", numbers=("IN USE", "WAITING", "REFUSED")
    )
    for pool in view["pools"]:
        most = pool["concurrent"]
        full = bar(pool["in_use"] / most) if most else ""
        figures = [str(pool[figure]) for figure in ("in_use", "waiting", "refused")]
        rows.add_row(pool["pool"], pool["limits"], "", figures[0], full, figures[1], figures[2])
        for each in pool["workloads"]:
            rows.add_row("", each["reserve"], each["workload"], str(each["in_use"]), "", str(each["waiting"]), "")
    out().print(rows)
    if not view["pools"]:
        err().print("the plan has no capacity pools", style="dim")


def _asked(url: str, *, as_json: bool) -> Any:
    secret = os.environ.get("UPSHIFT_KEY", "")
    if not secret:
        fail("set UPSHIFT_KEY to the secret of an admin key", as_json=as_json)
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {secret}"})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        fail(f"the gateway answered {error.code} ({error.headers.get('x-upshift-reason', '')})", as_json=as_json)
    except (OSError, ValueError) as error:
        fail(f"{url} cannot be asked: {error}; name a gateway with --gateway", as_json=as_json)
