"""Is the time zone of a scope that of its tenants, where they share one that was said?"""

import pytest

from upshift.evidence.measurement import read_scope
from upshift.plan_file import loads
from upshift.traffic.clocks import zone_of

PLAN = """
upshift: 1
name: clocks
providers: {local: {dialect: openai, base_url: "http://127.0.0.1:9/v1"}}
models: {big: {provider: local, context: 128k, price: {input: $1, output: $5}}}
model_tiers: {premium: [big]}
tiers: [free]
tenants:
  acme: {timezone: Europe/Berlin, default_tier: free}
  beta: {timezone: Europe/Berlin, default_tier: free}
  city: {timezone: Asia/Tokyo, default_tier: free}
  dust: {default_tier: free}
pods: {west: {}, east: {}}
gates: {hard: {ceilings: {free: {month: $1}}}}
workloads:
  both: &row {status: committed, tenants: [acme, beta], pod: west, models: {primary: premium}, gate: hard}
  far: {<<: *row, tenants: [city], pod: east}
  mixed: {<<: *row, tenants: [acme, city], pod: east}
  unsaid: {<<: *row, tenants: [dust], pod: east}
agents: {ada: {workload: far}, bob: {}}
"""


@pytest.mark.parametrize(
    ("scope", "zone"),
    [
        ("workload both", "Europe/Berlin"),
        ("workload far", "Asia/Tokyo"),
        ("workload mixed", "America/Lima"),
        ("workload unsaid", "America/Lima"),
        ("workload gone", "America/Lima"),
        ("pod west", "Europe/Berlin"),
        ("pod east", "America/Lima"),
        ("agent ada", "Asia/Tokyo"),
        ("agent bob", "America/Lima"),
        ("interface ada-bob", "America/Lima"),
        ("system", "America/Lima"),
    ],
)
def test_it_is_that_of_its_tenants_else_the_other(scope: str, zone: str) -> None:
    assert zone_of(read_scope(scope), loads(PLAN).snapshot, "America/Lima") == zone
