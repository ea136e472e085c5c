"""How do gateway and keeper show each other that they know the secret, without saying it?

Each proves it over the other's fresh nonce, its own, and its role, so that no proof is of use a second time or to the
other side. What follows is neither encrypted nor signed: across machines it belongs on a network of one's own.
"""

import hashlib
import hmac
import os

NONCE_BYTES = 16


def nonce() -> bytes:
    """Random bytes that were never used before."""
    return os.urandom(NONCE_BYTES)


def of_gateway(secret: str, keepers: bytes, gateways: bytes, who: bytes) -> bytes:
    """What a gateway called `who` answers to the keeper's nonce."""
    return _proof(secret, b"gateway", keepers, gateways, who)


def of_keeper(secret: str, keepers: bytes, gateways: bytes, who: bytes) -> bytes:
    """What the keeper answers to the gateway's nonce."""
    return _proof(secret, b"keeper", keepers, gateways, who)


def same(one: bytes, other: bytes) -> bool:
    """Whether two proofs are alike, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def _proof(secret: str, *parts: bytes) -> bytes:
    # Lengths keep one part's end from passing for another's beginning.
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret.encode(), text, hashlib.sha256)
