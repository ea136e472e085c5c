# mypy: ignore-errors
# It runs where its framework is installed, which is not where types are checked.
"""Does an agent of pydantic-ai use its tool? Arguments: chat, responses, anthropic or google."""

import os
import sys

from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.google import GoogleProvider


def _google(name):
    provider = GoogleProvider(base_url=os.environ["GOOGLE_GEMINI_BASE_URL"], api_key=os.environ["GEMINI_API_KEY"])
    return GoogleModel(name, provider=provider)


MODELS = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel, "anthropic": AnthropicModel, "google": _google}

agent = Agent(MODELS[sys.argv[1]](os.environ["MODEL"]))


@agent.tool_plain
def weather(city: str) -> str:
    return f"sunny in {city}"


sys.stdout.write(agent.run_sync("use the tool weather").output)
