"""The error classes: each has its own status, code and title, and none repeats the input."""

import http
from collections.abc import Iterator

from todo import errors
from todo.errors import FieldError, Invalid, MethodNotAllowed, TodoError, Unauthenticated, Unavailable


def below(kind: type[TodoError]) -> Iterator[type[TodoError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
        yield from below(child)


# Task: T-012
class TestTodoError:
    def test_docstring_lists_every_error_class_with_its_status(self) -> None:
        drawn = {
            (words[1], int(words[2])) for line in (errors.__doc__ or "").splitlines() if (words := line.split())[:1]
            and words[0] in {"├──", "└──"}
        }  # fmt: skip

        assert drawn == {(kind.__name__, kind.status) for kind in below(TodoError)}

    def test_error_titles_are_the_http_phrases_of_their_status(self) -> None:
        # Phrases that RFC 9110 changed; Python 3.11 has the old ones.
        renamed = {413: "Content Too Large", 422: "Unprocessable Content"}

        titles = {kind.status: kind.title for kind in below(TodoError)}

        assert titles == {status: renamed.get(status, http.HTTPStatus(status).phrase) for status in titles}

    def test_error_codes_and_statuses_are_unique(self) -> None:
        kinds = list(below(TodoError))

        assert len({kind.code for kind in kinds}) == len({kind.status for kind in kinds}) == len(kinds)

    def test_error_accepts_another_detail_and_code(self) -> None:
        error = errors.Conflict("There is one already.", code="id_taken")

        assert (error.detail, error.code, str(error)) == ("There is one already.", "id_taken", "There is one already.")
        assert (errors.Conflict.code, errors.Conflict().code) == ("conflict", "conflict")

    def test_error_has_no_headers_and_no_members_by_default(self) -> None:
        error = errors.NotFound()

        assert (error.headers, error.members) == ({}, {})


# Task: T-012
class TestInvalid:
    def test_invalid_error_lists_pointers_and_details(self) -> None:
        error = Invalid(FieldError("/title", "Too long."), FieldError("/status", "Not now."), code="other")

        assert error.code == "other"
        assert error.members == {
            "errors": [{"pointer": "/title", "detail": "Too long."}, {"pointer": "/status", "detail": "Not now."}]
        }


# Task: T-012
class TestErrorHeaders:
    def test_www_authenticate_header_distinguishes_a_missing_token_from_an_invalid_one(self) -> None:
        assert Unauthenticated().headers == {"WWW-Authenticate": "Bearer"}
        assert Unauthenticated(code="expired").headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}

    def test_allow_header_lists_every_method_in_order(self) -> None:
        assert MethodNotAllowed(["PUT", "DELETE", "GET"]).headers == {"Allow": "DELETE, GET, PUT"}

    def test_retry_after_header_contains_the_delay_in_seconds(self) -> None:
        assert Unavailable().headers == {"Retry-After": "1"}
        assert Unavailable(retry_after_seconds=30).headers == {"Retry-After": "30"}
