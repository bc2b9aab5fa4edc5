"""The loading arguments of Transformers that `from_pretrained` takes."""

from __future__ import annotations

import difflib
import os
import warnings
from typing import Any, Dict, FrozenSet, Mapping, Optional

from ._library import lib, text_of
from .errors import InvalidConfigError, UnsupportedError

__all__ = ["Loading"]

#: Where on the hub a model is found.
_HUB = ("revision", "cache_dir", "token")

#: The other arguments, for a hint when a name is misspelt.
_KNOWN = (
    *("device", "device_map", "torch_dtype", "generation_config", "profile", "options", "verdict", "limits"),
    *("local", "trtllm", "remote", "progress"),
)

#: Arguments of Transformers that mean nothing for a GGUF file.
_WITHOUT_EFFECT: FrozenSet[str] = frozenset(
    (
        "attn_implementation",
        "code_revision",
        "config",
        "dtype",
        "experts_implementation",
        "force_download",
        "ignore_mismatched_sizes",
        "kernel_config",
        "key_mapping",
        "load_in_4bit",
        "load_in_8bit",
        "local_files_only",
        "low_cpu_mem_usage",
        "max_memory",
        "offload_buffers",
        "offload_folder",
        "offload_state_dict",
        "output_loading_info",
        "padding_side",
        "proxies",
        "quantization_config",
        "resume_download",
        "subfolder",
        "tp_plan",
        "tp_size",
        "use_auth_token",
        "use_cache",
        "use_fast",
        "use_flash_attention_2",
        "use_kernels",
        "use_safetensors",
        "variant",
        "weights_only",
    )
)

#: The build features for GPUs, by PyTorch's name of the device.
_GPUS = {"cuda": "cuda", "gpu": "cuda", "mps": "metal", "metal": "metal", "vulkan": "vulkan"}


class Loading:
    """What Transformers' arguments mean here."""

    def __init__(self, device: Any, torch_dtype: Any, further: Mapping[str, Any]) -> None:
        further = dict(further)
        self.hub: Dict[str, Any] = {name: further.pop(name) for name in _HUB if name in further}
        device_map = further.pop("device_map", None)
        self._device: Optional[str] = _device(device if device is not None else device_map)
        for name in further:
            if name not in _WITHOUT_EFFECT:
                near = difflib.get_close_matches(name, (*_KNOWN, *_HUB), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"from_pretrained() has no argument {name!r}{hint}")
        if torch_dtype not in (None, "auto"):
            warnings.warn(f"torch_dtype={torch_dtype!r} has no effect: a GGUF file has its own types", stacklevel=3)
        if further:
            warnings.warn(f"without effect on a GGUF model: {', '.join(sorted(further))}", stacklevel=3)

    def local(self, model: str, settings: Dict[str, Any]) -> Dict[str, Any]:
        """The settings of the embedded engine for `model`; raises if this build lacks the device."""
        elsewhere = model.startswith(("http://", "https://")) or os.path.isdir(model)
        if self._device == "cpu":
            settings.setdefault("gpu_layers", 0)
        elif self._device is not None and not elsewhere:
            feature = _GPUS[self._device]
            built = text_of(lib.dicast_features()).split(",")
            if feature not in built:
                raise UnsupportedError(
                    f"device={self._device!r}: this build of Dicast computes on "
                    f"{' and '.join(sorted(set(built) & set(_GPUS.values()))) or 'the CPU alone'}. Build it with "
                    f'MATURIN_PEP517_ARGS="--features {feature}" pip install ./python, or leave device out'
                )
        return settings


def _device(device: Any) -> Optional[str]:
    """The kind of device: `cpu`, a key of `_GPUS`, or None for any available one."""
    if device is None:
        return None
    if isinstance(device, Mapping):
        places = {str(place) for place in device.values()}
        if len(places) != 1:
            raise UnsupportedError(f"device_map={dict(device)!r}: a model is kept on one device")
        device = places.pop()
    if isinstance(device, int) and not isinstance(device, bool):
        device = f"cuda:{device}"
    kind, _, index = str(device).partition(":")
    if kind in ("auto", "balanced", "balanced_low_0", "sequential"):
        return None
    if kind != "cpu" and kind not in _GPUS:
        known = ", ".join(("auto", "cpu", *sorted(_GPUS)))
        raise InvalidConfigError(f"device is {device!r}: it must be one of {known}")
    if kind != "cpu" and index not in ("", "0"):
        raise UnsupportedError(f"device={str(device)!r}: set CUDA_VISIBLE_DEVICES={index} and take device='{kind}'")
    return kind
