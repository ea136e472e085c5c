"""What does the card of an agent say to those who are to reach it through the gateway?"""

from typing import Any

BINDING = "JSONRPC"
_SCHEME = "upshift"
_SAYS = "A key of the gateway."


def through(card: dict[str, Any], url: str) -> dict[str, Any]:
    """A card of version 1.0, 0.3, or both at once, with the gateway's `url` and keys in place of the agent's own.

    Other bindings, push notifications and signatures (which no longer fit) are left out.
    """
    found = {key: value for key, value in card.items() if key not in {"signatures", "additionalInterfaces"}}
    if "supportedInterfaces" in card:
        found["supportedInterfaces"] = _interfaces(card["supportedInterfaces"], url)
        found["securityRequirements"] = [{"schemes": {_SCHEME: {"list": []}}}]
    if "url" in card or "supportedInterfaces" not in card:
        found |= {"url": url, "preferredTransport": BINDING, "security": [{_SCHEME: []}]}
    modern = {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": _SAYS}}
    legacy = {"type": "http", "scheme": "bearer", "description": _SAYS}
    # Clients of 0.3 read a scheme by its type, those of 1.0 by its key.
    found["securitySchemes"] = {_SCHEME: modern if "supportedInterfaces" in card else legacy}
    if "supportedInterfaces" in card and "url" in card:
        found["securitySchemes"] = {_SCHEME: legacy | modern}
    capabilities = card.get("capabilities")
    found["capabilities"] = (capabilities if isinstance(capabilities, dict) else {}) | {"pushNotifications": False}
    skills = card.get("skills")
    if isinstance(skills, list):
        found["skills"] = [_plain(skill) for skill in skills if isinstance(skill, dict)]
    return found


def _interfaces(listed: Any, url: str) -> list[dict[str, Any]]:
    """Those of the binding that the gateway speaks, at its own URL."""
    own = [
        each | {"url": url}
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and each.get("protocolBinding") == BINDING
    ]
    return own or [{"url": url, "protocolBinding": BINDING, "protocolVersion": "1.0"}]


def _plain(skill: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in skill.items() if key not in {"security", "securityRequirements"}}
