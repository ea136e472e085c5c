"""What does a workload's capacity estimate lack?"""

from upshift.planning.outline import Audience, Estimate


def lacking(audiences: tuple[Audience, ...], estimate: Estimate | None) -> tuple[str, ...]:
    """The fields of the plan that are missing before tokens, machines and people can be forecast; none where complete.

    They are named as a row spells them: users, estimate.sessions, estimate.tokens, estimate.ops.
    """
    said = estimate or Estimate()
    needed = {
        "users": bool(audiences),
        "estimate.sessions": said.sessions is not None,
        "estimate.tokens": said.tokens is not None or said.turns is not None,
        "estimate.ops": said.ops_hours is not None,
    }
    return tuple(field for field, there in needed.items() if not there)
