# mypy: ignore-errors
# It runs where its framework is installed, which is not where types are checked.
"""Does a model of smolagents call the tool that it is forced to?"""

import os
import sys

from smolagents import OpenAIServerModel, tool


@tool
def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Where.
    """
    return f"sunny in {city}"


model = OpenAIServerModel(
    model_id=os.environ["MODEL"], api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"]
)
asked = [{"role": "user", "content": [{"type": "text", "text": "use the tool weather"}]}]
(call,) = model.generate(asked, tools_to_call_from=[weather]).tool_calls
told = {"role": "user", "content": [{"type": "text", "text": f"{call.function.name}: sunny"}]}
sys.stdout.write(str(model.generate([*asked, told]).content))
