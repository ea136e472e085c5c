"""How do files become a plan that may be applied, or the list of what is wrong with them?"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import msgspec

from upshift import plan_file
from upshift.model.ids import WorkloadId
from upshift.plan_file.checked import check, check_terms
from upshift.plan_file.checked_agents import check_agents
from upshift.plan_file.checked_calendar import check_calendar
from upshift.plan_file.checked_planning import check_planning, still_lacking
from upshift.plan_file.checked_policies import check_policies
from upshift.plan_file.checked_pools import check_pools
from upshift.plan_file.compiled import compile_plan, document_of, hash_of
from upshift.plan_file.declared import Model, Offer, Plan, Provider
from upshift.plan_file.faults import Findings, read
from upshift.plan_file.locate import Node, merge, parse
from upshift.plan_file.outlined import outline_of, signs_off
from upshift.plan_file.prices import UNLISTED, Listing, Terms, offer_key, terms
from upshift.plan_file.problems import PlanError, Problem, Severity
from upshift.plan_file.reach import check_reach
from upshift.plan_file.routes import check_routes
from upshift.planning.outline import Outline
from upshift.traffic.snapshot import Snapshot

_SUFFIXES = frozenset((".yaml", ".yml"))


class NotServed(msgspec.Struct, frozen=True):
    """A workload of the plan that is not served, for its `status` is candidate or planned.

    `lacks` is what its capacity estimate lacks before it may move on, in words; none where it is complete or where the
    plan waives sign-offs.
    """

    workload: WorkloadId
    status: str
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """A plan without errors. `document` is its canonical JSON, which compiles to the same snapshot and hash again."""

    snapshot: Snapshot
    warnings: tuple[Problem, ...]
    document: str
    not_served: tuple[NotServed, ...]
    declared: Plan
    terms: Mapping[str, Terms]

    @cached_property
    def outline(self) -> Outline:
        """What forecasts and sign-offs read of it."""
        return outline_of(self.declared, self.terms, self.snapshot.hash)


def load(paths: Sequence[Path], today: date | None = None) -> Checked:
    """The plan of some files and folders (their *.yaml and *.yml, not those of folders within), which make one plan.

    Prices are the catalogue's of `today` (UTC). Raises PlanError with every problem there is.
    """
    with _not_collecting():
        return _checked(_root_of(paths), today)


def loads(text: str, name: str = "<plan>", today: date | None = None) -> Checked:
    """The plan of one text, called `name` in messages. Raises PlanError with every problem there is."""
    with _not_collecting():
        return _checked(merge([parse(text, name)]), today)


def _root_of(paths: Sequence[Path]) -> Node:
    roots: list[Node] = []
    problems: list[Problem] = []
    for file in _files(paths, problems):
        text = _text(file, problems)
        if text is not None:
            try:
                roots.append(parse(text, str(file)))
            except PlanError as error:
                problems += error.problems
    if problems or not roots:
        raise PlanError(problems or [_at(Path("."), "no plan was named", "a file or folder")])
    return merge(roots)


@contextmanager
def _not_collecting() -> Iterator[None]:
    """Without the collector of cycles: all of a plan lives until it is compiled, and looking through it again and again
    took a third of the time of a large one."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _checked(root: Node, today: date | None) -> Checked:
    findings = Findings(root)
    plan = read(findings)
    settled: dict[str, Terms] = {}
    if plan is not None:
        settled, assumed = _settled(plan, today or datetime.now(UTC).date())
        check(plan, findings)
        check_planning(plan, findings)
        check_agents(plan, findings)
        check_routes(plan, findings)
        check_pools(plan, findings)
        check_calendar(plan, findings)
        check_policies(plan, findings)
        check_reach(plan, settled, findings)
        check_terms(plan, settled, assumed, findings)
    problems = findings.sorted()
    if plan is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise PlanError(problems)
    document = document_of(plan, settled)
    sign_offs = signs_off(plan)
    return Checked(
        snapshot=compile_plan(plan, settled, hash_of(document)),
        warnings=tuple(problems),
        document=document,
        not_served=tuple(
            NotServed(WorkloadId(name), each.status, still_lacking(each) if sign_offs else ())
            for name, each in sorted(plan.workloads.items())
            if each.status != "committed"
        ),
        declared=plan,
        terms=settled,
    )


def _settled(plan: Plan, today: date) -> tuple[dict[str, Terms], dict[str, str]]:
    """What is settled about each model; and whose price was assumed where the catalogue does not know the provider."""
    settled: dict[str, Terms] = {}
    assumed: dict[str, str] = {}
    for name, model in plan.models.items():
        if model.provider in plan.providers:
            found, whose = _settle(model, model.id or name, plan.providers[model.provider], today)
            settled[name] = found
            if whose:
                assumed[name] = whose
        for offer in model.offers:
            if offer.provider in plan.providers:
                key = offer_key(name, offer.provider)
                found, whose = _settle(offer, offer.id or model.id or name, plan.providers[offer.provider], today)
                settled[key] = _completed(found, settled.get(name), offer)
                if whose:
                    assumed[key] = whose
    return settled, assumed


def _settle(model: Model | Offer, upstream_id: str, provider: Provider, today: date) -> tuple[Terms, str]:
    """What is settled about a model at a provider, and whose list price was assumed, if one was."""
    listing: Listing = UNLISTED
    if model.price is None or model.context is None:
        listing = plan_file.catalogue.look_up(provider.dialect, provider.base_url, upstream_id, today)
        if provider.local is not None and listing.assumed:
            # A server of one's own does not charge what somebody else's list says.
            listing = Listing(listing.context, None)
    found = terms(model, provider.dialect, listing)
    assumed = listing.assumed and model.price is None and listing.card is not None
    return found, f"the list price of {listing.card.source.rpartition(' ')[2]}" if assumed and listing.card else ""


def _completed(found: Terms, of_model: Terms | None, offer: Offer) -> Terms:
    """The lengths of an offer: what is not known of it there is as the model is elsewhere."""
    if of_model is None:
        return found
    context = found.context or of_model.context
    most = offer.max_output if offer.max_output is not None else min(of_model.max_output, context)
    return Terms(context=context, max_output=most, card=found.card)


def _files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                each for each in path.iterdir() if each.suffix in _SUFFIXES and not each.name.startswith(".")
            )
            if not found:
                problems.append(_at(path, "the folder holds no plan", "files ending in .yaml or .yml"))
            files += found
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def _text(file: Path, problems: list[Problem]) -> str | None:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(_at(file, f"the file cannot be read: {error.strerror or error}", "a file or folder"))
    except UnicodeDecodeError as error:
        before = bytes(error.object[: error.start]).decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        problems.append(_at(file, "this is not UTF-8 text", "text saved as UTF-8", line, column))
    return None


def _at(file: Path, what: str, expected: str, line: int = 1, column: int = 1) -> Problem:
    return Problem(file=str(file), line=line, column=column, path="", what=what, expected=expected)
