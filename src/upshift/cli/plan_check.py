"""Which command checks a plan?"""

import typer
from rich.text import Text

from upshift.admin.plan_views import check_view
from upshift.cli.plan_reading import Files, read, show_problems
from upshift.cli.printing import Json, emit, out
from upshift.plan_file import NotServed
from upshift.traffic.vendors import single_providers

app = typer.Typer(add_completion=False)


@app.command()
def check(files: Files, json_: Json = False) -> None:
    """Check a plan without a database; every problem with its place."""
    checked = read(files, json_)
    if json_:
        emit(check_view(checked))
        return
    console, snapshot = out(), checked.snapshot
    show_problems(console, checked.warnings)
    console.print(Text("ok ", "bold green").append(f"plan {snapshot.name}, {len(snapshot.workloads)} workloads served"))
    for each in checked.not_served:
        console.print(f"   {each.workload} is {each.status}, and not served{_because(each)}")
    alone = [f"{model.name} ({model.provider.id})" for model in single_providers(snapshot)]
    if alone:
        console.print(f"   with one provider only: {', '.join(alone)}", style="dim")
    console.print(f"   hash {snapshot.hash}", style="dim")


def _because(each: NotServed) -> str:
    if not each.lacks:
        return ""
    return f": it stays one until it states {', '.join(each.lacks)}"
