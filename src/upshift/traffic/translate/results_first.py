"""In what order do messages stand where the results of tools have to follow their calls at once?"""

from collections.abc import Sequence

from upshift.traffic.translate.words import Message, Role, ToolCall, ToolResult


def results_first(messages: Sequence[Message]) -> list[Message]:
    """The messages, with whatever was said between calls of tools and their results behind the results."""
    found: list[Message] = []
    late: list[Message] = []
    open_calls: set[str] = set()
    for message in messages:
        results = {part.id for part in message.parts if isinstance(part, ToolResult)}
        if message.role is Role.ASSISTANT:
            found += late
            late = []
            open_calls |= {part.id for part in message.parts if isinstance(part, ToolCall)}
        elif open_calls and not results:
            late.append(message)
            continue
        found.append(message)
        open_calls -= results
        if not open_calls:
            found += late
            late = []
    return found + late
