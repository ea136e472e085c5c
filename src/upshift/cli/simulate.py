"""Which command runs the simulated provider?"""

import asyncio
import json
import os
import sys
from typing import Annotated

import typer
import uvloop

from upshift.cli.terminal import Json, failing
from upshift.simulated.provider import Options
from upshift.simulated.serving import serve_simulated

app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 9000,
    speed: Annotated[float, typer.Option(min=0, help="Times faster than a real provider; 0 waits for nothing.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same answers.")] = 1,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of calls refused.")] = 0.0,
    slow_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of calls ten times slower.")] = 0.0,
    json_: Json = False,
) -> None:
    """Run a simulated provider, OpenAI and Anthropic dialects: point a plan's base_url at it, without a key."""
    options = Options(seed=seed, speed=speed, error_rate=error_rate, slow_rate=slow_rate)
    with failing(json_):
        try:
            uvloop.run(_serve(host, port, options, json_))
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")


async def _serve(host: str, port: int, options: Options, as_json: bool) -> None:
    running = await serve_simulated(host, port, options)
    url = f"http://{host}:{running.port}"
    if as_json:
        sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    else:
        sys.stdout.write(f"simulated provider on {url}  (openai: base_url {url}/v1, anthropic: base_url {url})\n")
    sys.stdout.flush()
    await asyncio.Event().wait()
