"""Runs a script on a machine with a device called `other`: run.py DEVICE.so main.py …."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

torch.ops.load_library(sys.argv[1])
torch.utils.rename_privateuse1_backend("other")
functions: Any = SimpleNamespace(
    is_available=lambda: True,
    is_initialized=lambda: True,
    _is_in_bad_fork=lambda: False,
    device_count=lambda: 1,
    manual_seed_all=lambda seed: None,
    get_rng_state=lambda device=0: torch.zeros(1),
    set_rng_state=lambda state, device=0: None,
)
torch._register_device_module("other", functions)
torch.utils.generate_methods_for_privateuse1_backend()

from pytorch_lightning.accelerators import Accelerator, AcceleratorRegistry  # noqa: E402
from pytorch_lightning.strategies import SingleDeviceStrategy, StrategyRegistry  # noqa: E402


class Other(Accelerator):
    """The device, as Lightning sees it."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing is to do."""

    def teardown(self) -> None:
        """Nothing is to do."""

    @staticmethod
    def parse_devices(devices: Any) -> int:
        """There is one."""
        return 1

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        """There is one."""
        return [torch.device("other", 0)]

    @staticmethod
    def auto_device_count() -> int:
        """There is one."""
        return 1

    @staticmethod
    def is_available() -> bool:
        """It always is."""
        return True

    @staticmethod
    def name() -> str:
        """Its name."""
        return "other"


AcceleratorRegistry.register("other", Other)
StrategyRegistry.register("other", SingleDeviceStrategy, device="other:0")
sys.argv[:2] = []
sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
runpy.run_path(sys.argv[0], run_name="__main__")
