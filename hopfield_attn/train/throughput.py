"""How fast a run is: steps, tokens and model FLOP a second, and the share of the devices' peak."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from hopfield_attn.checks import check_at_least
from hopfield_attn.train.flops import step_flops

PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
}
"""``device_kind`` of JAX → bfloat16 FLOP/s of one device, dense.

TPU: "peak compute per chip (bf16)" in Google Cloud's pages of the TPU versions; from v4 on a chip
is a device. NVIDIA: "BFLOAT16 Tensor Core" in the data sheets of A100, H100 and H200; those of H100
and H200 print twice as much, for sparse matrices. Names that are not here, parts of a GPU among
them, have no peak: ``train.peak_flops`` gives one."""


def check_peak_flops(setting: float) -> None:
    """Raises ``ValueError`` for a ``train.peak_flops`` below 0."""
    named: dict[str, Any] = {"train.peak_flops": setting}
    check_at_least(0, **named)


def peak_flops(device_kind: str, *, setting: float) -> float | None:
    """Peak of one device in FLOP/s; ``None`` where it is not known.

    Args:
      device_kind: as JAX names it.
      setting: ``train.peak_flops``; 0 looks the name up.

    Raises:
      ValueError: if the setting is negative.

    Example:
      >>> peak_flops("NVIDIA H100 80GB HBM3", setting=0.0), peak_flops("cpu", setting=0.0)
      (989000000000000.0, None)
      >>> peak_flops("cpu", setting=1e11)
      100000000000.0
    """
    check_peak_flops(setting)
    return setting or PEAK_FLOPS.get(device_kind)


def peak_of_all_devices(*, setting: float) -> float | None:
    """Peak of all devices of all processes together, taken to be of one kind."""
    peak = peak_flops(jax.devices()[0].device_kind, setting=setting)
    return None if peak is None else peak * jax.device_count()


class StepWork(NamedTuple):
    """What a training step does.

    Attributes:
      num_tokens: of its batch, padding included.
      model_flops: operations as :mod:`hopfield_attn.train.flops` counts them.
    """

    num_tokens: int
    model_flops: int


def work_counter(config: Any) -> Callable[[Mapping[str, np.ndarray]], StepWork]:
    """Returns batch → the work of a step on it; examples may have several sequences each."""

    @functools.cache
    def work(num_examples: int, *shape: int) -> StepWork:
        num_sequences, length = math.prod(shape[:-1]), shape[-1]
        flops = step_flops(config, length=length, num_sequences=num_sequences)
        return StepWork(num_examples * num_sequences * length, flops)

    return lambda batch: work(*batch["mask"].shape)


class Throughput:
    """Rates over stretches of steps; the clock begins after the first step, which compiles."""

    def __init__(self, *, peak: float | None = None):
        """Counts nothing yet.

        Args:
          peak: FLOP/s of all devices, for the utilisation; ``None`` leaves it out.
        """
        self._peak = peak
        self._since: float | None = None
        self._num_steps = self._num_tokens = self._flops = 0
        self._names: tuple[str, ...] = ("tokens_per_second",)
        self._stretches: list[tuple[float, ...]] = []

    @property
    def is_started(self) -> bool:
        """Whether the clock runs."""
        return self._since is not None

    def start(self) -> None:
        """Starts the clock anew, with nothing done."""
        self._since = time.perf_counter()
        self._num_steps = self._num_tokens = self._flops = 0

    def add(self, work: StepWork) -> None:
        """Counts a step."""
        self._num_steps += 1
        self._num_tokens += work.num_tokens
        self._flops += work.model_flops

    def take(self) -> dict[str, float]:
        """The rates since the clock was started, which starts anew; 0 before any step was timed.

        Returns:
          ``steps_per_second``, ``tokens_per_second``, ``model_flops_per_second``, and with a peak
          ``mfu``, model FLOP/s over the peak.
        """
        assert self._since is not None
        seconds = time.perf_counter() - self._since
        rates = self._rates(seconds if seconds > 0 else math.inf)
        if self._num_steps:
            self._names = tuple(rates)
            self._stretches.append(tuple(rates.values()))
        self.start()
        return rates

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of what happens inside."""
        began = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - began

    @property
    def typical(self) -> dict[str, float | None]:
        """Medians over the stretches; before the second one ``tokens_per_second`` is ``None``."""
        if not self._stretches:
            return dict.fromkeys(self._names)
        medians = np.median(self._stretches, axis=0)
        return {name: _rounded(value) for name, value in zip(self._names, medians, strict=True)}

    def _rates(self, seconds: float) -> dict[str, float]:
        flops = self._flops / seconds
        rates = {
            "steps_per_second": self._num_steps / seconds,
            "tokens_per_second": self._num_tokens / seconds,
            "model_flops_per_second": flops,
        }
        rates |= {} if self._peak is None else {"mfu": flops / self._peak}
        return {name: _rounded(value) for name, value in rates.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
