"""Does the process that started this one still live?"""

import asyncio


def watch_parent(parent: int, gone: asyncio.Event) -> None:
    """Set `gone` when the other end of a pipe is closed; nothing is ever said over it."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(parent)
        gone.set()

    loop.add_reader(parent, ended)
