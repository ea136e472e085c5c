"""Which former plan comes back, what would that change, and may it?"""

from upshift.admin.costs import costs_moved
from upshift.admin.desk import ActError, Actor, Desk
from upshift.model.quarter import Month
from upshift.plan_file import Consequence, compile_document, outline_document
from upshift.store.journal import Applied


def former(desk: Desk, number: int | None = None) -> Applied:
    """The plan that was put in force with this number, else the last one that differs from what is in force now.

    Raises ActError.
    """
    plans = desk.journal.plans()
    if number is not None:
        found = next((each for each in plans if each.number == number), None)
        if found is None:
            numbers = f"1 to {plans[0].number}" if plans else "none yet"
            raise ActError(f"no plan was put in force with the number {number}; there is {numbers}", 404)
        return found
    found = next((each for each in plans if each.hash != plans[0].hash), None)
    if found is None:
        raise ActError("no other plan was in force before", 409)
    return found


def rolled_back(desk: Desk, plan: Applied) -> list[Consequence]:
    """What putting a former plan in force again would change. Raises ActError where it may not be."""
    try:
        document = plan.document.decode()
        snapshot, outline = compile_document(document), outline_document(document)
    except ValueError as error:
        raise ActError(f"plan {plan.number} cannot be read by this version: {error}", 409) from None
    desk.only_covered(outline)
    _, planned = desk.readable()
    return [*desk.difference(snapshot, outline), *costs_moved(planned, outline, Month.of(desk.today()))]


def roll_back(desk: Desk, plan: Applied, actor: Actor) -> list[Consequence]:
    """Put a former plan in force again, under a new number; its sign-offs are judged as of now.

    Prices are those it was settled with. Raises ActError.
    """
    desk.only_admin(actor, "roll a plan back")
    consequences = rolled_back(desk, plan)
    desk.journal.apply_plan(plan.hash, plan.document, plan.name, actor.name, desk.now(), restores=plan.number)
    return consequences
