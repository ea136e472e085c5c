"""How does the admin API say that something went wrong (RFC 9457)?"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import Response

from upshift.admin.plan_views import ProblemView
from upshift.admin.shown import Shown


class FieldView(Shown):
    """A part of the request that is not as it should be."""

    where: str
    """Like body.name or query.limit."""
    what: str
    """What is wrong with it."""


class ErrorView(Shown):
    """An error, as application/problem+json."""

    type: str = "about:blank"
    """Always about:blank: the status says what kind of error it is."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What went wrong, and what to do instead."""
    fields: tuple[FieldView, ...] | None = None
    """Parts of the request that are not as they should be."""
    problems: tuple[ProblemView, ...] | None = None
    """Errors of a plan."""


def problem(
    status: int,
    detail: str,
    fields: Sequence[FieldView] | None = None,
    problems: Sequence[ProblemView] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer that says so."""
    view = ErrorView(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        fields=None if fields is None else tuple(fields),
        problems=None if problems is None else tuple(problems),
    )
    body = view.model_dump_json(exclude_none=True)
    return Response(body, status, headers=headers, media_type="application/problem+json")
