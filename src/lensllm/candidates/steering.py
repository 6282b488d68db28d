"""Keys of a model's settings that would steer what is loaded, and settings without them."""

from __future__ import annotations

from typing import Any

from lensllm.candidates.files import walk

STEERING = (
    "auto_map",
    "custom_pipelines",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_attn_implementation_autoset",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "kernel_config",
    "use_kernels",
    "fusion_config",
    "distributed_config",
    "transformers_weights",
    "quantization_config",
    "name_or_path",
    "_name_or_path",
    "fast_tokenizer_files",
)
"""Keys by which a folder could name code, kernels or files to be used instead of what we chose."""


def without_steering(found: dict[str, Any]) -> dict[str, Any]:
    """The same object, changed in place: nothing of `STEERING` at any depth, no path among the top settings."""

    def clean(one: dict[str, Any]) -> None:
        for key in STEERING:
            one.pop(key, None)

    walk(found, clean)
    for key in [key for key in found if key.endswith("_file")]:
        del found[key]
    return found
