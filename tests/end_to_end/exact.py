"""How do tests use a budget up to the token?"""

from tests.end_to_end.probe import Reply, ask, body_of
from tests.end_to_end.stack import Stack

INPUT, OUTPUT = 60, 440
EACH = INPUT + OUTPUT


def exact(directives: str = "") -> str:
    """What to ask for a call that uses EACH tokens.

    Its body has three bytes per token of input, so that what is held before anything was learnt is what is used.
    """
    text = f"[[simulate: {directives}input_tokens={INPUT},output_tokens={OUTPUT}]] "
    return text + "x" * (3 * INPUT - len(body_of("openai", text, max_tokens=OUTPUT)))


async def use(stack: Stack, secret: str | None = None, directives: str = "") -> Reply:
    """A call that uses EACH tokens, if it is let in: alice's on workload chat unless `secret` says otherwise."""
    return await ask(stack, exact(directives), secret=secret, max_tokens=OUTPUT)


async def use_up(stack: Stack, secret: str | None = None) -> int:
    """Call until refused; returns how many calls were served."""
    for served in range(100):
        reply = await use(stack, secret)
        if reply.status == 402:
            return served
        assert reply.status == 200, reply.body
    raise AssertionError("the budget did not run out")
