"""What do the demo's users see when they use the official SDKs with another base URL?"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import anthropic
import msgspec
import openai
from anthropic.types import MessageParam
from openai.types.chat import ChatCompletionUserMessageParam

from upshift.demo.story import Line, Part


class Seen(msgspec.Struct):
    """What the clients saw, all together."""

    outcomes: Counter[str]
    first_refusal: str = ""
    first_degrade: Mapping[str, str] = {}

    def refused(self, text: str) -> None:
        self.outcomes["refused"] += 1
        self.first_refusal = self.first_refusal or text

    def headers(self, headers: Mapping[str, str]) -> None:
        """Note the disclosure of an answer."""
        reason = headers.get("x-upshift-reason", "")
        if "degraded" in reason:
            self.outcomes["degraded"] += 1
            if not self.first_degrade:
                self.first_degrade = {name: value for name, value in headers.items() if name.startswith("x-upshift-")}
        elif "pay-as-you-go" in reason:
            self.outcomes["overage"] += 1
        else:
            self.outcomes["served"] += 1


class Clients:
    """One SDK client per user, as each user's own program has. Retries are off, so that each call is one call."""

    def __init__(self, base_url: str, secrets: Mapping[Part, str]) -> None:
        self._openai: dict[Part, openai.AsyncOpenAI] = {}
        self._anthropic: dict[Part, anthropic.AsyncAnthropic] = {}
        for part, secret in secrets.items():
            headers = {"x-upshift-user": part.user} if part.app else {}
            headers["x-upshift-workload"] = part.workload
            if part.sdk == "openai":
                self._openai[part] = openai.AsyncOpenAI(
                    base_url=f"{base_url}/v1", api_key=secret, max_retries=0, default_headers=headers
                )
            else:
                self._anthropic[part] = anthropic.AsyncAnthropic(
                    base_url=base_url, api_key=secret, max_retries=0, default_headers=headers
                )

    async def call(self, line: Line, seen: Seen) -> None:
        """Make one call and note what came of it."""
        try:
            if line.part.sdk == "openai":
                await self._call_openai(line, seen)
            else:
                await self._call_anthropic(line, seen)
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            if error.status_code == 402:
                seen.refused(_message(error.body))
            else:
                seen.outcomes[f"status {error.status_code}"] += 1
        except (openai.APIError, anthropic.APIError) as error:
            seen.outcomes[type(error).__name__] += 1

    async def _call_openai(self, line: Line, seen: Seen) -> None:
        raw = self._openai[line.part].chat.completions.with_raw_response
        said: ChatCompletionUserMessageParam = {"role": "user", "content": line.prompt}
        if line.streamed:
            response = await raw.create(model=line.part.model, messages=[said], max_tokens=4096, stream=True)
            seen.headers(response.headers)
            async for _ in response.parse():
                pass
        else:
            whole = await raw.create(model=line.part.model, messages=[said], max_tokens=4096)
            seen.headers(whole.headers)

    async def _call_anthropic(self, line: Line, seen: Seen) -> None:
        raw = self._anthropic[line.part].messages.with_raw_response
        said: MessageParam = {"role": "user", "content": line.prompt}
        if line.streamed:
            response = await raw.create(model=line.part.model, messages=[said], max_tokens=4096, stream=True)
            seen.headers(response.headers)
            async for _ in await response.parse():
                pass
        else:
            whole = await raw.create(model=line.part.model, messages=[said], max_tokens=4096)
            seen.headers(whole.headers)

    async def close(self) -> None:
        for openai_client in self._openai.values():
            await openai_client.close()
        for anthropic_client in self._anthropic.values():
            await anthropic_client.close()


async def replay(clients: Clients, script: Sequence[Line], progress: Callable[[int], None]) -> Seen:
    """Make every call of the script at its time; `progress` is told how many have ended."""
    seen = Seen(Counter())
    loop = asyncio.get_running_loop()
    start = loop.time()
    ended = 0

    async def one(line: Line) -> None:
        nonlocal ended
        await clients.call(line, seen)
        ended += 1
        progress(ended)

    tasks = []
    for line in script:
        await asyncio.sleep(max(0.0, start + line.at - loop.time()))
        tasks.append(asyncio.create_task(one(line)))
    await asyncio.gather(*tasks)
    return seen


def _message(body: object) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
