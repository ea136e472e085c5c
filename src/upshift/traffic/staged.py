"""Does a session take part in a stage that has a share of the traffic?"""

import hashlib

_WHOLE = 2**64


def takes_part(session: str, agent: str, share: float) -> bool:
    """Whether a session is among the `share` (0 to 1) of those that an agent gets.

    By consistent hashing: the same session always answers the same, and one that takes part at some share takes part
    at every larger one, so that none flips back while a stage grows. A session without a name never takes part, for
    it could not be kept on its side.
    """
    if not session:
        return False
    digest = hashlib.blake2b(f"{agent}\0{session}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * _WHOLE
