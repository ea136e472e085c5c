"""What does a plan become when a person changes its inputs: W-01.users=6000, W-02.price*1.2, +W-06 like W-02, -W-03?"""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from upshift.model.ids import WorkloadId
from upshift.model.money import parse_money
from upshift.model.quarter import parse_quarter
from upshift.model.rates import RateCard, Rates
from upshift.planning.figure_texts import Kind, parse_figure
from upshift.planning.outline import Audience, Estimate, Outline, Row, Spread, Status, Turns, exactly

_ADDED = re.compile(r"\+\s*(\S+)\s+like\s+(\S+)\s*")
_CHANGED = re.compile(r"\s*([^\s=*]+)\s*([=*])\s*(.+?)\s*")

_ESTIMATE = {
    "sessions": "sessions", "tokens": "tokens", "output_share": "output_share", "cached": "cached",
    "cache_written": "cache_written", "long": "long", "growth": "growth", "session": "minutes", "busy": "busy",
    "burst": "burst", "ops": "ops_hours",
}  # fmt: skip
"""What a figure of an estimate is called in a plan, and in its outline."""
_TURNS = ("turns", "input", "output", "multiplier", "tool_calls", "retries")
_KINDS = {
    **dict.fromkeys(("output_share", "cached", "cache_written", "long"), Kind.SHARE),
    "growth": Kind.RATE, "session": Kind.MINUTES, "ops": Kind.HOURS,
}  # fmt: skip
"""Of figures that are no counts."""
_OTHERS = ("users", "price", "models.primary", "ships", "retires", "status")
_OPS = ("fte", "platform", "stable", "first_quarter", "homogeneous", "heterogeneous", "hour", "incident")
_COMPUTE = ("headroom", "sessions_per_unit", "unit")
_ABOVE_ZERO = ("fte", "sessions_per_unit")
"""What others are divided by."""


class ChangeError(ValueError):
    """Changes that cannot be made. `problems` says of each what is wrong and what would be right."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class _Change(NamedTuple):
    """One that sets or multiplies."""

    target: str
    times: bool
    value: str

    def of(self, spread: Spread | None, kind: Kind = Kind.COUNT) -> Spread:
        """The figure after it."""
        if not self.times:
            return parse_figure(self.value, kind)
        if spread is None:
            raise ValueError(f"{self.target} says nothing that could be multiplied; set it with '{self.target}=...'")
        factor = self.factor()
        low, high = sorted((spread.low * factor, spread.high * factor))
        if high > kind.most:
            raise ValueError(f"{self.target} would be {high:.0%}, and a share is at most 100%")
        return Spread(low, spread.mid * factor, high)

    def factor(self) -> float:
        """What it multiplies by."""
        if not self.times:
            raise ValueError(f"{self.target} has many parts, so it is multiplied: '{self.target}*1.2'")
        factor = parse_figure(self.value)
        if not factor.exact:
            raise ValueError(f"{self.value!r} is not a factor; write it like 1.2")
        return factor.mid

    def plain(self, value: float | None, kind: Kind = Kind.COUNT) -> float:
        """The same of a figure that has no spread."""
        figure = self.of(None if value is None else exactly(value), kind)
        if not figure.exact:
            raise ValueError(f"{self.target} has to be exact, not {self.value!r}")
        return figure.mid

    def money(self, value: int | None) -> int:
        """The same of an amount."""
        if not self.times:
            return parse_money(self.value)
        return round(self.plain(None if value is None else float(value)))


def apply_changes(outline: Outline, changes: Sequence[str]) -> Outline:
    """The plan after all changes, in their order.

    'W-01.users=6000' sets and 'W-01.users*1.5' multiplies a figure of a workload (as it is called in the plan, with or
    without 'estimate.'; `users.TIER` for one tier's); 'W-02.price*1.2' its prices, 'models.NAME.price*0.8' those of a
    model wherever it serves; '+W-06 like W-02' adds a workload that is like another, '-W-03' takes one away;
    'buffer=15%', 'year=$100k', 'compute.headroom=40%' and 'ops.incident=$300' change what all share. Raises
    ChangeError with every change that cannot be made.
    """
    problems: list[str] = []
    for text in changes:
        try:
            outline = _applied(outline, text)
        except ValueError as error:
            problems.append(f"{text!r}: {error}")
    if problems:
        raise ChangeError(problems)
    return outline


def _applied(outline: Outline, text: str) -> Outline:
    said = text.strip()
    changed = _CHANGED.fullmatch(said)
    if said.startswith("+"):
        return _added(outline, said)
    if said.startswith("-") and changed is None:
        gone = _row(outline, said[1:].strip())
        return msgspec.structs.replace(outline, rows=tuple(row for row in outline.rows if row is not gone))
    if changed is None:
        raise ValueError("is no change; write it like W-01.users=6000, W-02.price*1.2, +W-06 like W-02 or -W-03")
    change = _Change(changed[1], changed[2] == "*", changed[3])
    shared = _shared(outline, change)
    if shared is not None:
        return shared
    owner, field = _owner(outline, change.target)
    made = _changed(outline, owner, field, change)
    return msgspec.structs.replace(outline, rows=tuple(made if row is owner else row for row in outline.rows))


def _added(outline: Outline, said: str) -> Outline:
    found = _ADDED.fullmatch(said)
    if found is None:
        raise ValueError("is no addition; write it like '+W-06 like W-02'")
    if any(row.id == found[1] for row in outline.rows):
        raise ValueError(f"there is a workload {found[1]} already")
    like = _row(outline, found[2])
    added = msgspec.structs.replace(like, id=WorkloadId(found[1]), name=f"{found[1]} (like {like.name or like.id})")
    return msgspec.structs.replace(outline, rows=(*outline.rows, added))


def _row(outline: Outline, name: str) -> Row:
    for row in outline.rows:
        if row.id == name:
            return row
    raise ValueError(f"{name!r} is not a workload.{near(name, (row.id for row in outline.rows))}")


def _owner(outline: Outline, target: str) -> tuple[Row, str]:
    """The workload that a target begins with (names may hold dots), and the rest."""
    owners = [row for row in outline.rows if target.startswith(f"{row.id}.")]
    if owners:
        owner = max(owners, key=lambda row: len(row.id))
        field = target.removeprefix(f"{owner.id}.").removeprefix("estimate.")
        return owner, "price" if field == "models.primary.price" else field
    name, dot, _ = target.partition(".")
    known = [*(row.id for row in outline.rows), "buffer", "year", "ops", "compute", "models"]
    what = "is nothing that can be changed" if dot else "needs a field, as in W-01.users"
    raise ValueError(f"{name!r} {what}.{near(name, known)}")


def _changed(outline: Outline, row: Row, field: str, change: _Change) -> Row:
    if field == "users" or field.startswith("users."):
        return _with_users(row, field, change)
    if field in _ESTIMATE or field in _TURNS:
        return _with_figure(row, field, change)
    match field:
        case "price":
            return _with_price(row, change)
        case "models.primary" | "model":
            return _with_model(outline, row, _to_be_set(change))
        case "ships":
            return msgspec.structs.replace(row, ships=parse_quarter(_to_be_set(change)))
        case "retires":
            return msgspec.structs.replace(row, retires=parse_quarter(_to_be_set(change)))
        case "status":
            value = _to_be_set(change)
            if value not in list(Status):
                raise ValueError(f"{value!r} is not a status.{near(value, Status)}")
            return msgspec.structs.replace(row, status=Status(value))
    raise ValueError(f"{field!r} is no figure of {row.id}.{near(field, (*_OTHERS, *_ESTIMATE, *_TURNS))}")


def _to_be_set(change: _Change) -> str:
    if change.times:
        raise ValueError(f"{change.target} cannot be multiplied; set it with '='")
    return change.value


def _with_users(row: Row, field: str, change: _Change) -> Row:
    tier = field.removeprefix("users").removeprefix(".")
    if not row.audiences and not tier and not change.times:
        return msgspec.structs.replace(row, audiences=(Audience(None, change.of(None)),))
    if not tier:
        total = sum(each.users.mid for each in row.audiences)
        if change.times or len(row.audiences) == 1:
            users = tuple(msgspec.structs.replace(each, users=change.of(each.users)) for each in row.audiences)
        elif total > 0:
            # A new total keeps the proportions of the tiers.
            factor = _Change(change.target, True, repr(change.plain(total) / total))
            users = tuple(msgspec.structs.replace(each, users=factor.of(each.users)) for each in row.audiences)
        else:
            raise ValueError(f"{row.id} has users by tier; say whose, as in {row.id}.users.{row.audiences[0].tier}")
        return msgspec.structs.replace(row, audiences=users)
    tiers = [each.tier or "" for each in row.audiences]
    if tier not in tiers:
        raise ValueError(f"{tier!r} is no tier of users of {row.id}.{near(tier, tiers)}")
    users = tuple(
        msgspec.structs.replace(each, users=change.of(each.users)) if each.tier == tier else each
        for each in row.audiences
    )
    return msgspec.structs.replace(row, audiences=users)


def _with_figure(row: Row, field: str, change: _Change) -> Row:
    estimate = row.estimate or Estimate()
    if field in _TURNS:
        if estimate.turns is None:
            raise ValueError(f"{row.id} states its tokens, so it has no {field}; change {row.id}.tokens")
        turns: Turns = _replaced(estimate.turns, field, change.of(getattr(estimate.turns, field)))
        return msgspec.structs.replace(row, estimate=msgspec.structs.replace(estimate, turns=turns))
    if field == "tokens" and estimate.turns is not None:
        raise ValueError(f"the tokens of {row.id} are derived from its turns; change {', '.join(_TURNS)}")
    name = _ESTIMATE[field]
    figure = change.of(getattr(estimate, name), _KINDS.get(field, Kind.COUNT))
    return msgspec.structs.replace(row, estimate=_replaced(estimate, name, figure))


def _replaced(struct: Any, field: str, value: Any) -> Any:
    return msgspec.structs.replace(struct, **{field: value})


def _with_price(row: Row, change: _Change, model: str | None = None) -> Row:
    factor = change.factor()
    if any(share.card is None and model in (None, share.model) for share in row.mix):
        raise ValueError(f"a price of {row.id} is not known; say it in the plan first")
    return dearer(row, factor, model)


def dearer(row: Row, factor: float, model: str | None = None) -> Row:
    """A workload with all prices of its models, or of one of them, times a factor."""
    mix = tuple(
        msgspec.structs.replace(share, card=_scaled(share.card, factor))
        if share.card is not None and model in (None, share.model)
        else share
        for share in row.mix
    )
    return msgspec.structs.replace(row, mix=mix)


def _scaled(card: RateCard, factor: float) -> RateCard:
    def step(rates: Rates) -> Rates:
        return Rates(
            above=rates.above,
            input=round(rates.input * factor),
            output=round(rates.output * factor),
            cached=round(rates.cached * factor),
            cache_write_5m=round(rates.cache_write_5m * factor),
            cache_write_1h=round(rates.cache_write_1h * factor),
        )

    return RateCard(tuple(step(each) for each in card.steps), f"{card.source}, times {factor:g}")


def _with_model(outline: Outline, row: Row, name: str) -> Row:
    """Served as another workload is that has this model tier, or by this model alone."""
    for other in outline.rows:
        if other.primary == name and other.mix:
            return msgspec.structs.replace(row, primary=other.primary, mix=other.mix)
    for other in outline.rows:
        for share in other.mix:
            if share.model == name:
                return msgspec.structs.replace(row, primary=None, mix=(msgspec.structs.replace(share, part=1.0),))
    tiers = {str(each.primary) for each in outline.rows if each.primary and each.mix}
    known = tiers | {str(share.model) for each in outline.rows for share in each.mix}
    raise ValueError(f"{name!r} is no model or model tier that serves a workload of this plan.{near(name, known)}")


def _shared(outline: Outline, change: _Change) -> Outline | None:
    """What all workloads share; None where the target is a workload's."""
    section, _, field = change.target.partition(".")
    if section == "buffer" and not field:
        return msgspec.structs.replace(outline, buffer=change.plain(outline.buffer, Kind.SHARE))
    if change.target in ("year", "tokens.year"):
        return msgspec.structs.replace(outline, year=change.money(outline.year))
    if section == "ops":
        return _shared_field(outline, "staffing", "ops", field, _OPS, change)
    if section == "compute":
        return _shared_field(outline, "machines", "compute", field, _COMPUTE, change)
    if section == "models" and field.endswith(".price"):
        model = field.removesuffix(".price")
        serving = {share.model for row in outline.rows for share in row.mix}
        if model not in serving:
            raise ValueError(f"{model!r} is no model that serves a workload of this plan.{near(model, serving)}")
        rows = tuple(
            _with_price(row, change, model) if any(share.model == model for share in row.mix) else row
            for row in outline.rows
        )
        return msgspec.structs.replace(outline, rows=rows)
    return None


def _shared_field(
    outline: Outline, section: str, said: str, field: str, fields: Sequence[str], change: _Change
) -> Outline:
    if field not in fields:
        raise ValueError(f"{field!r} is no figure of {said}.{near(field, fields)}")
    terms = getattr(outline, section)
    name = {"fte": "fte_hours"}.get(field, field)
    now = getattr(terms, name)
    value: Any
    if field in ("hour", "incident", "unit"):
        value = change.money(now)
    elif isinstance(now, Spread):
        value = change.of(now, Kind.HOURS)
    else:
        value = change.plain(now, {"fte": Kind.HOURS, "headroom": Kind.RATE}.get(field, Kind.COUNT))
        if value < 0 or (value == 0 and field in _ABOVE_ZERO):
            raise ValueError(f"{change.target} has to be {'more than' if field in _ABOVE_ZERO else 'at least'} 0")
    changed: Outline = _replaced(outline, section, _replaced(terms, name, value))
    return changed


def near(word: str, valid: Iterable[str]) -> str:
    """' Did you mean W-02?', or what there is; empty of nothing."""
    names = sorted(str(each) for each in valid)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if found:
        return f" Did you mean {found[0]}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f" There are {', '.join(names[:12])}{more}." if names else ""
