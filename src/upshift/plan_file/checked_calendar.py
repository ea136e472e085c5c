"""Do the days of a plan's calendar exist, and do they leave some to work on?"""

from datetime import date
from zoneinfo import available_timezones

from upshift.plan_file.declared import Plan
from upshift.plan_file.faults import Findings
from upshift.plan_file.problems import nearest, shown


def check_calendar(plan: Plan, findings: Findings) -> None:
    """Reports an unknown time zone, freezes that end before they begin, and days off that are named twice."""
    calendar = plan.calendar
    zones = available_timezones() if "timezone" in calendar.model_fields_set else {calendar.timezone}
    if calendar.timezone not in zones:
        zone, path = calendar.timezone, ("calendar", "timezone")
        what = f"{shown(zone)} is not a time zone"
        findings.report(path, what, value=zone, expected="a name like Europe/Berlin", remedy=nearest(zone, zones))
    for name, freeze in calendar.freezes.items():
        if freeze.to < freeze.from_:
            what = f"the freeze ends on {freeze.to}, before it begins on {freeze.from_}"
            expected = f"{freeze.from_} or later"
            remedy = "Swap them, or write the year that it ends in."
            findings.report(
                ("calendar", "freezes", name, "to"), what, value=str(freeze.to), expected=expected, remedy=remedy
            )
    known: dict[date, str] = {}
    for name, days in calendar.holidays.items():
        for day in days:
            if day in known:
                what = f"{day} is {shown(known[day])} already"
                findings.warn(("calendar", "holidays", name), what, value=str(day), remedy="Write it once.")
            known.setdefault(day, name)
