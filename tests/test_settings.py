"""Are all settings documented, read as they are written, and refused where they are wrong?"""

import ast
import inspect
import itertools
from pathlib import Path

import msgspec
import pytest

from upshift import settings as module
from upshift.settings import PREFIX, Settings, from_environment, to_environment

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
FIELDS = msgspec.structs.fields(Settings)


def test_every_setting_says_what_it_is() -> None:
    tree = ast.parse(inspect.getsource(module))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    said = {
        one.target.id
        for one, following in itertools.pairwise(body)
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    assert said == {field.name for field in FIELDS}


def test_every_setting_is_on_its_page_with_its_default() -> None:
    rows = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if cells[0].startswith(PREFIX):
            rows[cells[0]] = cells[1]
    assert set(rows) == {PREFIX + field.name.upper() for field in FIELDS}
    read = from_environment({name: value for name, value in rows.items() if value})
    assert read == Settings()


def test_what_is_written_is_read_again() -> None:
    changed = Settings(db=Path("/tmp/a b.db"), port=0, strict=True, grace_seconds=1.5, webhook_secret="ä=1")
    assert from_environment(to_environment(changed)) == changed


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"UPSHIFT_PROT": "1"}, "UPSHIFT_PROT is not a setting; there are UPSHIFT_DB"),
        ({"UPSHIFT_PORT": "many"}, "UPSHIFT_PORT='many'"),
        ({"UPSHIFT_PORT": "70000"}, "65535"),
        ({"UPSHIFT_STRICT": "perhaps"}, "UPSHIFT_STRICT"),
        ({"UPSHIFT_GRACE_SECONDS": "-1"}, "UPSHIFT_GRACE_SECONDS"),
        ({"UPSHIFT_LOG_LEVEL": "loud"}, "UPSHIFT_LOG_LEVEL"),
        ({"UPSHIFT_ON_STORE_TROUBLE": "hope"}, "UPSHIFT_ON_STORE_TROUBLE"),
        ({"UPSHIFT_ON_STORE_TROUBLE": "serve-on"}, "serve-on needs PostgreSQL"),
    ],
)
def test_what_is_wrong_is_named(variables: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_environment(variables)


def test_variables_of_others_are_left_alone() -> None:
    assert from_environment({"PATH": "/bin", "UPSHIFT_KEY": "x", "UPSHIFT_PORT": ""}) == Settings()
