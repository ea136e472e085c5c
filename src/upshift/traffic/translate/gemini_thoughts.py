"""How do the thoughts of any model travel through Gemini's one opaque field, the signature of a part?

A signature has to be base64, since clients decode it. Some clients send signatures back but no thoughts, so the text
of another provider's thoughts, which it wants back unchanged, travels inside.
"""

import base64
import binascii

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.words import Part, Signature, Thinking

FOREIGN = "skip_thought_signature_validator"
"""What the vendor wants as the signature of a call that none of its models made (ai.google.dev, thought signatures)."""
_NO_THOUGHTS = frozenset((FOREIGN, "context_engineering_is_the_way_to_go"))
_MARK = b"upshift:"
SEALED = base64.b64encode(_MARK + b"[").decode()
"""What a signature begins with that carries another dialect's thoughts."""
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class _Carried(msgspec.Struct, frozen=True, array_like=True):
    of: Dialect
    value: str
    text: str = ""
    redacted: bool = False


_CARRIED = msgspec.json.Decoder(list[_Carried])


def packed(thoughts: list[Thinking]) -> str:
    """Thoughts as one signature of a part; empty for none. One of Gemini's own without text is itself."""
    signed = [(each, each.signature) for each in thoughts if each.signature is not None]
    if not signed:
        return ""
    thought, signature = signed[0]
    if len(signed) == 1 and signature.of is Dialect.GEMINI and not thought.text:
        return signature.value
    carried = [_Carried(said.of, said.value, each.text, each.redacted) for each, said in signed]
    return base64.b64encode(_MARK + msgspec.json.encode(carried)).decode()


def unpacked(signature: str) -> list[Thinking]:
    """The thoughts that a part's signature stands for; none for one that only says that there are none."""
    if signature in _NO_THOUGHTS:
        return []
    try:
        data = base64.urlsafe_b64decode(signature.encode("utf-8", "surrogatepass").translate(_URL_SAFE))
        if data.startswith(_MARK):
            return [
                Thinking(each.text, Signature(each.of, each.value), each.redacted)
                for each in _CARRIED.decode(data[len(_MARK) :])
            ]
    except (binascii.Error, ValueError, RecursionError):
        pass
    return [Thinking(signature=Signature(Dialect.GEMINI, signature))]


def restore(signature: str, found: list[Part]) -> None:
    """Add the thoughts that a part's signature stands for; their text may have come on its own before it."""
    thoughts = unpacked(signature)
    if any(each.text for each in thoughts):
        found[:] = [part for part in found if not isinstance(part, Thinking) or part.signature is not None]
    found += thoughts
