# mypy: ignore-errors
# It runs where its framework is installed, which is not where types are checked.
"""Does a chat model of LangChain use a tool in a stream? Arguments: chat, responses, anthropic or google."""

import os
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def _model(dialect: str, name: str):
    match dialect:
        case "chat":
            return ChatOpenAI(model=name, use_responses_api=False)
        case "responses":
            return ChatOpenAI(model=name, use_responses_api=True, store=False)
        case "anthropic":
            return ChatAnthropic(model=name, base_url=os.environ["ANTHROPIC_BASE_URL"])
        case _:
            base, key = os.environ["GOOGLE_GEMINI_BASE_URL"], os.environ["GEMINI_API_KEY"]
            return ChatGoogleGenerativeAI(model=name, base_url=base, api_key=key)


able = _model(sys.argv[1], os.environ["MODEL"]).bind_tools([weather])
asked = [HumanMessage("use the tool weather")]
first, *rest = able.stream(asked)
whole = sum(rest, start=first)
(call,) = whole.tool_calls
result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"], name=call["name"])
sys.stdout.write(able.invoke([*asked, whole, result]).text)
