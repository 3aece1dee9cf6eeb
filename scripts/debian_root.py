"""A bare Debian 12 for tests: ``python3 scripts/debian_root.py COMMAND...`` runs a command in a clone there.

The root directory contains the packages in ``PACKAGES`` and nothing else. It uses this machine's configuration to reach
package indexes. The command runs in its own mount, process and IPC namespaces: its mounts and processes end with it,
however it ends. Needs root, debootstrap and Linux, and only the standard library.
"""

import configparser
import hashlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from ast import literal_eval
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "curl", "git", "make", "python3", "python3-venv")
CLONE = "/srv/evolution-of-todo"

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")

# If this process is killed, everything in the namespaces is killed too.
NAMESPACES = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child")
# The arguments: the root directory, the number of paths, each path to mount, the command.
ENTER = """\
root=$1 paths=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
while [ "$paths" -gt 0 ]; do
    if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$(dirname "$root$1")" && touch "$root$1"; fi
    mount -o bind,ro "$1" "$root$1"
    shift
    paths=$((paths - 1))
done
exec chroot "$root" "$@"
"""


class CannotMake(Exception):
    """The root directory cannot be made here. The message is one line: the reason, and what to do."""


# Task: T-402
def main(command: Sequence[str]) -> int:
    """Run a command in a clone of the repository in a bare Debian, and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with debian_root() as root:
            clone_head(root)
            return run_in(root, ["/bin/sh", "-c", f"cd {CLONE} && exec {shlex.join(command)}"])
    except CannotMake as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def debian_root() -> Iterator[Path]:
    """Make a bare Debian in a directory, and delete it at the end. Raises CannotMake."""
    check_requirements()
    archive = archive_of_root()
    started = time.monotonic()
    # Mounts exist only inside of the namespaces, so deleting the directory deletes nothing else.
    with tempfile.TemporaryDirectory(prefix="evolution-of-todo-", ignore_cleanup_errors=True) as directory:
        root = Path(directory) / "root"
        root.mkdir()
        subprocess.run(["tar", "--extract", "--numeric-owner", "--file", archive, "--directory", root], check=True)
        copy_network_configuration(root)
        say(f"Unpacked a bare Debian 12 in {root}", since=started)
        yield root


def say(text: str, *, since: float | None = None) -> None:
    """Print a step, with the seconds that it took."""
    print(f"==> {text}" + (f" ({time.monotonic() - since:.0f} s)" if since is not None else ""), flush=True)


def check_requirements() -> None:
    """Raise CannotMake if a root directory cannot be made."""
    if os.geteuid() != 0:
        raise CannotMake("Making a bare Debian needs root. Run it with sudo.")
    if not shutil.which("debootstrap"):
        raise CannotMake("debootstrap is not installed. On Debian and Ubuntu run: apt-get install debootstrap.")
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False)
    if tried.returncode:
        raise CannotMake("Mounts are not allowed here. Run it on a machine or in a privileged container.")


def archive_of_root() -> Path:
    """Return the tar archive of the root directory. Makes it at the first call."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evolution-of-todo"
    content = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    archive = cache / f"debian-{SUITE}-{content}.tar"
    if archive.exists():
        return archive
    started = time.monotonic()
    say(f"Making a bare Debian 12 (once; a few minutes), kept in {archive}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evolution-of-todo-", ignore_cleanup_errors=True) as directory:
        root = Path(directory) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), *mirror()]
        process = subprocess.Popen(
            [*NAMESPACES, *command], start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **apt_proxy()},
        )  # fmt: skip
        with ended(process):
            lines = list(show_debootstrap(process))
        if process.returncode:
            raise CannotMake(f"debootstrap failed: {lines[-1] if lines else 'it did not say why'}.")
        shutil.rmtree(root / "var/cache/apt")
        shutil.rmtree(root / "var/lib/apt/lists")
        unfinished = archive.with_suffix(f".{os.getpid()}")
        subprocess.run(
            ["tar", "--create", "--numeric-owner", "--file", unfinished, "--directory", root, "."], check=True
        )
        unfinished.rename(archive)
    say("Made the bare Debian 12", since=started)
    return archive


def show_debootstrap(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the output of debootstrap line by line. Prints some of it: its steps, and every 20th package."""
    counts: Counter[str] = Counter()
    for line in process.stdout or ():
        # As in "I: Retrieving libc6 2.36".
        kind = " ".join(line.split()[:2])
        if line.startswith("I: ") and counts[kind] % 20 == 0:
            print(f"    {line[3:].strip()}", flush=True)
        counts[kind] += 1
        yield line.strip()


def mirror() -> list[str]:
    """Return the Debian mirror of this machine's apt, if it has one. Otherwise debootstrap uses its default."""
    wanted = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    # The codenames of updates and security have a suffix, so they do not match.
    return re.findall(r"^Debian [a-z]+ ((?:https?|file):\S+)$", output_of(wanted), re.MULTILINE)[:1]


def apt_proxy() -> Mapping[str, str]:
    """Return the proxy that this machine's apt uses, as wget's variables, unless the environment has one."""
    found = {}
    for scheme in ("http", "https"):
        proxy = re.search(r"='(.+)'", output_of(["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"]))
        if proxy and proxy[1] != "DIRECT" and f"{scheme}_proxy" not in os.environ:
            found[f"{scheme}_proxy"] = proxy[1]
    return found


def output_of(command: Sequence[str]) -> str:
    """Return the output of a command; empty if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def copy_network_configuration(root: Path) -> None:
    """Copy the configuration of this machine for name resolution, certificates and pip to the root directory."""
    for path in ("/etc/resolv.conf", "/etc/hosts", *certificates()):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(path).exists():
            shutil.copyfile(path, target)
    parser = configparser.RawConfigParser()
    for (section, name), value in pip_options().items():
        if not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, name, value)
    with (root / "etc/pip.conf").open("w") as file:
        parser.write(file)


def certificates() -> set[str]:
    """Return the files of certificates that this machine trusts."""
    named = (os.environ.get(name, "") for name in CERTIFICATE_VARIABLES)
    configured = (value for (_, name), value in pip_options().items() if name == "cert")
    return {path for path in (CERTIFICATES, *named, *configured) if path and Path(path).is_file()}


def pip_options() -> dict[tuple[str, str], str]:
    """Return the options in pip's configuration files, by section and name; not those from environment variables."""
    listed = output_of([sys.executable, "-m", "pip", "config", "list"])
    options = re.findall(r"^(?!:env:)([\w-]+)\.([\w-]+)=(.+)$", listed, re.MULTILINE)
    return {(section, name): str(literal_eval(value)) for section, name, value in options}


def pip_paths() -> list[str]:
    """Return the files and directories that pip's options name."""
    values = [*pip_options().values(), *(value for name, value in os.environ.items() if name.startswith("PIP_"))]
    paths = set()
    for word in " ".join(values).split():
        if word.startswith("file://"):
            # An index links to packages in directories next to it.
            path = Path(unquote(urlsplit(word).path))
            paths.add(path.parent if path.name == "simple" else path)
        elif word.startswith("/"):
            paths.add(Path(word))
    return sorted(str(path) for path in paths if path.exists() and str(path) not in certificates())


def environment() -> dict[str, str]:
    """Return the environment for the command: of this one, only the variables for reaching package indexes."""
    network = re.compile(rf"(?i:\w+_proxy)|PIP_\w+|{'|'.join(CERTIFICATE_VARIABLES)}")
    passed = {name: value for name, value in os.environ.items() if network.fullmatch(name)}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **passed}


def clone_head(root: Path) -> None:
    """Clone the checked-out commit into the root directory."""
    changed = output_of(["git", "-C", str(REPOSITORY), "status", "--porcelain"])
    if changed:
        say("Uncommitted changes are not tested: " + ", ".join(line[3:] for line in changed.splitlines()[:5]))
    # The repository may belong to another account.
    trust = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", REPOSITORY.as_uri(), root / CLONE.lstrip("/")],
        env={**os.environ, **trust}, check=True,
    )  # fmt: skip


def run_in(
    root: Path, command: Sequence[str], variables: Mapping[str, str] | None = None, *, network: bool = True
) -> int:
    """Run a command in the root directory, end every process that it leaves behind, and return its exit code.

    Without ``network``, it runs in a network namespace of its own, without any connection.
    """
    paths = pip_paths()
    namespaces = NAMESPACES if network else (*NAMESPACES, "--net")
    process = subprocess.Popen(
        [*namespaces, "/bin/sh", "-ec", ENTER, "enter", str(root), str(len(paths)), *paths, *command],
        # Ctrl-C reaches only this process, which then ends the others.
        start_new_session=True,
        stdin=subprocess.DEVNULL, env={**environment(), **(variables or {})}, text=True,
    )  # fmt: skip
    with ended(process):
        process.wait()
    return process.returncode


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the namespaces of the process, and everything in them, at the end of the block."""
    try:
        yield
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        first = []
        with suppress(FileNotFoundError, ProcessLookupError):
            first = [os.pidfd_open(int(child)) for child in children.read_text().split()]
        process.kill()
        process.wait()
        # The first process of a namespace ends after all others in it.
        for descriptor in first:
            select.select([descriptor], [], [])
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
