"""How are costs and calls taken away over the admin API?"""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response, StreamingResponse

from upshift.admin.desk import Actor, Desk
from upshift.admin.door import desk_of, holder_of, responses
from upshift.admin.export import Export, Form, What, export

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))

_IN_MEMORY = 8 * 1024 * 1024
_PIECE = 256 * 1024

Since = Annotated[str, Query(max_length=40, description="Like 7d or 2026-11-01; this month's beginning unless said.")]
Until = Annotated[str, Query(max_length=40, description="Like since; now unless said.")]
Written = Annotated[Form, Query(alias="format", description="csv or parquet.")]


@router.get("/export/{what}", response_class=Response, responses=responses(400, 409, 422))
def export_records(
    desk: Annotated[Desk, Depends(desk_of)],
    actor: Annotated[Actor, Depends(holder_of)],
    what: Annotated[What, Path(description="focus or calls.")],
    since: Since = "",
    until: Until = "",
    form: Written = Form.CSV,
) -> Response:
    """Costs in the columns of FOCUS 1.4 (`focus`), or every call (`calls`), as a file."""
    return as_file(export(desk, actor, what, since, until), form)


def as_file(found: Export, form: Form) -> Response:
    """An answer that a browser saves. Raises ActError where Parquet cannot be written."""
    headers = {"content-disposition": f'attachment; filename="{found.name}.{form}"'}
    if form is Form.CSV:
        return StreamingResponse(found.csv(), media_type="text/csv; charset=utf-8", headers=headers)
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed once it is sent
    try:
        found.parquet(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_sent(file), media_type="application/vnd.apache.parquet", headers=headers)


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
