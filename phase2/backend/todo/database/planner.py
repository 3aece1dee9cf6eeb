"""Planner settings: one generic plan for each statement, which scans indexes in their order.

PostgreSQL plans for the average user, who has few rows: reading, sorting or hashing all of them looks cheap. The same
plan serves the user with 30,000 tasks. These settings make the planner scan an index that has the order of the page,
and stop when the page is full. They also hold inside of trigger functions.

A direct connection gets them once. Behind a pooler, the identity sets them for each transaction, because the server
connection belongs to other clients afterwards. ``tests/architecture/test_planner.py`` fails if a setting is missing, or
if a statement gets a plan that the settings should prevent.
"""

from typing import NamedTuple


class PlannerSetting(NamedTuple):
    """A setting, and a query that needs it.

    Without this setting, that query reads ``factor`` times as many pages of 8 KB. The first five factors were measured
    for a user with 30,000 tasks among 8,100 users, that of ``enable_hashjoin`` for a user with 300 in a new database.
    """

    name: str
    value: str
    needed_by: str
    factor: float


# Task: T-411
PLANNER_SETTINGS = (
    PlannerSetting("plan_cache_mode", "force_generic_plan", "a search by a prefix with a misleading length", 17),
    PlannerSetting("enable_seqscan", "off", "the list of the tasks that were updated after a time", 257),
    PlannerSetting("enable_bitmapscan", "off", "the list of the tasks that were updated before a time", 5.7),
    PlannerSetting("enable_sort", "off", "a list by tag, sorted by two columns", 13),
    PlannerSetting("enable_material", "off", "a list by two tags, sorted by two columns", 7),
    PlannerSetting("enable_hashjoin", "off", "the ancestors of the tasks in a batch, in a new database", 2.4),
)


def set_config_calls(*, is_local: bool) -> str:
    """Return one call of ``set_config`` per setting, separated by commas. ``is_local``: for this transaction only.

    Every name is qualified, because the search path may still be another client's.
    """
    return ", ".join(
        f"pg_catalog.set_config('{setting.name}', '{setting.value}', {str(is_local).lower()})"
        for setting in PLANNER_SETTINGS
    )
