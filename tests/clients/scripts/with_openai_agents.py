# mypy: ignore-errors
# It runs where its framework is installed, which is not where types are checked.
"""Does an agent of openai-agents use its tool in a stream?"""

import asyncio
import os
import sys

from agents import Agent, Runner, function_tool


@function_tool
def weather(city: str) -> str:
    return f"sunny in {city}"


async def _run() -> str:
    agent = Agent(name="agent", model=os.environ["MODEL"], tools=[weather])
    result = Runner.run_streamed(agent, "use the tool weather")
    async for _ in result.stream_events():
        pass
    return result.final_output


sys.stdout.write(asyncio.run(_run()))
