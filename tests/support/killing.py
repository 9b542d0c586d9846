"""Commands killed at a chosen moment.

A process that has imported everything forks for each command, so that one costs tenths of a second.
The moment is the command's n-th opening, renaming or removing of a file below a folder, and a time
after that.
"""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

_TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.chmod"}
_MARK = "\nfiles touched: "
_LOADED = (
    "medusa_jax.cli.app",
    "medusa_jax.config.yaml_file",
    "medusa_jax.runs.inputs",
    "medusa_jax.store.npy",
    "pyarrow.dataset",
    "soxr",
)


@dataclass(frozen=True)
class Ended:
    """The end of a command: exit code or minus the signal, touches of files, and output."""

    code: int
    touches: int
    said: str


class Commands:
    """`medusa` commands, one at a time, each in its own process; `modules` are imported before."""

    def __init__(self, *modules: str) -> None:
        command = [sys.executable, __file__, *_LOADED, *modules]
        # threads that wait for each other cost more than such small work
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
        }
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> "Commands":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def __call__(self, *arguments: object, below: Path, at: int = 0, after: float = 0.0) -> Ended:
        """Run `medusa ARGUMENTS`, killed `after` seconds after touch `at` of files (0: never)."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        order = {
            "arguments": list(map(str, arguments)),
            "below": str(below),
            "at": at,
            "after": after,
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))


def killed_until_done(
    commands: Commands, arguments: list[object], below: Path, touches: int, chance: random.Random
) -> int:
    """Kill a command twice at random moments, let it end the third time, return the kills."""
    kills = 0
    for most in (touches, touches // 2):
        after = chance.choice([0.0, chance.uniform(0, 0.01)])
        ended = commands(*arguments, below=below, at=chance.randint(1, most), after=after)
        assert ended.code in (0, -signal.SIGKILL), ended.said
        kills += ended.code == -signal.SIGKILL
    ended = commands(*arguments, below=below)
    assert ended.code == 0, ended.said
    return kills


def _serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        told, tell = os.pipe()
        process = os.fork()
        if not process:
            _run(order, tell)
        os.close(tell)
        with os.fdopen(told) as file:
            said = file.read()
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        words, mark, touches = said.rpartition(_MARK)
        print(
            json.dumps(
                {
                    "code": code,
                    "touches": int(touches) if mark else 0,
                    "said": words if mark else said,
                }
            ),
            flush=True,
        )


def _run(order: dict[str, object], tell: int) -> None:
    """The command, in the forked process, which ends here."""
    from medusa_jax.cli.app import main

    os.dup2(tell, 1)
    os.dup2(tell, 2)
    touched = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        if event in _TOUCHES and str(arguments[0]).startswith(str(order["below"])):
            touched += 1
            if touched == order["at"]:
                _kill(float(str(order["after"])))

    sys.addaudithook(watch)
    sys.argv = ["medusa", *order["arguments"]]  # type: ignore[misc]
    code = 1
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os.write(2, f"{_MARK}{touched}".encode())
        os._exit(code)


def _kill(after: float) -> None:
    """Now, or a little later, whatever the process is doing then."""
    if after:
        threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for module in sys.argv[1:]:
        importlib.import_module(module)
    _serve()
