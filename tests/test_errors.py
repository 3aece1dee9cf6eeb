"""The tree of errors: each says what it means, and none says what was sent."""

import http
from collections.abc import Iterator

from todo import errors
from todo.errors import Fault, Invalid, MethodNotAllowed, TodoError, Unauthenticated, Unavailable


def below(kind: type[TodoError]) -> Iterator[type[TodoError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
        yield from below(child)


# Task: T-012
class TestTodoError:
    def test_is_drawn_as_a_tree_at_the_top_of_the_file(self) -> None:
        drawn = {
            (words[1], int(words[2])) for line in (errors.__doc__ or "").splitlines() if (words := line.split())[:1]
            and words[0] in {"├──", "└──"}
        }  # fmt: skip

        assert drawn == {(kind.__name__, kind.status) for kind in below(TodoError)}

    def test_carries_the_title_that_http_gives_its_status(self) -> None:
        # Names that RFC 9110 changed, and Python 3.11 does not know yet.
        renamed = {413: "Content Too Large", 422: "Unprocessable Content"}

        titles = {kind.status: kind.title for kind in below(TodoError)}

        assert titles == {status: renamed.get(status, http.HTTPStatus(status).phrase) for status in titles}

    def test_has_a_code_of_its_own_for_every_kind(self) -> None:
        kinds = list(below(TodoError))

        assert len({kind.code for kind in kinds}) == len({kind.status for kind in kinds}) == len(kinds)

    def test_takes_another_detail_and_code(self) -> None:
        error = errors.Conflict("There is one already.", code="id_taken")

        assert (error.detail, error.code, str(error)) == ("There is one already.", "id_taken", "There is one already.")
        assert (errors.Conflict.code, errors.Conflict().code) == ("conflict", "conflict")

    def test_adds_nothing_unless_its_kind_does(self) -> None:
        error = errors.NotFound()

        assert (error.headers, error.members) == ({}, {})


# Task: T-012
class TestInvalid:
    def test_says_where_and_what(self) -> None:
        error = Invalid(Fault("/title", "Too long."), Fault("/status", "Not now."), code="other")

        assert error.code == "other"
        assert error.members == {
            "errors": [{"pointer": "/title", "detail": "Too long."}, {"pointer": "/status", "detail": "Not now."}]
        }


# Task: T-012
class TestHeaders:
    def test_ask_for_a_token_and_tell_a_missing_one_from_a_bad_one(self) -> None:
        assert Unauthenticated().headers == {"WWW-Authenticate": "Bearer"}
        assert Unauthenticated(code="expired").headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}

    def test_name_every_method_in_order(self) -> None:
        assert MethodNotAllowed(["PUT", "DELETE", "GET"]).headers == {"Allow": "DELETE, GET, PUT"}

    def test_say_when_to_come_back(self) -> None:
        assert Unavailable().headers == {"Retry-After": "1"}
        assert Unavailable(retry_after_seconds=30).headers == {"Retry-After": "30"}
