"""How do ten million calls get into an empty database in minutes? The server makes them up, by the rules of month.py.

What is missing beside a real ledger: what calls held, profiles of holds, and digests that would verify.
"""

from bench.month import BEGIN, END, MODELS, PLAN, TENANTS, USERS, WORKLOADS
from upshift.store.postgres import Connection
from upshift.store.postgres_schema import Month
from upshift.store.totals import DAY

_DAYS = (END - BEGIN) // DAY
_WORKLOAD = "(ARRAY['{}'])[1 + (u + which) %% {}]".format("', '".join(WORKLOADS), len(WORKLOADS))
_DEEDS = 3_000
_PER_GROUP = 1_000

_BUDGETS = f"""
INSERT INTO budgets (id, since, tenant, "user", workload, bucket, "window", period)
SELECT 1 + ((day * {TENANTS} + t) * {USERS} + u) * 2 + which, 1, 'tenant-' || t, 'user-' || t || '-' || u, {_WORKLOAD},
  'included', CASE WHEN day < {_DAYS} THEN 'day' ELSE 'month' END,
  CASE WHEN day < {_DAYS} THEN '2026-10-' || lpad((day + 1)::text, 2, '0') ELSE '2026-10' END
FROM generate_series(0, {_DAYS}) day, generate_series(0, {TENANTS - 1}) t, generate_series(0, {USERS - 1}) u,
  generate_series(0, 1) which
"""

_PROFILES = f"""
INSERT INTO profiles (id, since, streamed, status, kind, keys, plan, tenant, "user", tier, workload, pod, project,
  agent, key, dialect, requested_model, served_model, provider, outcome, bucket, reason, certainty)
SELECT 1 + ((((day * {TENANTS} + t) * {USERS} + u) * 2 + which) * {len(MODELS)} + model) * 2 + failed, 1, 1,
  CASE failed WHEN 1 THEN 502 ELSE 200 END, 'settle',
  '[' || 1 + ((day * {TENANTS} + t) * {USERS} + u) * 2 + which || ']', '{PLAN}', 'tenant-' || t,
  'user-' || t || '-' || u, 'standard', {_WORKLOAD}, 'pod-' || length({_WORKLOAD}), {_WORKLOAD}, '',
  'key-user-' || t || '-' || u, 'openai_chat', 'auto', (ARRAY['{"', '".join(MODELS)}'])[1 + model], 'provider',
  CASE failed WHEN 1 THEN 'upstream_error' ELSE 'served' END, 'included', '', 'exact'
FROM generate_series(0, {_DAYS - 1}) day, generate_series(0, {TENANTS - 1}) t, generate_series(0, {USERS - 1}) u,
  generate_series(0, 1) which, generate_series(0, {len(MODELS) - 1}) model, generate_series(0, 1) failed
"""

_CALLS = f"""
INSERT INTO calls_2026_10 (seq, profile, started, at, input, cached, cache_write_5m, cache_write_1h, output, reasoning,
  cost, counted, counted_tokens, held_tokens, held_nano, latency_us, first_byte_us, overhead_us, request, session,
  upstream_id)
SELECT 2 * n,
  1 + ((((day * {TENANTS} + t) * {USERS} + u) * 2 + which) * {len(MODELS)} + model) * 2 + failed, started,
  started + latency, input, cached, 0, 0, output, 0, input * 3000 + output * 15000, input * 3000 + output * 15000,
  input + output, 12000, 60000000, latency, latency / 4, 180, lpad(to_hex(n), 26, '0'),
  'user-' || t || '-' || u || '-' || day, 'chatcmpl-' || lpad(to_hex(n), 26, '0')
FROM (
  SELECT n, {BEGIN} + n * %(step)s AS started, n * %(step)s / {DAY} AS day,
    floor(random() * random() * {TENANTS})::int AS t, floor(random() * {USERS})::int AS u,
    floor(random() * 2)::int AS which, floor(random() * random() * {len(MODELS)})::int AS model,
    (random() < 0.02)::int AS failed, floor(random() * 8000)::bigint AS input, floor(random() * 2000)::bigint AS cached,
    floor(random() * 900)::bigint AS output, exp(random_normal(14.5, 0.8))::bigint AS latency
  FROM generate_series(1::bigint, %(records)s) AS n OFFSET 0
) AS drawn
"""

_COUNTERS = """
INSERT INTO counters (budget, settled_tokens, settled_nano, held_tokens, held_nano, granted_tokens, granted_nano)
SELECT id, floor(random() * 2e5)::bigint, floor(random() * 2e9)::bigint, 0, 0, 0, 0 FROM budgets
"""

_DEEDS_OF = f"""
INSERT INTO deeds (seq, at, tokens, nano, kind, id, plan, topic, keys, detail)
SELECT 2 * n * %(apart)s - 1, {BEGIN} + n * %(apart)s * %(step)s, 0, 0, 'alert', 'alert/' || n, '{PLAN}', '',
  '[' || n || ']', '{{"threshold":70,"measure":"tokens","used":70,"limit":100,"runs_out":null}}'
FROM generate_series(1::bigint, {_DEEDS}) AS n
"""

_GROUPS = f"""
INSERT INTO groups (last_seq, first_seq, low, digest)
SELECT last, last - {_PER_GROUP} + 1, last + 1, sha256(int8send(last))
FROM generate_series({_PER_GROUP}::bigint, %(records)s * 2, {_PER_GROUP}) AS last
"""


def fill(db: Connection, records: int) -> None:
    """Fill an empty, prepared database; `records` is a multiple of 1,000."""
    month = Month.of(BEGIN)
    table, *attached = month.statements()
    values = {"records": records, "step": (END - BEGIN) // (records + 1), "apart": max(1, records // _DEEDS)}
    db.execute(table)
    for statement in (_BUDGETS, _PROFILES, _CALLS, _COUNTERS, _DEEDS_OF, _GROUPS):
        db.execute(statement, values)
    for statement in (*attached, *month.next().statements()):
        db.execute(statement)
