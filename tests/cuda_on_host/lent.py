"""Arrays that lie on the stand-in for a GPU: made there, brought home, and lent by other
libraries."""

from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np

from tests.cuda_on_host import stand_in
from tests.cuda_on_host.stand_in_streams import EXTERNAL


def there(array, number=0):
    """A copy on a device."""
    if array is None:
        return None
    with stand_in.Device(number):
        return stand_in.asarray(np.ascontiguousarray(array))


def home(result):
    """A result with NumPy's arrays; every array of it lay on the device."""
    arrays = {
        name: getattr(result, name) for name in ("w", "intercept", "loss", "epochs", "n_used", "lr", "excess_loss", "center", "scale")
    }
    if np.shape(result.loss):
        arrays["status"] = result.status
    assert all(isinstance(array, stand_in.ndarray) for array in arrays.values() if array is not None), arrays
    moved = {name: array.get() for name, array in arrays.items() if array is not None}
    state = dataclasses.replace(result.state, **{name: array.get() for name in STATE if (array := getattr(result.state, name)) is not None})
    history = result.history
    if history is not None:
        history = dataclasses.replace(history, **{name: array.get() for name in ("w", "loss", "intercept")
                                                  if (array := getattr(history, name)) is not None})  # fmt: skip
    return dataclasses.replace(result, **moved, state=state, history=history)


STATE = ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess", "center", "scale")


class Tensor:
    """A torch tensor on a GPU, as far as it is asked: it lends its memory by DLPack, on the stream
    that it is told."""

    def __init__(self, array, dtype=None):
        self._array = array
        self.dtype, self.device = dtype, types.SimpleNamespace(type="cuda", index=array.device.id)
        self.requires_grad = True

    def detach(self):
        return self

    resolve_neg = resolve_conj = detach

    def __dlpack__(self, *, stream):
        with EXTERNAL[sys.modules["torch"].cuda.current_stream(self.device.index).cuda_stream]:
            return self._array.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


Tensor.__module__ = "torch"


class Lender:
    """An array of a library of which only the CUDA array interface is known."""

    def __init__(self, array):
        self._array = array

    @property
    def __cuda_array_interface__(self):
        return self._array.__cuda_array_interface__
