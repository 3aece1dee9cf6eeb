"""Routes: FastAPI declares and documents them; this module reads their requests and writes their responses.

FastAPI's own handler accepts ``"1"`` as a number, answers a malformed body with 422, echoes the input, and spends more
CPU on solving dependencies than a query costs. This one checks the media type (415), the size (413), the JSON syntax
(400) and the content (422), in this order, and only then calls the route.
"""

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Annotated, Any, cast, get_args, get_origin
from urllib.parse import parse_qsl

import orjson
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from todo.database import Session
from todo.errors import BadRequest, FieldError, Invalid
from todo.web.bodies import parse_json, read_body
from todo.web.idempotency import IDEMPOTENCY_HEADER, METHODS_WITH_IDEMPOTENCY_KEY, idempotency_key_of
from todo.web.validation import field_errors_of, pointer, with_locations

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_MAX_PARAMETERS = 200


class UserText:
    """Marks a path parameter that contains text written by a user. It may contain a slash, and logs hide it.

    Add an instance to the parameter's ``Annotated`` type. Every other path parameter is an id.
    """


# Task: T-042
# Task: T-209
class Route(APIRoute):
    """A route whose function takes path and query parameters, headers, one JSON body, and dependencies.

    A dependency is a function, async or not, whose only parameter is the request. The route's function returns data for
    JSON, or a Response. Raises TypeError at declaration for anything else that FastAPI could inject.
    """

    def get_route_handler(self) -> Handler:
        dependant = self.dependant
        endpoint = cast("Callable[..., Coroutine[Any, Any, Any]]", dependant.call)
        providers = [(str(d.name), _provider(d), inspect.iscoroutinefunction(d.call)) for d in dependant.dependencies]
        if dependant.cookie_params or len(dependant.body_params) > 1 or dependant.response_param_name:
            raise TypeError(f"{self.path}: a route takes no cookies, one body, and returns its response")
        head = _Head(dependant)
        body: Any = dependant.body_params[0] if dependant.body_params else None
        validate = TypeAdapter(body.field_info.annotation).validator.validate_json if body else None
        body_required = body is not None and body.field_info.is_required()
        body_default = body.field_info.default if body and not body_required else None
        fields = _fields_of(body.field_info.annotation) if body else ()
        places = [("body", fields), *head.places]
        request_name: str | None = dependant.request_param_name
        # The session that gets the idempotency key, if the method accepts one.
        sessions = [str(d.name) for d in dependant.dependencies if _returns_session(d.call)]
        retried = sessions[0] if sessions and not METHODS_WITH_IDEMPOTENCY_KEY.isdisjoint(self.methods or ()) else None
        status_code = self.status_code or 200

        async def handle(request: Request) -> Response:
            arguments: dict[str, Any] = {}
            scope = request.scope
            for name, provide, is_async in providers:
                arguments[name] = await provide(request) if is_async else provide(request)
            content = await read_body(request, required=body_required) if body and validate else b""
            errors: list[FieldError] = []
            head.read(scope, arguments, errors)
            if body and validate:
                arguments[body.name] = parse_json(content, validate, errors) if content else body_default
            if errors:
                raise Invalid(*errors)
            if request_name:
                arguments[request_name] = request
            if retried is not None:
                arguments[retried].idempotency_key = idempotency_key_of(scope, content)
            try:
                result = await endpoint(**arguments)
            except Invalid as error:
                raise Invalid(*with_locations(error.errors, places), detail=error.detail, code=error.code) from None
            response = result if isinstance(result, Response) else json_response(result, status_code)
            if retried is not None and arguments[retried].replayed:
                response.headers["Idempotency-Replayed"] = "true"
            return response

        return handle


def user_text_in(route: Route) -> frozenset[str]:
    """Return the names of the path parameters that are marked with ``UserText``."""
    fields = route.dependant.path_params
    return frozenset(
        field.alias for field in fields if any(isinstance(each, UserText) for each in field.field_info.metadata)
    )


def _fields_of(annotation: Any) -> list[str]:
    """Return the field names of a body, which may be optional: ``Model | None``."""
    return [name for model in (annotation, *get_args(annotation)) for name in getattr(model, "model_fields", ())]


def _returns_session(dependency: Any) -> bool:
    return inspect.signature(dependency).return_annotation is Session


def json_response(content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response; with status 204, an empty one."""
    if status_code == 204:
        return Response(None, 204, headers)
    return Response(orjson.dumps(content), status_code, headers, "application/json")


def _provider(dependency: Any) -> Callable[[Request], Any]:
    """Return the function of a dependency. Raises TypeError if it takes anything but the request."""
    asks_for_more = (
        dependency.path_params, dependency.query_params, dependency.header_params,
        dependency.body_params, dependency.cookie_params, dependency.dependencies,
    )  # fmt: skip
    if any(asks_for_more) or len(inspect.signature(dependency.call).parameters) != 1:
        raise TypeError(f"{dependency.call}: a dependency is a function of the request alone")
    return cast("Callable[[Request], Any]", dependency.call)


class _Head:
    """The path and query parameters and the headers of one route."""

    def __init__(self, dependant: Dependant) -> None:
        self._path = _Parameters("path", dependant.path_params)
        self._query = _Parameters("query", dependant.query_params)
        self._headers = _Parameters("header", dependant.header_params)
        self._header_names = frozenset(name.encode() for name in self._headers.names)
        self.places: Sequence[tuple[str, Collection[str]]] = [
            ("query", self._query.names),
            ("path", self._path.names),
            ("header", (*self._headers.names, IDEMPOTENCY_HEADER)),
        ]

    def read(self, scope: Scope, arguments: dict[str, Any], errors: list[FieldError]) -> None:
        """Add the validated parameters to ``arguments``, and the errors in them to ``errors``."""
        if self._path:
            self._path.read(scope["path_params"].items(), arguments, errors)
        if self._query:
            self._query.read(_query_of(scope["query_string"]), arguments, errors)
        elif scope["query_string"]:
            errors.extend(_unknown("query", name) for name, _ in _query_of(scope["query_string"]))
        if self._headers:
            self._headers.read(_headers_of(scope["headers"], self._header_names), arguments, errors)


class _Parameters:
    """The path parameters, the query parameters, or the headers of one route. Validates strings to arguments."""

    def __init__(self, place: str, fields: Sequence[Any]) -> None:
        self.place = place
        # If there is a single pydantic model, its fields are the parameters.
        annotation = fields[0].field_info.annotation if len(fields) == 1 else None
        self._model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
        # Header names are documented in their usual spelling, and arrive in lower case.
        self._fields = {field.alias.lower() if place == "header" else field.alias: field for field in fields}
        if self._model is not None:
            self._name = fields[0].name
            self._adapter = TypeAdapter(self._model)
            model_fields = self._model.model_fields
            self._lists = {name for name, info in model_fields.items() if _is_list(info.annotation)}
            self.names = frozenset(model_fields)
        else:
            self._adapters = {alias: _adapter_of(field.field_info) for alias, field in self._fields.items()}
            self._lists = set()
            self.names = frozenset(self._fields)

    def __bool__(self) -> bool:
        return bool(self._fields)

    def read(self, given: Iterable[tuple[str, str]], arguments: dict[str, Any], errors: list[FieldError]) -> None:
        """Add the validated parameters to ``arguments``, and the errors in them to ``errors``."""
        raw: dict[str, Any] = {}
        for name, value in given:
            if name not in self.names:
                errors.append(_unknown(self.place, name))
            elif name in self._lists:
                raw.setdefault(name, []).append(value)
            elif name in raw:
                errors.append(FieldError(pointer(self.place, name), "Give this parameter once."))
            else:
                raw[name] = value
        if self._model is not None:
            # Pydantic's mode for strings does not support lists.
            self._validate(self._adapter.validate_python, raw, arguments, self._name, errors)
            return
        for alias, field in self._fields.items():
            if alias in raw:
                self._validate(self._adapters[alias].validate_strings, raw[alias], arguments, field.name, errors, alias)
            elif field.field_info.is_required():
                errors.append(FieldError(pointer(self.place, alias), "This parameter is required."))
            else:
                arguments[field.name] = field.field_info.get_default(call_default_factory=True)

    def _validate(
        self,
        validate: Callable[[Any], Any],
        raw: Any,
        arguments: dict[str, Any],
        name: str,
        errors: list[FieldError],
        *at: str,
    ) -> None:
        try:
            arguments[name] = validate(raw)
        except ValidationError as error:
            errors.extend(field_errors_of(error, self.place, *at))


def _adapter_of(info: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = info.annotation
    return TypeAdapter(Annotated[annotation, *info.metadata] if info.metadata else annotation)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def _unknown(place: str, name: str) -> FieldError:
    return FieldError(pointer(place, name), "There is no such parameter here.")


def _query_of(query_string: bytes) -> list[tuple[str, str]]:
    if not query_string:
        return []
    try:
        return parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        raise BadRequest(
            "The query string could not be read: it has to be percent-encoded UTF-8,"
            f" with at most {_MAX_PARAMETERS} parameters."
        ) from None


def _headers_of(headers: Iterable[tuple[bytes, bytes]], names: frozenset[bytes]) -> Iterable[tuple[str, str]]:
    """Return the headers with these names. Repeated ones are joined with commas (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in names:
            before = found.get(key := name.decode())
            found[key] = value.decode("latin-1") if before is None else f"{before}, {value.decode('latin-1')}"
    return found.items()
