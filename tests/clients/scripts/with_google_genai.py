# mypy: ignore-errors
# It runs where its framework is installed, which is not where types are checked.
"""Does Google's SDK use a tool by itself in a stream?"""

import os
import sys

from google import genai
from google.genai import types


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


client = genai.Client(api_key=os.environ["GEMINI_API_KEY"])
config = types.GenerateContentConfig(tools=[weather])
for chunk in client.models.generate_content_stream(
    model=os.environ["MODEL"], contents="use the tool weather", config=config
):
    sys.stdout.write(chunk.text or "")
