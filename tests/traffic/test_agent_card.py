"""Does a card lead to the gateway, whatever version it is of, and nowhere else?"""

from typing import Any

import pytest

from upshift.traffic.agent_card import through

URL = "https://gateway.example/a2a/researcher"
MODERN: dict[str, Any] = {
    "name": "Researcher",
    "supportedInterfaces": [
        {"url": "https://inside.example/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": "https://inside.example/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
    ],
    "capabilities": {"streaming": True, "pushNotifications": True},
    "securitySchemes": {"own": {"apiKeySecurityScheme": {"name": "x-own"}}},
    "securityRequirements": [{"schemes": {"own": {"list": []}}}],
    "signatures": [{"signature": "x"}],
    "skills": [{"id": "a", "securityRequirements": [{"schemes": {"own": {"list": []}}}]}],
}
LEGACY: dict[str, Any] = {
    "name": "Researcher",
    "url": "https://inside.example/",
    "preferredTransport": "GRPC",
    "additionalInterfaces": [{"url": "https://inside.example/", "transport": "JSONRPC"}],
    "capabilities": {},
    "securitySchemes": {"own": {"type": "apiKey", "in": "header", "name": "x-own"}},
    "security": [{"own": []}],
}


@pytest.mark.parametrize("card", [MODERN, LEGACY, MODERN | LEGACY, {}], ids=["1.0", "0.3", "both", "neither"])
def test_a_card_leads_to_the_gateway_only(card: dict[str, Any]) -> None:
    found = through(card, URL)
    assert "inside.example" not in str(found)
    assert "own" not in str(found.get("securitySchemes"))
    assert URL in str(found)
    assert found["capabilities"]["pushNotifications"] is False
    assert "signatures" not in found


def test_a_card_of_1_0_lists_the_one_binding_that_is_served() -> None:
    found = through(MODERN, URL)
    assert found["supportedInterfaces"] == [{"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    assert found["capabilities"]["streaming"] is True
    assert found["skills"] == [{"id": "a"}]
    assert "url" not in found


def test_a_card_of_0_3_prefers_it() -> None:
    found = through(LEGACY, URL)
    assert (found["url"], found["preferredTransport"]) == (URL, "JSONRPC")
    assert found["securitySchemes"]["upshift"]["type"] == "http"
    assert "supportedInterfaces" not in found
