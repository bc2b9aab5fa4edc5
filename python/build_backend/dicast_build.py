"""The build backend: maturin, with the C header in the place where maturin looks for one.

maturin makes the cffi declarations of `header.h` in cargo's target folder, or, where there is none, runs a cbindgen of
its own over the crate. The first is given here, from `include/dicast.h`: what Python calls is then declared by the very
header that C programs get.
"""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any, List

import cffi
import maturin
from maturin import get_requires_for_build_editable, get_requires_for_build_wheel  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]


def declarations(header: str) -> str:
    """What of a C header cffi reads: no directives but constants that are whole numbers, nothing that is C++ alone."""
    kept: List[str] = []
    hidden: List[bool] = []
    for line in header.splitlines():
        words = line.split(None, 2)
        directive = words[0] if words and words[0].startswith("#") else ""
        if directive in ("#if", "#ifdef"):
            # The C header has none that a C compiler takes, but the include guard, which is an #ifndef.
            hidden.append(True)
        elif directive == "#ifndef":
            hidden.append(False)
        elif directive == "#else":
            hidden[-1] = not hidden[-1]
        elif directive == "#endif":
            hidden.pop()
        elif any(hidden) or directive not in ("", "#define"):
            continue
        elif directive == "#define":
            if len(words) == 3 and words[2].lstrip("-").isdigit():
                kept.append(line)
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"


def target_directory() -> pathlib.Path:
    """Cargo's target folder."""
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--no-deps"]
    command += ["--manifest-path", str(ROOT / "Cargo.toml")]
    return pathlib.Path(json.loads(subprocess.check_output(command))["target_directory"])


def write_header() -> None:
    """Puts the declarations where maturin looks for them."""
    text = declarations((ROOT / "include" / "dicast.h").read_text(encoding="utf-8"))
    cffi.FFI().cdef(text)  # An error of the header is reported here, by name and line.
    target = target_directory()
    target.mkdir(parents=True, exist_ok=True)
    (target / "header.h").write_text(text, encoding="utf-8")


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    write_header()
    return str(maturin.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    write_header()
    return str(maturin.build_editable(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    sys.exit("dicast is built from its repository: there is no source distribution")
