"""How does one start the simulated provider from a command line?"""

import argparse
import asyncio
import sys

import uvloop

from upshift.simulated.provider import Options
from upshift.simulated.serving import serve_simulated


def main(arguments: list[str] | None = None) -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m upshift.simulated",
        description="A simulated model provider: OpenAI and Anthropic dialects.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--speed", type=float, default=0.0, help="times faster than a real provider; 0: no waiting (default)"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same answers (default: %(default)s)")
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of calls refused (default: none)")
    parser.add_argument("--slow-rate", type=float, default=0.0, help="share of calls ten times slower (default: none)")
    parser.add_argument("--vary", action="store_true", help="answer the same request differently each time")
    parser.add_argument("--chunk", type=int, default=4, help="tokens per piece of a stream (default: %(default)s)")
    parser.add_argument("--api-key", help="the only key that is let in (default: everybody)")
    asked = parser.parse_args(arguments)
    options = Options(
        seed=asked.seed,
        speed=asked.speed,
        error_rate=asked.error_rate,
        slow_rate=asked.slow_rate,
        vary=asked.vary,
        chunk=max(1, asked.chunk),
        api_key=asked.api_key,
    )
    try:
        uvloop.run(_serve(asked.host, asked.port, options))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


async def _serve(host: str, port: int, options: Options) -> None:
    running = await serve_simulated(host, port, options)
    sys.stdout.write(f"simulated provider on http://{host}:{running.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
