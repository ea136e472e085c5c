"""Does what is translated lose only what the published table says?"""

import pytest
from tests.traffic.translate.fidelity_table import DIALECTS, MODELS, PAGE, page, request_fate
from tests.traffic.translate.vectors import Vector, pairs, replies, requests

from upshift.model.refusal import CannotServe, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.fidelity import Fate, answered, reply_outcome, target_of, told
from upshift.traffic.translate.translate import TRANSLATORS, Translation, not_carried, understand
from upshift.traffic.translate.words import Loss

PAIRS = list(pairs(DIALECTS))
REQUESTS = [
    pytest.param(client, provider, vector, id=f"{client}-{provider}-{vector.says}")
    for client, provider in PAIRS
    for vector in requests(client)
]
REPLIES = [
    pytest.param(client, provider, vector, id=f"{client}-{provider}-{vector.says}")
    for client, provider in PAIRS
    for vector in replies(provider)
]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.traffic.translate.fidelity_table"


@pytest.mark.parametrize(("client", "provider", "vector"), REQUESTS)
def test_a_request_says_the_same_or_the_loss_is_told(client: Dialect, provider: Dialect, vector: Vector) -> None:
    outcome = request_fate(client, provider, vector)
    understood = understand(client, vector.body, vector.target)
    translation = Translation(client, provider)
    if outcome.fate is Fate.REFUSED:
        with pytest.raises(Refused) as refused:
            translation.request(understood, MODELS[provider], None)
        assert isinstance(refused.value.reason, CannotServe)
        assert refused.value.reason.needs
        return
    sent = translation.request(understood, MODELS[provider], None)
    assert bool(sent.losses) == (outcome.fate is Fate.DECLARED)
    assert set(not_carried(sent.losses).split(", ")) - {""} == {loss.field for loss in sent.losses}


@pytest.mark.parametrize(("client", "provider", "vector"), REQUESTS)
def test_what_is_carried_comes_back(client: Dialect, provider: Dialect, vector: Vector) -> None:
    if request_fate(client, provider, vector).fate is not Fate.CARRIED:
        return
    said, _ = TRANSLATORS[client].request_in(vector.body, vector.target)
    sent, _ = TRANSLATORS[provider].request_out(said, MODELS[provider], None, stream=said.stream)
    heard, _ = TRANSLATORS[provider].request_in(sent, target_of(provider, MODELS[provider], stream=said.stream))
    model = MODELS[client] if client is Dialect.GEMINI else "a-model"
    back, losses = TRANSLATORS[client].request_out(heard, model, said.max_output, stream=said.stream)
    again, _ = TRANSLATORS[client].request_in(back, target_of(client, model, stream=said.stream))
    again.max_output = said.max_output
    assert losses or told(again) == told(said)


@pytest.mark.parametrize(("client", "provider", "vector"), REQUESTS)
def test_what_is_sent_is_lost_nowhere_else(client: Dialect, provider: Dialect, vector: Vector) -> None:
    """A translated request is one that the provider's dialect reads without a loss."""
    if request_fate(client, provider, vector).fate is Fate.REFUSED:
        return
    understood = understand(client, vector.body, vector.target)
    sent = Translation(client, provider).request(understood, MODELS[provider], 900)
    heard, losses = TRANSLATORS[provider].request_in(
        sent.body, target_of(provider, MODELS[provider], stream=understood.request.stream)
    )
    assert {loss.field for loss in losses} <= _NARROWED
    assert heard.max_output is not None
    assert heard.max_output <= 900
    assert heard.stream == understood.request.stream


@pytest.mark.parametrize(("client", "provider", "vector"), REPLIES)
def test_an_answer_says_the_same_or_the_loss_is_told(client: Dialect, provider: Dialect, vector: Vector) -> None:
    outcome = reply_outcome(provider, client, vector.body)
    sent = Translation(client, provider).request(
        understand(client, requests(client)[0].body, requests(client)[0].target), MODELS[provider], None
    )
    body, losses = Translation(client, provider).reply(vector.body, "the-alias", sent.asked)
    assert bool(losses) == (outcome.fate is Fate.DECLARED)
    said, heard = TRANSLATORS[provider].reply_in(vector.body), TRANSLATORS[client].reply_in(body)
    assert heard.model in {"the-alias", ""}
    if said.usage is not None and heard.usage is not None:
        assert (heard.usage.input, heard.usage.cached, heard.usage.output, heard.usage.reasoning) == (
            said.usage.input,
            said.usage.cached,
            said.usage.output,
            said.usage.reasoning,
        )
    if outcome.fate is Fate.CARRIED:
        back = TRANSLATORS[provider].reply_in(TRANSLATORS[provider].reply_out(heard, "a-model"))
        assert answered(back) == answered(said)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_dialect_says_it_also_reads(dialect: Dialect) -> None:
    """Within one dialect, what was read and written again says the same."""
    own = TRANSLATORS[dialect]
    model = "gemini-2.5-flash" if dialect is Dialect.GEMINI else "a-model"
    for vector in requests(dialect):
        said, known = own.request_in(vector.body, vector.target)
        if any(loss.fatal for loss in known):
            continue
        body, losses = own.request_out(said, model, said.max_output, stream=said.stream)
        if not losses:
            again, lost = own.request_in(body, target_of(dialect, model, stream=said.stream))
            again.max_output = said.max_output
            assert all(each in known for each in lost)
            if vector.says not in _SAID_ANOTHER_WAY:
                assert told(again) == told(said), vector.says
    for vector in replies(dialect):
        reply = own.reply_in(vector.body)
        assert answered(own.reply_in(own.reply_out(reply, "a-model"))) == answered(
            reply.__class__(**{name: getattr(reply, name) for name in reply.__struct_fields__} | {"losses": []})
        ), vector.says


_NARROWED = {"toolConfig.functionCallingConfig.mode"}
"""Gemini's way to say which tools may be called is one that no other dialect says back."""
_SAID_ANOTHER_WAY = {"a tool that takes free text", "a namespace of tools", "a level of thinking"}
"""Namespaces are told as parts of names, levels as budgets to models that know no levels; and Chat Completions knows such tools, but most servers of the dialect do not: they are told as functions."""


def test_the_header_is_short_and_plain() -> None:
    losses = [Loss(f"field{number}, \n\u00fc", "why") for number in range(200)]
    told_of = not_carried(losses)
    assert len(told_of) < 500
    assert told_of.isascii()
    assert told_of.isprintable()
    assert told_of.endswith(", ...")
