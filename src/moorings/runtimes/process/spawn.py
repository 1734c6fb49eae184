"""From a Start request to a running program: placeholders, environment, the program's file, and posix_spawn.

The child gets its own session, its folder as working directory, /dev/null as input, two pipes as output, default
signal dispositions and an empty mask, umask 022 and nothing else that was open here. The supervisor is one thread, so
it may change its own working directory and limits around the spawn; posix_spawn itself shares memory with the child
until the exec (vfork), so its cost does not grow with the supervisor.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import stat

from moorings.runtimes.process.wire import Start

_PLACEHOLDER = re.compile(rb"\{port(?::(\d{1,5}))?\}")
IGNORED_BY_PYTHON = [signum for name in ("SIGPIPE", "SIGXFSZ") if (signum := getattr(signal, name, None)) is not None]


class StartFailed(Exception):
    """The program can't be started; the message is a sentence for people."""


def fill(entrypoint: list[bytes], ports: dict[int, int]) -> list[bytes]:
    """``entrypoint`` with ``{port}`` (the first declared) and ``{port:8081}`` filled in; other braces stay.

    Raises StartFailed.
    """

    def host_port(match: re.Match[bytes]) -> bytes:
        if not ports:
            raise StartFailed(
                f"entrypoint has {shown(match[0])}, but the class declares no port (default_port, required_ports)"
            )
        declared = int(match[1]) if match[1] else next(iter(ports))
        if declared not in ports:
            known = ", ".join(map(str, ports))
            raise StartFailed(
                f"entrypoint has {shown(match[0])}, but the class declares no port {declared} (it declares {known})"
            )
        return b"%d" % ports[declared]

    return [_PLACEHOLDER.sub(host_port, argument) for argument in entrypoint]


def environment(request: Start, ports: dict[int, int], home: str, tmp: str) -> dict[bytes, bytes]:
    """All variables of the child.

    The class's ``env_vars`` win over PATH, LANG, HOME and TMPDIR, and lose to ports and identity.
    """
    env = {b"PATH": request.path, b"LANG": request.lang, b"HOME": os.fsencode(home), b"TMPDIR": os.fsencode(tmp)}
    env.update(request.env)
    for number, (declared, host) in enumerate(ports.items()):
        if number == 0:
            env[b"PORT"] = b"%d" % host
        env[b"PORT_%d" % declared] = b"%d" % host
    identity = {
        b"MOORINGS_TOKEN": request.token,
        b"MOORINGS_APP": request.app,
        b"MOORINGS_CLASS": request.class_name,
        b"MOORINGS_OBJECT_ID": request.object_id,
        b"MOORINGS_NAME": request.name,
    }
    for key, text in identity.items():
        if not text or "\0" in text:  # a spare has no object yet; a variable can't hold NUL, a name can
            env.pop(key, None)
        else:
            env[key] = text.encode("utf-8", "surrogatepass")
    return env


def check(request: Start) -> None:
    """Refuse what no system could start. Raises StartFailed."""
    if not request.entrypoint or not request.entrypoint[0]:
        raise StartFailed("entrypoint is empty; it must name a program, such as ['python', 'server.py']")
    if any(b"\0" in argument for argument in request.entrypoint):
        raise StartFailed("an argument of entrypoint contains a NUL character")
    check_environment(request.env, "env_vars")
    check_folder(request.directory)


def check_environment(env: dict[bytes, bytes], what: str) -> None:
    """Refuse what can't be a variable. Raises StartFailed."""
    for key, value in env.items():
        if not key or b"=" in key or b"\0" in key or b"\0" in value:
            raise StartFailed(
                f"{what} has {shown(key)}, which can't be an environment variable (empty, or with '=' or NUL)"
            )


def check_folder(path: bytes) -> bytes:
    """The folder to run in. Raises StartFailed where there is none."""
    directory = shown(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise StartFailed(f"the folder {directory} does not exist") from None
    except (OSError, ValueError) as error:
        raise StartFailed(f"the folder {directory} can't be used: {getattr(error, 'strerror', error)}") from None
    if not stat.S_ISDIR(mode):
        raise StartFailed(f"{directory} is not a folder")
    return path


def find_program(program: bytes, directory: bytes, path: bytes) -> bytes:
    """The file to run: as given if absolute, in ``directory`` if it has a slash, else on PATH. Raises StartFailed."""
    if b"/" in program:
        file = os.path.join(directory, program)
        if not os.path.exists(file):
            raise StartFailed(f"there is no program {shown(program)} in the folder {shown(directory)}")
        _check_executable(file)
        return file
    blocked = b""
    for folder in path.split(b":"):
        file = os.path.join(directory, folder, program)
        if os.path.isfile(file):
            if os.access(file, os.X_OK):
                return file
            blocked = blocked or file
    if blocked:
        _check_executable(blocked)
    hint = ""
    if os.path.isfile(os.path.join(directory, program)):
        hint = f"; to run the one in {shown(directory)}, write './{shown(program)}'"
    raise StartFailed(f"there is no program {shown(program)} on PATH ({shown(path)}){hint}")


def _check_executable(file: bytes) -> None:
    if os.path.isdir(file):
        raise StartFailed(f"{shown(file)} is a folder, not a program")
    if not os.access(file, os.X_OK):
        raise StartFailed(f"{shown(file)} is not executable; chmod +x it, or name its interpreter in entrypoint")


def spawn(
    file: bytes, arguments: list[bytes], env: dict[bytes, bytes], directory: bytes, out: int, err: int, files: int
) -> int:
    """Start it and return its pid. ``files`` is its soft limit of open files. Raises StartFailed."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        os.chdir(directory)
    except OSError as error:
        raise StartFailed(f"the folder {shown(directory)} can't be entered: {error.strerror}") from None
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, limits[1]), limits[1]))
        return os.posix_spawn(
            file,
            arguments,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)],  # 0 is /dev/null here as well
            setsid=True,
            setsigmask=[],
            setsigdef=IGNORED_BY_PYTHON,
        )
    except OSError as error:
        raise StartFailed(_why(file, directory, error)) from None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.chdir("/")


def _why(file: bytes, directory: bytes, error: OSError) -> str:
    name = shown(file)
    match error.errno:
        case errno.ENOEXEC:
            return f"{name} is not a program that this system can run (has it a #! line?)"
        case errno.ENOENT:
            return f"{name} can't be run: the interpreter that its first line names does not exist"
        case errno.EACCES:
            return f"{name} may not be executed (its interpreter, or a filesystem mounted noexec)"
        case errno.E2BIG:
            return f"{name} can't be run: its arguments and env_vars are too long together"
        case errno.EAGAIN | errno.ENOMEM:
            return f"{name} can't be run: the system has no room for another process ({error.strerror})"
        case _:
            return f"{name} can't be run in {shown(directory)}: {error.strerror}"


def shown(value: bytes) -> str:
    """A path or an argument in a sentence."""
    return value.decode("utf-8", "replace")
