"""Models by their names on the Hugging Face hub, fetched by `huggingface_hub` into its own cache."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, List, Optional, Tuple

from .errors import ModelNotFoundError, NetworkError, UnsupportedError

__all__ = ["choose", "fetch", "is_reference"]

_REFERENCE = re.compile(
    r"(?:hf:)?(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[^:]+))?(?::(?P<selector>.+))?", re.ASCII
)
_PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf")

#: Tried in this order if no file is named: close to the full weights, then the usual small one.
_PREFERRED = ("Q8_0", "Q4_K_M")


def is_reference(name: str) -> bool:
    """Whether a name has the form ``[hf:]owner/repo[@revision][:file or quantization]``."""
    return _REFERENCE.fullmatch(name) is not None


def fetch(
    name: str, *, revision: Optional[str] = None, cache_dir: Optional[str] = None, token: Optional[Any] = None
) -> str:
    """Fetches a model with all its parts, and the profile beside it. Returns the path of its first part.

    Without a network, files in the cache are used.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise UnsupportedError(
            f"{name} is no file here; to fetch models from the Hugging Face hub: pip install 'dicast[hub]'"
        ) from None
    match = _REFERENCE.fullmatch(name)
    assert match is not None, name
    repo, selector = match["repo"], match["selector"]
    where = {"revision": match["revision"] or revision, "cache_dir": cache_dir, "token": token}
    # If the hub cannot be reached, the errors are those of the HTTP library that its client uses, which changes between
    # releases.
    try:
        info = huggingface_hub.HfApi().model_info(repo, revision=where["revision"], timeout=30.0, token=token)
        files = [file.rfilename for file in info.siblings or ()]
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFoundError(f"{name}: {error}") from error
    except Exception:
        files = _cached(huggingface_hub, repo, where)
    parts = choose(files, selector, repo)
    profile = _profile(files, parts[0])
    try:
        paths = [str(huggingface_hub.hf_hub_download(repo, file, **where)) for file in parts + profile]
    except Exception as error:
        raise NetworkError(f"{name}: {error}") from error
    return paths[0]


def _cached(hub: Any, repo: str, where: Any) -> List[str]:
    """The files of a repository that are in the cache."""
    try:
        root = Path(hub.snapshot_download(repo, local_files_only=True, **where))
    except Exception as error:
        raise NetworkError(f"{repo}: the hub cannot be reached, and the repository is not in the cache") from error
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def choose(files: List[str], selector: Optional[str], repo: str) -> List[str]:
    """The parts of the model that `selector` names, or of the preferred one, the first part first."""
    models = sorted(file for file in files if _is_model(file))
    if not models:
        raise ModelNotFoundError(
            f"{repo} has no .gguf model; Dicast runs GGUF files (llama.cpp converts other formats)"
        )
    if selector in models:
        return _parts(files, str(selector))
    for quantization in (selector,) if selector else ("", *_PREFERRED):
        fitting = [model for model in models if _is_quantized(model, quantization)]
        if len(fitting) == 1:
            return _parts(files, fitting[0])
    raise ModelNotFoundError(f"{repo}: name one model after a colon: {', '.join(models)}")


def _is_model(file: str) -> bool:
    part = _PART.fullmatch(file)
    beside = any(word in file.lower() for word in ("mmproj", "imatrix"))
    return file.endswith(".gguf") and not beside and (part is None or int(part["part"]) == 1)


def _is_quantized(model: str, quantization: Optional[str]) -> bool:
    """Whether a name holds a quantization as a word, in upper or lower case. With None, every name matches."""
    pattern = rf"(?<![0-9A-Z_]){re.escape((quantization or '').upper())}(?![0-9A-Z_])"
    return not quantization or re.search(pattern, model.upper()) is not None


def _parts(files: List[str], first: str) -> List[str]:
    part = _PART.fullmatch(first)
    if part is None:
        return [first]
    found: List[Tuple[int, str]] = []
    for file in files:
        other = _PART.fullmatch(file)
        if other is not None and (other["stem"], other["count"]) == (part["stem"], part["count"]):
            found.append((int(other["part"]), file))
    if len(found) != int(part["count"]):
        raise ModelNotFoundError(f"{first} has {int(part['count'])} parts, but the repository has {len(found)}")
    return [file for _, file in sorted(found)]


def _profile(files: List[str], model: str) -> List[str]:
    """The profile of a model, by the names under which it is looked for beside the model."""
    place = PurePosixPath(model)
    names = (f"{place.stem}.profile.json", "dicast-profile.json")
    return [str(place.with_name(name)) for name in names if str(place.with_name(name)) in files][:1]
