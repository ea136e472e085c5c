"""What may a column of the workloads' table say, and which names do teams give it?"""

import re
import unicodedata
from enum import StrEnum

import msgspec

from upshift.sheets.figures import Measure

ID = "id"
CLIENT = "client"


class Says(StrEnum):
    """What the cells of a column are."""

    ID = "id"
    TEXT = "text"
    NAME = "name of something else in the plan"
    NAMES = "names, with commas between"
    STATUS = "status"
    QUARTER = "quarter"
    MODELS = "model tiers"
    FIGURE = "figure"
    USERS = "users"
    CLIENT = "client"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column. `field` is what --map calls it, `header` what an export does, `path` where it is in a workload."""

    field: str
    header: str
    path: tuple[str, ...] = ()
    says: Says = Says.TEXT
    measure: Measure = Measure.COUNT
    section: str = ""
    """Where in the plan the names are defined that it holds."""
    aliases: tuple[str, ...] = ()


def _text(field: str, header: str, *aliases: str) -> Column:
    return Column(field=field, header=header, path=(field,), aliases=aliases)


def _name(field: str, header: str, section: str, *aliases: str, says: Says = Says.NAME) -> Column:
    return Column(field=field, header=header, path=(field,), says=says, section=section, aliases=aliases)


def _figure(field: str, header: str, measure: Measure, *aliases: str) -> Column:
    path = ("estimate", field)
    return Column(field=field, header=header, path=path, says=Says.FIGURE, measure=measure, aliases=aliases)


_COUNT, _SHARE, _HOURS, _DURATION = Measure.COUNT, Measure.SHARE, Measure.HOURS, Measure.DURATION

USERS = Column(
    field="users",
    header="Users",
    path=("users",),
    says=Says.USERS,
    aliases=(
        "number of users",
        "user count",
        "active users",
        "monthly users",
        "# users",
        "users per workload",
        "nutzer",
        "anzahl nutzer",
        "benutzer",
        "anwender",
        "nutzerzahl",
        "utilisateurs",
        "nombre d'utilisateurs",
        "usuarios",
        "numero de usuarios",
    ),
)

COLUMNS: tuple[Column, ...] = (
    Column(
        field=ID,
        header="ID",
        says=Says.ID,
        aliases=("workload id", "nr", "no", "number", "key", "kennung", "id workload"),
    ),
    Column(
        field="name",
        header="Workload",
        path=("name",),
        aliases=(
            "name",
            "workload name",
            "use case",
            "usecase",
            "title",
            "anwendungsfall",
            "anwendung",
            "bezeichnung",
            "arbeitslast",
            "cas d'usage",
            "nom",
            "caso de uso",
            "nombre",
        ),
    ),
    _text(
        "owner",
        "Owner",
        "responsible",
        "lead",
        "product owner",
        "verantwortlich",
        "verantwortlicher",
        "eigentumer",
        "inhaber",
        "responsable",
        "proprietaire",
        "propietario",
    ),
    Column(
        field="status",
        header="Status",
        path=("status",),
        says=Says.STATUS,
        aliases=("commitment", "commitment level", "state", "stand", "statut", "estado"),
    ),
    USERS,
    _figure(
        "sessions",
        "Sessions/user/month",
        _COUNT,
        "sessions",
        "sessions per user per month",
        "sessions per user and month",
        "sessions/user",
        "sessions per user",
        "monthly sessions per user",
        "sitzungen pro nutzer",
        "sitzungen pro nutzer und monat",
        "sitzungen/nutzer/monat",
        "sitzungen je nutzer und monat",
        "sessions pro nutzer und monat",
        "sessions par utilisateur",
        "sessions par utilisateur et par mois",
        "sesiones por usuario",
        "sesiones por usuario y mes",
    ),
    _figure(
        "tokens",
        "Tokens/user/month",
        _COUNT,
        "tokens",
        "tokens per user per month",
        "tokens per user and month",
        "tokens/user",
        "tokens per user",
        "monthly tokens per user",
        "tokens pro nutzer",
        "tokens pro nutzer und monat",
        "tokens/nutzer/monat",
        "tokens je nutzer und monat",
        "tokens par utilisateur",
        "tokens par utilisateur et par mois",
        "jetons par utilisateur",
        "tokens por usuario",
        "tokens por usuario y mes",
    ),
    _figure(
        "ops",
        "Ops hours/week",
        _HOURS,
        "ops",
        "ops hours",
        "ops h/week",
        "ops hours per week",
        "hours per week",
        "ops/week",
        "ops stunden",
        "betriebsstunden",
        "betriebsstunden/woche",
        "betriebsstunden pro woche",
        "ops-stunden pro woche",
        "stunden pro woche",
        "heures par semaine",
        "heures ops par semaine",
        "horas por semana",
        "horas ops por semana",
    ),
    Column(
        field="models",
        header="Model tier",
        path=("models",),
        says=Says.MODELS,
        section="model_tiers",
        aliases=(
            "model tiers",
            "models",
            "model",
            "model tier policy",
            "tier policy",
            "modell",
            "modelle",
            "modellstufe",
            "modele",
            "modelo",
        ),
    ),
    _name(
        "gate",
        "Cost gate",
        "gates",
        "gate",
        "cost control",
        "kostengrenze",
        "kosten gate",
        "porte de couts",
        "control de costes",
    ),
    Column(
        field="ships",
        header="Ship quarter",
        path=("ships",),
        says=Says.QUARTER,
        aliases=(
            "ships",
            "ship",
            "quarter",
            "ship date",
            "launch",
            "launch quarter",
            "go live",
            "golive",
            "go live quarter",
            "go live quartal",
            "quartal",
            "start",
            "startquartal",
            "trimestre",
            "lancement",
            "lanzamiento",
        ),
    ),
    Column(
        field="retires",
        header="Retire quarter",
        path=("retires",),
        says=Says.QUARTER,
        aliases=("retires", "retire", "end", "end of life", "sunset", "ende", "abschaltung", "fin"),
    ),
    _text(
        "stakeholder",
        "Stakeholder",
        "department",
        "customer",
        "abteilung",
        "fachbereich",
        "departement",
        "departamento",
    ),
    _text("sla", "SLA", "service level", "service level agreement"),
    _text("shape", "Shape", "kind of work", "workload type", "art"),
    _name("pod", "Pod", "pods", "team"),
    _name("project", "Project", "projects", "projekt", "projet", "proyecto"),
    _name("tenants", "Tenants", "tenants", "tenant", "mandant", "mandanten", says=Says.NAMES),
    _figure(
        "turns",
        "Turns/session",
        _COUNT,
        "turns",
        "turns per session",
        "messages per session",
        "runden pro sitzung",
        "tours par session",
        "turnos por sesion",
    ),
    _figure(
        "input",
        "Input tokens/turn",
        _COUNT,
        "input",
        "input tokens",
        "input tokens per turn",
        "eingabe tokens",
        "prompt tokens",
    ),
    _figure(
        "output",
        "Output tokens/turn",
        _COUNT,
        "output",
        "output tokens",
        "output tokens per turn",
        "ausgabe tokens",
        "completion tokens",
    ),
    _figure("multiplier", "Output multiplier", _COUNT, "multiplier", "reasoning multiplier", "multiplikator"),
    _figure("tool_calls", "Tool-call factor", _COUNT, "tool calls", "tool call factor", "tool factor"),
    _figure("retries", "Retry factor", _COUNT, "retries", "retry"),
    _figure("output_share", "Output share", _SHARE, "output %", "share of output", "anteil ausgabe"),
    _figure(
        "cached", "Cached input", _SHARE, "cached", "cache hit rate", "cache hits", "cached share", "cached input %"
    ),
    _figure("cache_written", "Cache writes", _SHARE, "cache written", "cache write share"),
    _figure("long", "Long context", _SHARE, "long", "long context share"),
    _figure(
        "growth",
        "User growth/month",
        _SHARE,
        "growth",
        "growth per month",
        "monthly growth",
        "wachstum",
        "wachstum pro monat",
        "croissance",
        "crecimiento",
    ),
    _figure(
        "session",
        "Session length",
        _DURATION,
        "session duration",
        "session",
        "duration",
        "sitzungsdauer",
        "dauer",
        "duree de session",
        "duracion",
    ),
    _figure("busy", "Busy-hour factor", _COUNT, "busy", "busy hour", "peak hour factor"),
    _figure("burst", "Burst factor", _COUNT, "burst", "peak factor"),
)

CLIENTS = Column(field=CLIENT, header="Client", says=Says.CLIENT)
"""Whom a row stands for, where a workload has several: only where a person says so."""

BY_FIELD = {each.field: each for each in (*COLUMNS, CLIENTS)}
BY_PATH = {each.path: each for each in COLUMNS if each.path}

_UNIT = re.compile(r"[(\[]\s*(.+?)\s*[)\]]\s*$")
_UNITS = {
    "k": "k",
    "thousand": "k",
    "thousands": "k",
    "tsd": "k",
    "in k": "k",
    "in thousands": "k",
    "in tsd": "k",
    "m": "m",
    "mio": "m",
    "million": "m",
    "millions": "m",
    "in millions": "m",
    "in mio": "m",
    "%": "%",
    "percent": "%",
    "prozent": "%",
    "min": "min",
    "minutes": "min",
    "minuten": "min",
    "s": "s",
    "sec": "s",
    "seconds": "s",
    "sekunden": "s",
    "h": "h",
    "hours": "h",
    "stunden": "h",
}


def folded(header: str) -> str:
    """A header as names are compared: without case, accents, marks or further blanks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", header.casefold()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w#%]+|_", " ", plain).split())


def without_unit(header: str) -> tuple[str, str]:
    """A header without the unit in brackets at its end, and that unit; '' where there is none that is known."""
    found = _UNIT.search(header)
    unit = _UNITS.get(found[1].casefold().rstrip("."), "") if found is not None else ""
    if found is not None and unit:
        return header[: found.start()], unit
    return header, "%" if header.rstrip().endswith("%") else ""


NAMES: dict[str, str] = {
    folded(name): column.field for column in COLUMNS for name in (*column.aliases, column.field, column.header)
}
"""Every known name of a column, folded, and its field."""
EXACT: dict[str, str] = {each.header: each.field for each in COLUMNS}
