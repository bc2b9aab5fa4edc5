"""deploy/Containerfile, built by a real builder from roots of Debian, and what its image runs.

The builder stage compiles everything, llama.cpp included, which takes ten minutes on two cores. So it runs only if
DICAST_IMAGE_BUILD=1, with the crates and the objects of ccache that this machine has; otherwise its last step is left
out and the program that was built here is put in its place.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
from typing import List

from common import DEPLOY, MODEL, PROGRAM, ROOT, Missing, call, folder, free_port, request, run, tool, until
from debian import archive

#: vfs copies whole images.
DRIVER = "overlay" if "\toverlay\n" in pathlib.Path("/proc/filesystems").read_text() else "vfs"

#: The certificates that this machine trusts, for the builder to fetch crates with.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class Builder:
    """buildah with a storage of its own, which ends with the folder."""

    def __init__(self, place: pathlib.Path) -> None:
        self.buildah = tool("buildah")
        self.stores = ["--root", str(place / "images"), "--runroot", str(place / "run"), "--storage-driver", DRIVER]

    def __call__(self, *command: object, check: bool = True) -> str:
        return run(self.buildah, *self.stores, *command, check=check).stdout

    def base(self, name: str, root: pathlib.Path, *settings: str) -> None:
        """An image that is this root, by the name that the Containerfile asks for."""
        container = self("from", "scratch").strip().splitlines()[-1]
        self("add", "--quiet", container, root, "/")
        if settings:
            self("config", *settings, container)
        self("commit", "--quiet", container, name)
        self("rm", container)


def stages() -> List[str]:
    names: List[str] = re.findall(r"^FROM (\S+)", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    return names


def without_compiling(text: str) -> str:
    """The Containerfile with the program that was built here instead of the step that compiles it."""
    step = "RUN cargo build --release --locked\n"
    assert step in text
    return text.replace(step, "RUN mkdir -p target/release && cp .program target/release/dicast\n")


def check() -> str:
    if os.geteuid() != 0:
        raise Missing("only root can build an image here")
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM} is not built (make build)")
    whole = bool(os.environ.get("DICAST_IMAGE_BUILD"))
    with folder() as place:
        builder = Builder(place)
        build, final = stages()
        settings = ["--isolation", "chroot", "--network", "host", "--pull-never"]
        builder.base(final, archive("slim"))
        if whole:
            # The image of Rust has a compiler for C++ and what goes with it.
            builder.base(build, archive("rust", "build-essential", "ca-certificates", "ccache", "git", "pkg-config"))
            settings += add_rust(builder, build)
        else:
            builder.base(build, archive("slim"))
        context = place / "context"
        ignored = (ROOT / ".dockerignore").read_text().split()
        assert {"target", ".git"} <= set(ignored), "builds and history are not sent to the builder"
        shutil.copytree(ROOT, context, symlinks=True, ignore=shutil.ignore_patterns("target", ".git"))
        recipe = (DEPLOY / "Containerfile").read_text()
        if not whole:
            recipe = without_compiling(recipe)
            shutil.copyfile(PROGRAM, context / ".program")
            (context / ".program").chmod(0o755)
        (place / "Containerfile").write_text(recipe)
        settings += ["-f", f"{place}/Containerfile", "-t", "dicast"]
        began = time.monotonic()
        builder("build", *settings, context)
        how = f"built whole in {time.monotonic() - began:.0f} s" if whole else "the program was built outside"
        try:
            return f"{tried(builder, place)}; {how}"
        finally:
            # The folder cannot be deleted while something is mounted in it.
            mounted = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
            for point in reversed([point for point in mounted if point.startswith(str(place))]):
                run("umount", "--lazy", point)


def add_rust(builder: Builder, name: str) -> List[str]:
    """Puts the Rust of this machine into an image, by the paths that it has here; gives the folders to share."""
    home = pathlib.Path.home()
    cargo = pathlib.Path(os.environ.get("CARGO_HOME") or home / ".cargo")
    rustup = pathlib.Path(os.environ.get("RUSTUP_HOME") or home / ".rustup")
    if not (cargo / "bin").exists() or not rustup.exists():
        raise Missing("there is no Rust of rustup to put in the image")
    container = builder("from", "--pull-never", name).strip().splitlines()[-1]
    builder("add", "--quiet", container, cargo / "bin", cargo / "bin")
    objects = home / ".cache/ccache"
    objects.mkdir(parents=True, exist_ok=True)
    variables = {
        "PATH": f"{cargo}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CARGO_HOME": cargo,
        "RUSTUP_HOME": rustup,
        "CARGO_HTTP_CAINFO": f"{AUTHORITIES}.host",
        "CCACHE_DIR": objects,
        "CMAKE_C_COMPILER_LAUNCHER": "ccache",
        "CMAKE_CXX_COMPILER_LAUNCHER": "ccache",
    }
    for variable, value in variables.items():
        builder("config", "--env", f"{variable}={value}", container)
    builder("commit", "--quiet", container, name)
    builder("rm", container)
    shared = [f"{AUTHORITIES}:{AUTHORITIES}.host:ro", f"{rustup}:{rustup}:ro", f"{objects}:{objects}"]
    shared.append(f"{cargo}/registry:{cargo}/registry")
    return [part for one in shared for part in ("--volume", one)]


def tried(builder: Builder, place: pathlib.Path) -> str:
    """The image's own entrypoint, as its own user, with the arguments of the Containerfile."""
    about = json.loads(builder("inspect", "--type", "image", "dicast"))["OCIv1"]["config"]
    user, entry, arguments = about["User"], about["Entrypoint"], about["Cmd"]
    assert user == "10001", about
    container = builder("from", "--pull-never", "dicast").strip().splitlines()[-1]
    root = pathlib.Path(builder("mount", container).strip().splitlines()[-1])
    (root / "models").mkdir()
    shutil.copyfile(MODEL, root / "models/judge.gguf")
    (root / "run/keys").write_text("team:sesame-open\n")
    port = free_port()
    command = [str(port) if part == "8001" else part for part in [*entry, *arguments]]
    # As the image's user, without any right, in a root of its own.
    setpriv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    setpriv += ["--bounding-set=-all", "--inh-caps=-all"]
    environment = dict(pair.split("=", 1) for pair in about["Env"])
    inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    whole = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside, str(root), *setpriv, *command]
    log = place / "image.log"
    with log.open("wb") as output:
        child = subprocess.Popen(whole, stdout=output, stderr=output, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        key = {"authorization": "Bearer sesame-open"}

        def ready() -> bool:
            assert child.poll() is None, log.read_text(errors="replace")[-2000:]
            try:
                return call(f"{url}/ready").status == 200
            except OSError:
                return False

        until("the image's server is ready", ready, 60)
        assert call(f"{url}/v1/judge", request()).status == 401
        asked = request(options={"max_reasoning_tokens": 32})
        assert set(call(f"{url}/v1/judge", asked, key).good()["scores"]) == {"r0", "r1"}
        job = call(f"{url}/v1/jobs", json.dumps(request()).encode(), {**key, "content-type": "application/x-ndjson"})
        assert job.status == 201, job.body
        files = sorted(path.name for path in (root / "var/lib/dicast").iterdir())
        assert f"jobs-{port}.db" in files, files
        owner = {path.stat().st_uid for path in (root / "var/lib/dicast").iterdir()}
        assert owner == {int(user)}, owner
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) >> 20
        missing = run("chroot", root, "ldd", "/usr/local/bin/dicast").stdout
        assert "not found" not in missing, missing
    finally:
        child.terminate()
        try:
            child.wait(40)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    first = json.loads(log.read_text(errors="replace").splitlines()[0])
    return (
        f"image: {' '.join(entry)} as user {user}, {size} MiB with the model; the log is JSON ({first['message'][:40]})"
    )
