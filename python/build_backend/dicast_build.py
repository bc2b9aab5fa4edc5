"""The build backend: maturin, with the C header in the place where maturin looks for one.

maturin makes the cffi declarations of `header.h` in cargo's target folder, or, where there is none, runs a cbindgen of
its own over the crate. The first is given here, from `include/dicast.h`: what Python calls is then declared by the very
header that C programs get.
"""

import gzip
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
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
            # A C compiler takes no such branch of the header; the include guard is an #ifndef.
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


def version() -> str:
    """The version of the crate, which is that of the package."""
    with open(ROOT / "Cargo.toml", encoding="utf-8") as file:
        found = re.search(r'^version = "([^"]+)"$', file.read(), re.MULTILINE)
    if found is None:
        sys.exit("Cargo.toml names no version")
    return found.group(1)


def sources() -> List[str]:
    """What a source distribution holds: the files of the crate as cargo would publish them, and so this package."""
    command = [os.environ.get("CARGO", "cargo"), "package", "--list", "--allow-dirty", "--quiet"]
    command += ["--manifest-path", str(ROOT / "Cargo.toml")]
    listed = subprocess.check_output(command, text=True).splitlines()
    built = ("python/dicast/_native/", "target/")
    # Cargo also lists files that it generates, such as the one about git: they do not exist here and are not needed.
    return [name for name in listed if (ROOT / name).is_file() and not name.startswith(built)]


def at_the_root(pyproject: str) -> str:
    """The pyproject.toml of a source distribution: at its root, where builders look for it, with paths from there."""
    changes = {
        'readme = "README.md"': 'readme = "python/README.md"',
        'backend-path = ["build_backend"]': 'backend-path = ["python/build_backend"]',
        'manifest-path = "../Cargo.toml"': 'manifest-path = "Cargo.toml"',
        'python-source = "."': 'python-source = "python"',
    }
    for old, new in changes.items():
        if pyproject.count(old) != 1:
            sys.exit(f"pyproject.toml has not one line {old}")
        pyproject = pyproject.replace(old, new)
    return pyproject


def metadata() -> str:
    """The PKG-INFO of a source distribution."""
    text = (ROOT / "python" / "pyproject.toml").read_text(encoding="utf-8")
    said = {}
    for name, pattern in (
        ("Summary", "description"),
        ("Requires-Python", "requires-python"),
        ("License-Expression", "license"),
    ):
        found = re.search(rf'^{pattern} = "([^"]+)"$', text, re.MULTILINE)
        if found is None:
            sys.exit(f"pyproject.toml has no {pattern}")
        said[name] = found.group(1)
    lines = ["Metadata-Version: 2.4", "Name: dicast", f"Version: {version()}"]
    lines += [f"{name}: {value}" for name, value in said.items()]
    # Values that depend on the place of the build are not fixed here.
    lines += ["Dynamic: Requires-Dist", "Dynamic: Provides-Extra", "Description-Content-Type: text/markdown"]
    return "\n".join(lines) + "\n\n" + (ROOT / "python" / "README.md").read_text(encoding="utf-8")


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Packs the sources, the same bytes for the same tree."""
    name = f"dicast-{version()}"
    pyproject = (ROOT / "python" / "pyproject.toml").read_text(encoding="utf-8")
    # In a source distribution that is built again, it is already at the root.
    root = pyproject if (ROOT / "PKG-INFO").exists() else at_the_root(pyproject)
    made = {"pyproject.toml": root.encode(), "PKG-INFO": metadata().encode()}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted({*sources(), *made}):
            data = made[path] if path in made else (ROOT / path).read_bytes()
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(data)
            entry.mode = 0o755 if (ROOT / path).is_file() and os.access(ROOT / path, os.X_OK) else 0o644
            archive.addfile(entry, io.BytesIO(data))
    target = pathlib.Path(sdist_directory) / f"{name}.tar.gz"
    with open(target, "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(raw.getvalue())
    return target.name
