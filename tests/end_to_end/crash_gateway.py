"""Which process do the crash tests kill? A real gateway, forked anew for each line on stdin.

Started as `crash_gateway.py DB strict|overlapped`. Writes the id and port of each child when it listens, and an empty
line when it has died. Forking saves importing everything anew for each crash.
"""

import os
import sys
import threading
from pathlib import Path

import uvloop

from upshift.app import Gateway, run_gateway
from upshift.cli.logs import configure
from upshift.settings import Settings


def end_with_the_test() -> None:
    """Nothing is said while a child lives, so what ends this read is the end of the test."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def ready(gateway: Gateway) -> None:
    """Tell where the gateway is."""
    threading.Thread(target=end_with_the_test, daemon=True).start()
    sys.stdout.write(f"{os.getpid()} {gateway.port}\n")
    sys.stdout.flush()


def main() -> None:
    settings = Settings(db=Path(sys.argv[1]), port=0, strict=sys.argv[2] == "strict")
    configure("warning")
    while sys.stdin.readline():
        child = os.fork()
        if child == 0:
            uvloop.run(run_gateway(settings, ready))
            os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
