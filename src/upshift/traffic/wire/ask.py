"""What does every dialect say of a request, an answer and a stream, in our words?"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from upshift.model.ids import ProviderId
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Ability, Dialect

MOST_TOKENS = 1_000_000_000
"""No count of tokens above this is believed, whoever says it."""


_USUAL_SERVICE = frozenset(("", "auto", "default", "standard", "standard_only", "on_demand", "unspecified"))


class Extras(msgspec.Struct, frozen=True, gc=False):
    """What a call is billed by beside its tokens at the usual rates."""

    service: str = ""
    """The tier of service: "priority", "flex", "batch", "fast", or a vendor's other word; empty for the usual one."""
    searches: int = 0
    """Searches of the web that the provider made for it."""
    unpriced: str = ""
    """What else is billed and has no price here: sounds, pictures, code that ran, searches of files; empty: nothing."""
    said: bool = False
    """The provider told the tier that served."""


PLAIN = Extras()
SERVED_AS_USUAL = Extras(said=True)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, reduced to what the rules need."""

    dialect: Dialect
    model: str
    stream: bool = False
    max_output: int | None = None
    """Tokens the client lets each choice have; None: it set no bound."""
    choices: int = 1
    needs: frozenset[Ability] = frozenset()
    text_bytes: int
    """Bytes of the body without inline base64 data of images, files and audio."""
    images: int = 0
    """Images; a file or sound of unknown length in tokens counts as the images it may cost as much as."""
    cache_write: Literal["", "5m", "1h"] = ""
    user_hint: str = ""
    session_hint: str = ""
    wants_usage: bool = False
    """Whether the client expects usage within a stream."""
    keeps_state: bool = False
    """It goes on from something that the provider keeps, so no other provider and no other dialect can serve it."""
    state: str = ""
    """What that is called, where answers say the name: an answer or a conversation."""
    least_output: int = 1
    """Tokens below which a provider refuses to bound the answer."""
    extras: Extras = PLAIN
    """What it asks for that is billed otherwise."""
    holder: ProviderId | None = None
    """Who keeps it, where that was learnt from an answer."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that came in one piece. `usage` None: nobody said, or what was said cannot be true."""

    usage: Usage | None = None
    model: str = ""
    upstream_id: str = ""
    complete: bool = False
    output_bytes: int = 0
    """Generated text, thinking and tool arguments, in UTF-8 bytes."""
    extras: Extras = PLAIN


class ModelEntry(msgspec.Struct, frozen=True):
    """A model as lists show it. `created` is seconds since the epoch; 0 where nobody knows."""

    name: str
    owner: str
    created: int = 0


class StreamMeter(Protocol):
    """Reads one streamed answer while it is passed on. Only whole events leave it, so that a stream can be ended
    well-formed after any chunk."""

    partial: Usage | None
    """Usage as last reported while the answer ran."""
    model: str
    upstream_id: str
    output_bytes: int
    """Generated text, thinking and tool arguments so far, in UTF-8 bytes."""
    output_events: int
    extras: Extras
    """What was reported so far that is billed otherwise than by tokens at the usual rates."""
    complete: bool
    """The dialect's own end was seen."""
    error: str
    """What an error event inside the stream said, or why the stream is not one; empty when all is well."""

    @property
    def usage(self) -> Usage | None:
        """Usage as reported for the whole answer; None until then, or where it cannot be true."""

    def feed(self, chunk: bytes) -> bytes:
        """What goes on to the client: the same object where nothing had to be held back or removed."""

    def finish(self) -> bytes:
        """The provider ended the stream cleanly: what was held back."""

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """Events that end the stream here, as if a length limit had been reached.

        `note` is their extra field "upshift"; `usage` our own figure, sent where the client expects one.
        """

    def failure(self, message: str, code: str) -> bytes:
        """An error event in the dialect's own form."""


class Wire(Protocol):
    """One dialect. Holds no state."""

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest), and nothing else, on any bytes at all.

        `target` is the path and query it was sent to; a dialect that says everything in its body ignores it.
        """

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "max_completion_tokens",
        include_usage: bool = False,
    ) -> bytes:
        """Put top-level fields into a body that `read` accepted; the same object where nothing changes.

        `max_output` is tokens per choice, put where the client set its own bound, else into `limit_field` (which
        dialects with a single such field ignore). All other values stay byte for byte and in their order.
        """

    def answer(self, body: bytes) -> Answer:
        """Read an answer that came in one piece. Never raises."""

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Without `keep_usage`, an event with nothing but usage is removed."""

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer."""

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""


def size(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def service(said: str | None) -> str:
    """The tier of service by our name: empty for a vendor's usual one."""
    if said is None:
        return ""
    name = said.lower().removeprefix("service_tier_")
    return "" if name in _USUAL_SERVICE else name[:40]


def asked_extras(tier: str | None, unpriced: str = "") -> Extras:
    """What a request says of its bill."""
    if not (tier or unpriced):
        return PLAIN
    named = service(tier)
    return Extras(named, 0, unpriced) if named or unpriced else PLAIN


def extras(tier: str | None, searches: int = 0, unpriced: str = "") -> Extras:
    """What an answer says of its bill."""
    named = service(tier) if tier else ""
    if not (named or searches or unpriced):
        return SERVED_AS_USUAL if tier else PLAIN
    return Extras(named, searches, unpriced, bool(tier))


def believable(*counts: int) -> bool:
    """Whether figures can be counts of tokens at all."""
    return min(counts) >= 0 and max(counts) <= MOST_TOKENS
