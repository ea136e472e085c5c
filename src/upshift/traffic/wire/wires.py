"""Which dialect speaks which wire format?"""

from collections.abc import Mapping
from types import MappingProxyType

from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.anthropic_messages import AnthropicMessages
from upshift.traffic.wire.ask import Wire
from upshift.traffic.wire.gemini import Gemini
from upshift.traffic.wire.openai_chat import OpenAIChat
from upshift.traffic.wire.openai_embeddings import OpenAIEmbeddings
from upshift.traffic.wire.openai_responses import OpenAIResponses

WIRES: Mapping[Dialect, Wire] = MappingProxyType(
    {
        Dialect.OPENAI: OpenAIChat(),
        Dialect.RESPONSES: OpenAIResponses(),
        Dialect.EMBEDDINGS: OpenAIEmbeddings(),
        Dialect.ANTHROPIC: AnthropicMessages(),
        Dialect.GEMINI: Gemini(),
    }
)
