"""The reference's command line: ``rewardanything serve``.

It starts the program ``dicast``, which reads the reference's ``config.json`` unchanged, and has far more settings:
``dicast serve --help``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import List, Optional, Sequence

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Runs the command line; with ``serve`` it becomes the server and does not return."""
    parser = argparse.ArgumentParser(
        prog="rewardanything", description="Serves judges over HTTP, with the interface of the reference system."
    )
    commands = parser.add_subparsers(dest="command")
    serve = commands.add_parser("serve", help="start the server")
    serve.add_argument(
        "-c", "--config", required=True, help="a configuration of Dicast, or config.json of the reference"
    )
    serve.add_argument("--port", type=int, default=8000, help="port to listen on [8000]")
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any but a loopback address needs --keys FILE [127.0.0.1]",
    )
    serve.add_argument("--base-output-path", help="the folder for jobs.db, the file that holds the jobs")
    arguments, further = parser.parse_known_args(argv)
    if arguments.command != "serve":
        if further:
            parser.error(f"unrecognized arguments: {' '.join(further)}")
        parser.print_help()
        return 0
    program = _program()
    if program is None:
        print(
            "rewardanything: the program `dicast` is neither beside this Python nor on the PATH. "
            "Install it with `cargo install dicast`, or from a checkout with `make install`.",
            file=sys.stderr,
        )
        return 2
    command = [program, "serve", "--config", arguments.config, "--port", str(arguments.port), "--host", arguments.host]
    if arguments.base_output_path is not None:
        folder = Path(arguments.base_output_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"rewardanything: --base-output-path: {error}", file=sys.stderr)
            return 2
        command += ["--jobs", str(folder / "jobs.db")]
    return _become(command + further)


def _program() -> Optional[str]:
    """The program ``dicast``: beside the interpreter, where a wheel puts it, or on the PATH."""
    beside = Path(sys.prefix) / "bin" / "dicast"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("dicast")


def _become(command: List[str]) -> int:
    """Replaces this process, so that signals and the exit code are the server's."""
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"rewardanything: {command[0]}: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
