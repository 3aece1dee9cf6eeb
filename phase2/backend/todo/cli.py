"""The command ``todo``. A failure prints one line on standard error and sets the exit code.

0: success. 1: failure. 2: invalid command line. 130: interrupted.

A command imports its modules when it runs, so that help and tokens do not wait for the server's modules.
"""

import argparse
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from todo.errors import CommandFailed

if TYPE_CHECKING:
    from todo.settings import Settings

_MAX_MINUTES = 525_600
_MAX_WORKERS = 64
_MAX_ID_LENGTH, _MAX_NAME_LENGTH, _MAX_EMAIL_LENGTH = 255, 200, 320

_ALL_INTERFACES = ("::", "0.0.0.0")  # noqa: S104 - compared with, not listened on.

_DESCRIPTION = """\
A multi-user todo API on PostgreSQL.

  todo serve              run the API; without DATABASE_URL on a PostgreSQL of its own, in .data/
  todo migrate            bring the database up to date
  todo token alice        print a bearer token for the user alice
  todo openapi            print the API's specification

Settings come from the environment and from .env; .env.example explains each."""

_EXAMPLES = {
    "serve": """\
examples:
  todo serve
  todo serve --port 9000
  DATABASE_URL=postgresql://... BETTER_AUTH_URL=https://app.example.com todo serve --host 0.0.0.0 --workers 4

Ctrl-C stops it: requests in flight end first. A second Ctrl-C does not wait for them.""",
    "migrate": """\
examples:
  todo migrate
  DATABASE_URL=postgresql://... todo migrate
  todo migrate --check

Safe to run twice, and in two processes at once. Run it after restoring a dump too: a dump contains no roles. If
DATABASE_URL is a pooled one of Neon, the direct host is used. For another pooler, set DIRECT_DATABASE_URL.""",
    "token": """\
examples:
  todo token alice
  todo token alice --name "Alice Liddell" --email alice@example.com --minutes 15
  curl -H "Authorization: Bearer $(todo token alice)" http://127.0.0.1:8000/api/v1/me

8000 is the default port of `todo serve`.

Creates the user if it does not exist. Works only if the API verifies tokens with its own secret (JWT_SECRET, or the
one in the data directory). An issuer such as Better Auth signs its own tokens.""",
    "openapi": """\
examples:
  todo openapi --output phase2/api-specification.yaml
  todo openapi --check phase2/api-specification.yaml""",
}


# Task: T-017
# Task: T-469
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    _interrupt_on_signals()
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        options.run(options)
    except CommandFailed as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"todo: {message.splitlines()[0]}\n")
    return 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _interrupt_on_signals() -> None:
    """Make SIGTERM and a closed terminal interrupt as Ctrl-C does, so that the embedded PostgreSQL is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Under nohup, SIGHUP is ignored, and stays ignored.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"todo: {message} (see: {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="todo",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="todo COMMAND",
    )
    commands = parser.add_subparsers(
        required=True, prog="todo", metavar="COMMAND", dest="command", help=argparse.SUPPRESS
    )

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            description=(run.__doc__ or "").strip(),
            epilog=_EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run, parser=made)
        return made

    serve = command("serve", _serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", default=8000, type=_number(0, 65_535), help="0: any free port (default: %(default)s)")
    serve.add_argument(
        "--workers", default=1, type=_number(1, _MAX_WORKERS), help="number of processes (default: %(default)s)"
    )
    migrate = command("migrate", _migrate)
    migrate.add_argument("--check", action="store_true", help="change nothing; fail if the database is not up to date")
    token = command("token", _token)
    token.add_argument("user_id", metavar="USER_ID", type=_text(_MAX_ID_LENGTH), help="the user's id: any text")
    token.add_argument("--email", type=_email, help="for a new user (default: USER_ID@example.com)")
    token.add_argument("--name", type=_text(_MAX_NAME_LENGTH), help="for a new user (default: USER_ID)")
    token.add_argument(
        "--minutes", default=60, type=_number(1, _MAX_MINUTES), help="lifetime of the token (default: %(default)s)"
    )
    specification = command("openapi", _openapi).add_mutually_exclusive_group()
    specification.add_argument("--output", metavar="PATH", type=Path, help="write it to a file")
    specification.add_argument("--check", metavar="PATH", type=Path, help="fail if the file has other content")
    return parser


def _serve(options: argparse.Namespace) -> None:
    """Run the API."""
    from todo import server
    from todo.preparation import prepared

    settings = _settings()
    with server.listen(options.host, options.port) as listener, prepared(settings) as complete:
        host, port = listener.getsockname()[:2]
        address = f"http://{_reachable(host)}:{port}"
        shared = settings.database_url is not None
        ready = partial(_print, _banner(settings, address))
        server.serve(complete, listener, workers=options.workers, shared=shared, ready=ready)


def _settings(*, verifies_tokens: bool = True) -> "Settings":
    from todo.settings import Settings, misspelt_names

    for name, meant in misspelt_names():
        sys.stderr.write(f"todo: {name} is not a setting and has no effect. Did you mean {meant}?\n")
    return Settings.load(verifies_tokens=verifies_tokens)


def _reachable(host: str) -> str:
    """Return the host of a URL for this machine, for a server that listens on ``host``."""
    if host in _ALL_INTERFACES:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _banner(settings: "Settings", address: str) -> str:
    lines = [f"Listening on      {address}", f"Interactive docs  {address}/docs"]
    if settings.database_url is None:
        lines.append(f"Data              {_relative(settings.data_dir)} (PostgreSQL 18, embedded)")
    if settings.database_url is None and settings.jwks_url is None:
        # The other shell lacks the variables of this one. A secret is never printed.
        given = ["JWT_SECRET=..."] if os.environ.get("JWT_SECRET") else []
        if os.environ.get("TODO_DATA_DIR"):
            given.append(f"TODO_DATA_DIR={shlex.quote(str(settings.data_dir))}")
        lines += [
            "",
            "Try it, in another shell:",
            "",
            f"  TOKEN=$({' '.join([*given, _command()])} token alice)",
            f'  curl {address}/api/v1/tasks -H "Authorization: Bearer $TOKEN" \\',
            "    -H 'Content-Type: application/json' -d '{\"title\": \"Buy milk\"}'",
            f'  curl {address}/api/v1/tasks -H "Authorization: Bearer $TOKEN"',
            "",
            "Ctrl-C stops it.",
        ]
    return "\n".join(lines)


def _command() -> str:
    """Return the command that runs this program again from the same directory."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(_relative(Path(sys.executable)))} -m todo"
    return shlex.quote(_relative(program))


def _relative(path: Path) -> str:
    # Not resolved: the interpreter of a virtual environment is a link to one outside of it.
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _migrate(options: argparse.Namespace) -> None:
    """Bring the database up to date."""
    from todo import preparation

    settings = _settings(verifies_tokens=False)
    if options.check:
        preparation.check_schema(settings)
    else:
        preparation.migrate(settings)
    _print("The database is up to date.")


# Task: T-017
def _token(options: argparse.Namespace) -> None:
    """Print a bearer token for a user, and create the user if it does not exist."""
    import jwt

    from todo.database import accounts
    from todo.preparation import prepared

    settings = _settings()
    if settings.jwks_url is not None:
        raise CommandFailed(f"Tokens come from the issuer, {settings.jwt_issuer}: sign in there.")
    wanted = accounts.Account(
        options.user_id,
        options.name or options.user_id[:_MAX_NAME_LENGTH],
        options.email or _default_email(options.user_id),
    )
    with prepared(settings) as complete:
        # Prepared settings have both if there is no issuer.
        owner_url, secret = cast("str", complete.direct_database_url), cast("str", complete.jwt_secret)
        account = accounts.ensure(owner_url, wanted)
    now = int(time.time())
    claims = {
        "sub": account.id,
        "name": options.name or account.name,
        "email": options.email or account.email,
        "iat": now,
        "exp": now + options.minutes * 60,
    }
    _print(jwt.encode(claims, secret, "HS256"))


def _default_email(user_id: str) -> str:
    if re.fullmatch(r"[^@\s]+@[^@\s]+", user_id):
        return user_id
    return f"{re.sub(r'[^A-Za-z0-9._+-]', '-', user_id)}@example.com"


# Task: T-050
def _openapi(options: argparse.Namespace) -> None:
    """Print the API's specification, OpenAPI 3.1 in YAML."""
    from todo.database import Database
    from todo.main import create_app
    from todo.services.authentication import SecretVerifier
    from todo.settings import Settings
    from todo.web import openapi_yaml

    # The database and the verifier are not used: the specification depends only on the code.
    app = create_app(Settings(), Database("postgresql://"), SecretVerifier("-" * 32))
    specification = openapi_yaml.render(app.openapi())
    if options.check is not None:
        if not options.check.exists() or options.check.read_text(encoding="utf-8") != specification:
            raise CommandFailed(f"{options.check} differs from the code; run: make openapi")
    elif options.output is not None:
        options.output.write_text(specification, encoding="utf-8")
    else:
        sys.stdout.write(specification)


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def _text(most: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text.isprintable() or not 1 <= len(text.strip()) <= most:
            raise argparse.ArgumentTypeError(f"expected 1 to {most} printable characters")
        return text

    return parse


def _email(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) or not text.isprintable() or len(text) > _MAX_EMAIL_LENGTH:
        raise argparse.ArgumentTypeError("expected an e-mail address")
    return text
