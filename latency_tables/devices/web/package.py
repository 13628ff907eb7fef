"""ONNX Runtime Web: an unpacked npm package here, or the same files of a pinned version from a CDN."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from latency_tables.errors import TableError

Backend = Literal["wasm", "webgpu"]
BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
CDN: Final = "https://cdn.jsdelivr.net"
CDN_VERSION: Final = "1.30.0"

# The module, the loader of its WebAssembly, and the WebAssembly.
_FILES: Final[Mapping[Backend, tuple[str, str, str]]] = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": (
        "ort.webgpu.min.mjs",
        "ort-wasm-simd-threaded.asyncify.mjs",
        "ort-wasm-simd-threaded.asyncify.wasm",
    ),
}
_CDN_SHA384: Final[Mapping[str, str]] = {
    "ort.wasm.min.mjs": "SfFfy/pvthiOsgaw3KX0bV5TfQ6Iq+oY9KutMe4SxIuHH4cl+DCSD4rTsYOoG1tJ",
    "ort-wasm-simd-threaded.mjs": "XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
    "ort-wasm-simd-threaded.wasm": "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    "ort.webgpu.min.mjs": "FPQBMbud8ICuP0Ii+Gr95KWEX9pKHtUC3lacIp0aPI8WYluKvTsEGQ3AE2Ze3QlL",
    "ort-wasm-simd-threaded.asyncify.mjs": "qViEcCGzsR/m8nlQwIsbYh7afN4thuraqFYDQY6huvmoLVoZq/eYawQ1wrv8nnhA",
    "ort-wasm-simd-threaded.asyncify.wasm": "EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR",
}


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """A file of ONNX Runtime Web as the page loads it: its address (relative to the page, or the CDN's), what its
    bytes must hash to (as in HTML's `integrity`), and where it is on this machine (None: only on the CDN)."""

    name: str
    address: str
    integrity: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class WebRuntime:
    """One version of ONNX Runtime Web, with the files of one back end: module, loader and WebAssembly, in order."""

    version: str
    backend: Backend
    files: tuple[RuntimeFile, RuntimeFile, RuntimeFile]

    @property
    def from_cdn(self) -> bool:
        """Whether the page loads it from somebody else's server."""
        return self.files[0].path is None


def runtime_from_cdn(backend: Backend) -> WebRuntime:
    """The version that this program is tested with, from a public CDN; the page refuses anything but its bytes."""
    module, loader, wasm = (
        RuntimeFile(name, f"{CDN}/npm/onnxruntime-web@{CDN_VERSION}/dist/{name}", f"sha384-{_CDN_SHA384[name]}", None)
        for name in _FILES[backend]
    )
    return WebRuntime(CDN_VERSION, backend, (module, loader, wasm))


def runtime_in(folder: Path, backend: Backend) -> WebRuntime:
    """The unpacked npm package `onnxruntime-web` in `folder`. TableError where it is none, or lacks a file."""
    try:
        document = json.loads((folder / "package.json").read_bytes())
        name, version = document["name"], document["version"]
    except (OSError, ValueError, KeyError, TypeError):
        name = version = None
    if name != "onnxruntime-web" or not isinstance(version, str):
        raise TableError(
            f"{folder} is no unpacked npm package onnxruntime-web; `npm install onnxruntime-web@{CDN_VERSION}` makes "
            "one in node_modules/onnxruntime-web"
        )
    module, loader, wasm = (_local(folder / "dist" / file, version) for file in _FILES[backend])
    return WebRuntime(version, backend, (module, loader, wasm))


def _local(path: Path, version: str) -> RuntimeFile:
    try:
        digest = base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()
    except OSError:
        raise TableError(f"onnxruntime-web {version} has no {path}; {CDN_VERSION} is known to have it") from None
    return RuntimeFile(path.name, f"ort/{path.name}", f"sha384-{digest}", path)
