"""Task schemas: validation accepts only what PostgreSQL can store."""

import json
import re
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import CheckConstraint

from todo.models.base import table_of
from todo.models.tasks import Task, TaskCreate, TaskPublic, TaskReplace, TaskUpdate

# Any text that JSON can contain; lone surrogates are rejected before validation.
texts = st.text(st.characters(exclude_categories=["Cs"]))
WRONG: dict[str, list[Any]] = {
    "title": [1, True, 1.5, ["a"], {}, None],
    "description": [1, True, ["a"], {}],
    "status": [0, True, "Pending", "done", "", ["pending"], None],
    "priority": [1, False, "urgent", "HIGH", None],
    "due_date": [20260310, 1773133200.5, True, ["2026-03-10"], {}],
}
blanks = st.text(st.sampled_from(" \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\x1c\u200b\ufeff"))


def title_of(title: str) -> str | None:
    """Return the stored title, or ``None`` if it is rejected."""
    try:
        return TaskCreate.model_validate_json(json.dumps({"title": title})).title
    except ValidationError:
        return None


# Task: T-011
class TestTitle:
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.tuples(blanks, st.one_of(texts, blanks), st.integers(0, 220), blanks))
    def test_accepted_title_satisfies_the_constraints_of_postgresql(self, parts: tuple[str, str, int, str]) -> None:
        before, text, times, after = parts

        title = title_of(before + text * times + after)

        assert title is None or (1 <= len(title) <= 200 and "\x00" not in title and title == title_of(title))

    def test_title_length_equals_the_char_length_of_postgresql(self, database_url: str) -> None:
        title = title_of("\u3000" + "𝄞e\u0301\u200d👩" * 40 + "\xa0")

        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT char_length(%s)", (title,)).fetchone() == (200,)


# Task: T-011
class TestRequestBodies:
    @pytest.mark.parametrize("shape", [TaskCreate, TaskReplace, TaskUpdate])
    @pytest.mark.parametrize(
        "field", ["user_id", "created_at", "updated_at", "completed_at", "creation_digest", "Title", ""]
    )
    def test_bodies_reject_fields_that_clients_cannot_set(self, shape: type[TaskCreate], field: str) -> None:
        with pytest.raises(ValidationError) as refused:
            shape.model_validate_json(json.dumps({"title": "Buy milk", field: None}))

        assert [(error["type"], error["loc"]) for error in refused.value.errors()] == [("extra_forbidden", (field,))]

    @pytest.mark.parametrize("shape", [TaskCreate, TaskReplace, TaskUpdate])
    @pytest.mark.parametrize(
        ("field", "value"),
        [(field, value) for field, values in WRONG.items() for value in values],
    )
    def test_bodies_reject_values_of_another_type_instead_of_coercing_them(
        self, shape: type[TaskCreate], field: str, value: Any
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            shape.model_validate_json(json.dumps({"title": "Buy milk", field: value}))

        assert [error["loc"] for error in refused.value.errors()] == [(field,)]


# Task: T-011
class TestFields:
    def test_public_task_omits_only_internal_columns(self) -> None:
        columns = set(table_of(Task).c.keys())

        assert columns - set(TaskPublic.model_fields) == {
            "user_id",
            "creation_digest",
            "title_key",
            "due_at",
            "start_at",
            "tag_keys",
            "trash_id",
            "recurrence_anchor",
            "recurrence_number",
            "recurrence_due",
            "recurrence_start",
            "last_occurrence",
            "last_skipped",
            "next_occurrences",
        }
        assert set(TaskPublic.model_fields) <= columns

    def test_create_replace_and_update_accept_the_same_fields_except_id_and_scope(self) -> None:
        assert set(TaskUpdate.model_fields) - set(TaskReplace.model_fields) == {"scope"}
        assert set(TaskReplace.model_fields) <= set(TaskUpdate.model_fields)
        assert set(TaskCreate.model_fields) - set(TaskReplace.model_fields) == {"id"}

    def test_limits_of_fields_are_constraints_of_the_table_too(self) -> None:
        """If the table had a narrower limit, a value that a request may have would be an error of the server."""
        checks = [str(check.sqltext) for check in table_of(Task).constraints if isinstance(check, CheckConstraint)]
        missing = [
            f"{name}: add a CheckConstraint with {limit} to Task.__table_args__ in models/tasks.py and to a migration"
            for name, described in TaskCreate.model_json_schema()["properties"].items()
            for option in described.get("anyOf", [described])
            for key in ("minimum", "maximum", "maxLength")
            if (limit := option.get(key)) is not None
            if not any(re.search(rf"\b{name}\b", check) and re.search(rf"\b{limit}\b", check) for check in checks)
        ]

        assert missing == []


# Task: T-011
class TestTaskUpdate:
    def test_update_schema_has_no_defaults_because_absent_fields_keep_their_values(self) -> None:
        described = TaskUpdate.model_json_schema()

        assert "required" not in described
        # ``scope`` is an option of the request, not a field of the task.
        assert [name for name, field in described["properties"].items() if "default" in field] == ["scope"]

    def test_update_distinguishes_null_from_an_absent_field(self) -> None:
        assert TaskUpdate.model_validate_json('{"due_date": null}').model_fields_set == {"due_date"}
