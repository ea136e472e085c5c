"""How are the budgets of the current periods found among those of all that were, and a user's profiles among all?"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute('CREATE INDEX budgets_current ON budgets (period, "window")')
    op.execute("CREATE INDEX facets_of ON facets (facet)")
    op.execute("UPDATE store SET version = 5")
