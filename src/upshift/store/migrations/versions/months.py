"""Which tables hold totals of calls by month, what they stand for, and where calls are? See store/rollup.py."""

from alembic import op

revision = "0004"
down_revision = "0003"

_LABELS = """
  plan TEXT NOT NULL, tenant TEXT NOT NULL, tier TEXT NOT NULL, workload TEXT NOT NULL, pod TEXT NOT NULL,
  project TEXT NOT NULL, dialect TEXT NOT NULL, requested_model TEXT NOT NULL, served_model TEXT NOT NULL,
  provider TEXT NOT NULL, outcome TEXT NOT NULL, bucket TEXT NOT NULL, reason TEXT NOT NULL, certainty TEXT NOT NULL,
  "user" TEXT NOT NULL, key TEXT NOT NULL, agent TEXT NOT NULL
"""

_STATEMENTS = (
    "CREATE TABLE facet_months (LIKE facet_days)",
    "ALTER TABLE facet_months RENAME COLUMN day TO month",
    "ALTER TABLE facet_months ADD PRIMARY KEY (month, facet)",
    f"CREATE TABLE facet_labels (id BIGINT PRIMARY KEY, {_LABELS})",
    "COMMENT ON TABLE facet_labels IS 'What a facet or outline stands for: a copy of the profile that it is named by.'",
    'CREATE INDEX facet_labels_user ON facet_labels ("user")',
    # What one user did on some days is not looked for among what all did.
    "CREATE INDEX facet_days_of ON facet_days (facet, day)",
    "CREATE TABLE facet_spans (facet BIGINT, day BIGINT, low BIGINT NOT NULL, high BIGINT NOT NULL, "
    "calls BIGINT NOT NULL, seqs TEXT NOT NULL, PRIMARY KEY (facet, day)) WITH (fillfactor = 80)",
    "CREATE TABLE session_spans (session TEXT PRIMARY KEY, low BIGINT NOT NULL, high BIGINT NOT NULL) "
    "WITH (fillfactor = 80)",
    "COMMENT ON TABLE facet_spans IS 'The first and the last entry with calls of a facet that started on a day, "
    "and all of them where they are few.'",
    "COMMENT ON TABLE session_spans IS 'The first and the last entry with calls of a session.'",
    # Of entries up to this one spans do not tell; -1 is of none.
    "ALTER TABLE rollup_state ADD COLUMN spanned_from BIGINT NOT NULL DEFAULT -1",
    # Programs of before do not add to months. Where they went on from here, months are made of days again.
    "ALTER TABLE rollup_state ADD COLUMN months_seq BIGINT NOT NULL DEFAULT -1",
    "UPDATE store SET version = 4",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
