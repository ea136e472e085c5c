"""What does a change of plan do to agents and to those who speak to them?"""

from collections.abc import Iterator

from upshift.model.contract import Interface
from upshift.traffic.compatibility import objections
from upshift.traffic.snapshot import Snapshot


def agents_moved(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str]]:
    """Agent or interface, and what happens to it, in words."""
    for name in sorted(old.agents.keys() | new.agents.keys()):
        was, now = old.agents.get(name), new.agents.get(name)
        if now is None:
            yield name, f"agent {name} is removed: whoever speaks to it is refused"
        elif was is None:
            yield name, f"agent {name} begins" + (f", reached at {now.url}" if now.url else ", and only speaks")
        elif was != now:
            moved = f"is reached at {now.url or 'no URL'} instead of {was.url or 'no URL'}"
            yield (
                name,
                f"agent {name} {moved if was.url != now.url else 'changes: its workload, owner, key or timeouts'}",
            )
    for interface in sorted(old.interfaces.keys() | new.interfaces.keys()):
        before, after = old.interfaces.get(interface), new.interfaces.get(interface)
        yield from ((interface, text) for text in _interface(before, after))
    for text in objections(old.interfaces, new.interfaces):
        yield "contracts", f"may not be put in force: {text}"


def _interface(old: Interface | None, new: Interface | None) -> Iterator[str]:
    if new is None:
        assert old is not None
        yield f"interface {old.name} is removed: {old.caller} may not speak to {old.callee} any more"
    elif old is None:
        yield f"interface {new.name} begins, from {new.caller} to {new.callee}; no call passes before it is activated"
    elif (old.caller, old.callee) != (new.caller, new.callee):
        yield f"interface {new.name} leads from {new.caller} to {new.callee}, and has to be activated anew"
    elif old != new:
        if old.version is not None and new.version is not None and old.version.major != new.version.major:
            yield f"contract {new.name}: {old.version} -> {new.version}; no call passes before it is activated anew"
        elif old.version != new.version:
            yield f"contract {new.name}: {old.version or 'none'} -> {new.version or 'none'}"
        if old.enforcement is not new.enforcement:
            yield f"contract {new.name}: what does not fit is to {new.enforcement} instead of {old.enforcement}"
        if (old.request, old.response) != (new.request, new.response):
            yield f"contract {new.name}: its schemas or expectations change"
        if (old.owner, old.escalation) != (new.owner, new.escalation):
            yield f"contract {new.name}: {new.owner or 'nobody'} answers for it, escalation {new.escalation or 'none'}"
