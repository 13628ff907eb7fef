"""The few calls of the CUDA driver that running an engine needs: no package but the driver itself."""

import ctypes
from types import TracebackType
from typing import Any

from exporters.errors import CannotRun
from exporters.request import Array


class Cuda:
    """The first GPU's primary context; CannotRun without a driver or a GPU."""

    def __init__(self) -> None:
        try:
            self._driver: Any = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CannotRun("there is no NVIDIA GPU here (libcuda.so.1 cannot be loaded)") from error
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._stream = ctypes.c_void_p()

    def __enter__(self) -> "Cuda":
        self._check(self._driver.cuInit(0), "cuInit")
        self._check(self._driver.cuDeviceGet(ctypes.byref(self._device), 0), "cuDeviceGet")
        retained = self._driver.cuDevicePrimaryCtxRetain(ctypes.byref(self._context), self._device)
        self._check(retained, "cuDevicePrimaryCtxRetain")
        self._check(self._driver.cuCtxSetCurrent(self._context), "cuCtxSetCurrent")
        self._check(self._driver.cuStreamCreate(ctypes.byref(self._stream), 0), "cuStreamCreate")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.cuStreamDestroy_v2(self._stream)
        self._driver.cuDevicePrimaryCtxRelease_v2(self._device)

    def execute(self, context: Any, names: list[str], given: Array, result: Array) -> None:
        """Run a TensorRT execution context on contiguous host arrays in the shapes of its tensors, copies included."""
        addresses = [self._allocate(array.nbytes) for array in (given, result)]
        try:
            for name, address in zip(names, addresses, strict=True):
                context.set_tensor_address(name, address.value)
            size = ctypes.c_size_t(given.nbytes)
            self._check(
                self._driver.cuMemcpyHtoD_v2(addresses[0], ctypes.c_void_p(given.ctypes.data), size),
                "copy in",
            )
            if not context.execute_async_v3(self._stream.value):
                raise CannotRun("TensorRT could not enqueue the engine")
            self._check(self._driver.cuStreamSynchronize(self._stream), "run")
            size = ctypes.c_size_t(result.nbytes)
            copied = self._driver.cuMemcpyDtoH_v2(ctypes.c_void_p(result.ctypes.data), addresses[1], size)
            self._check(copied, "copy out")
        finally:
            for address in addresses:
                self._driver.cuMemFree_v2(address)

    def _allocate(self, size: int) -> ctypes.c_uint64:
        address = ctypes.c_uint64()
        self._check(self._driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)), "allocation")
        return address

    def _check(self, code: int, what: str) -> None:
        if code != 0:
            raise CannotRun(f"the CUDA driver refused: {what} returned error {code}")
