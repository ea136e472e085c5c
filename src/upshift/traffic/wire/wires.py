"""Which dialect speaks which wire format?"""

from collections.abc import Mapping
from types import MappingProxyType

from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.anthropic_messages import AnthropicMessages
from upshift.traffic.wire.ask import Wire
from upshift.traffic.wire.openai_chat import OpenAIChat

WIRES: Mapping[Dialect, Wire] = MappingProxyType({Dialect.OPENAI: OpenAIChat(), Dialect.ANTHROPIC: AnthropicMessages()})
