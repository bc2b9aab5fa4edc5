"""Roots of Debian, made from its packages, and files that are installed in them."""

from __future__ import annotations

import os
import pathlib
import shutil

from common import MODEL, PROGRAM, TARGET, Missing, run, tool

RELEASE = "bookworm"


def archive(name: str, *packages: str) -> pathlib.Path:
    """A root as an archive; made once."""
    if os.geteuid() != 0:
        raise Missing("only root can make a root of Debian")
    made = TARGET / "deploy" / f"{name}.tar"
    if not made.exists():
        mmdebstrap = tool("mmdebstrap")
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(".part.tar")
        include = [f"--include={','.join(packages)}"] if packages else []
        done = run(mmdebstrap, "--quiet", "--variant=minbase", *include, RELEASE, part, check=False)
        if done.returncode != 0:
            raise Missing(f"mmdebstrap cannot make a root of Debian:\n{done.stdout[-500:]}")
        part.rename(made)
    return made


def unpacked(name: str, place: pathlib.Path, *packages: str) -> pathlib.Path:
    root = place / "root"
    root.mkdir()
    run("tar", "-xf", archive(name, *packages), "-C", root)
    return root


def install(root: pathlib.Path) -> None:
    """The program with its man page, and the demonstration judge."""
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM} is not built (make build)")
    put(root, "usr/local/bin/dicast", PROGRAM, 0o755)
    page = root / "usr/local/share/man/man1/dicast.1"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(run(PROGRAM, "man").stdout)
    put(root, "usr/local/share/dicast/demo.gguf", MODEL, 0o644)


def put(root: pathlib.Path, path: str, source: pathlib.Path, mode: int) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
