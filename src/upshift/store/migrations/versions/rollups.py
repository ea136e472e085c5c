"""Which tables hold totals of calls by hour and day? They are told about in store/rollup.py."""

from alembic import op

revision = "0002"
down_revision = "0001"

_SUMS = """
  calls BIGINT NOT NULL, input BIGINT NOT NULL, cached BIGINT NOT NULL, cache_write_5m BIGINT NOT NULL,
  cache_write_1h BIGINT NOT NULL, output BIGINT NOT NULL, reasoning BIGINT NOT NULL, cost BIGINT NOT NULL,
  unknown_cost BIGINT NOT NULL, counted BIGINT NOT NULL, counted_tokens BIGINT NOT NULL, latencies NUMERIC NOT NULL
"""

_TABLES = f"""
CREATE TABLE facets (profile BIGINT PRIMARY KEY, facet BIGINT NOT NULL, outline BIGINT NOT NULL);
COMMENT ON TABLE facets IS 'The first profile like this one in all that reports tell apart; and but for who it was.';
CREATE TABLE facet_names (name BYTEA PRIMARY KEY, profile BIGINT NOT NULL);
COMMENT ON TABLE facet_names IS 'The first profile of a facet or outline, by the digest of what they have in common.';

CREATE TABLE latency_units (place INT PRIMARY KEY, unit NUMERIC NOT NULL);
COMMENT ON TABLE latency_units IS 'One call in each bucket of latencies, as the column latencies adds them up.';
INSERT INTO latency_units SELECT place, ('1' || repeat('0', 12 * place))::numeric FROM generate_series(0, 399) AS place;

CREATE TABLE facet_days (day BIGINT, facet BIGINT, {_SUMS}, PRIMARY KEY (day, facet)) WITH (fillfactor = 80);
CREATE TABLE outline_days (day BIGINT, outline BIGINT, {_SUMS}, PRIMARY KEY (day, outline)) WITH (fillfactor = 80);
CREATE TABLE outline_hours (hour BIGINT, outline BIGINT, {_SUMS}, PRIMARY KEY (hour, outline)) WITH (fillfactor = 80);

CREATE TABLE rollup_state (
  "only" INT PRIMARY KEY CHECK ("only" = 1), last_seq BIGINT NOT NULL, kept_from BIGINT NOT NULL
);
COMMENT ON TABLE rollup_state IS 'Up to which entry calls are in the rollups, and from which instant on they are kept.';
INSERT INTO rollup_state VALUES (1, 0, 0);

UPDATE store SET version = 2
"""  # noqa: S608 - our own text


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
