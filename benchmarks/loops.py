"""What is measured against: loops written by hand, each in a process of its own.

python loops.py NAME
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MILLIONS, WORKERS = int(os.environ.get("MILLIONS", 100)), int(os.environ.get("WORKERS", 0))


def _train(
    net: nn.Module, data: Any, epochs: int, fused: bool | None = None, rank: int = 0
) -> None:
    inputs, targets = data.tensors
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused)
    seconds = []
    for epoch in range(epochs):
        begin = time.perf_counter()
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
        order = order.to(inputs.device)
        own = order[rank :: int(os.environ.get("WORLD_SIZE", 1))]
        for indices in own.split(int(os.environ.get("BATCH", 64))):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(inputs[indices]), targets[indices])
            loss.backward()
            optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    if rank == 0:
        print("SECONDS", *seconds, flush=True)


def _mlp() -> nn.Module:
    layers: list[nn.Module] = []
    for width, hidden in [(784, 64), (64, 128), (128, 64)]:
        layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def vectors(fused: bool | None = None) -> None:
    """A plain loop that indexes tensors in memory."""
    from benchmark import Vectors

    _train(_mlp(), Vectors(), epochs=4, fused=fused)


def vectors_fused() -> None:
    """The same, the optimizer in one kernel."""
    vectors(fused=True)


def vectors_on_device() -> None:
    """The same with data and network on a GPU."""
    from benchmark import Vectors

    _train(_mlp().to(DEVICE), _on_device(Vectors()), epochs=4, fused=True)


def _on_device(data: Any) -> Any:
    return torch.utils.data.TensorDataset(*[tensor.to(DEVICE) for tensor in data.tensors])


def photographs(size: int = 5120) -> None:
    """ResNet-50 as fast as PyTorch has it."""
    from benchmark import Photographs
    from torchvision.models import resnet50

    torch.set_float32_matmul_precision("high")
    net = resnet50().to(DEVICE, memory_format=torch.channels_last)
    net.compile()
    inputs, targets = _on_device(Photographs(size)).tensors
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.autocast(DEVICE, torch.bfloat16):
        _train(net, torch.utils.data.TensorDataset(inputs, targets), epochs=4, fused=True)


def pictures() -> None:
    """A plain loop with ResNet-18."""
    from benchmark import Pictures
    from torchvision.models import resnet18

    _train(resnet18(num_classes=10), Pictures(), epochs=5, fused=True)


def pictures_on_device(size: int = 19200) -> None:
    """The same with data and network on a GPU."""
    from benchmark import Pictures
    from torchvision.models import resnet18

    net = resnet18(num_classes=10).to(DEVICE)
    _train(net, _on_device(Pictures(size)), epochs=4, fused=True)


def bare() -> None:
    """This project's interfaces under Lightning alone: no callback, logger, checkpoint, bar."""
    import pytorch_lightning as pl
    from benchmark import Pictures, Timer

    from data import DInterface
    from model import MInterface

    model = MInterface("torchvision:resnet18", {"num_classes": 10})
    data = DInterface(Pictures, val_fraction=0, test_fraction=0, num_workers=0)
    quiet: Any = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    trainer = pl.Trainer(max_epochs=5, enable_checkpointing=False, callbacks=[Timer()], **quiet)
    trainer.fit(model, data)


def ddp() -> None:
    """PyTorch's own DistributedDataParallel, started by torchrun."""
    from benchmark import Pictures
    from torchvision.models import resnet18

    torch.distributed.init_process_group("gloo")
    net = nn.parallel.DistributedDataParallel(resnet18(num_classes=10))
    _train(net, Pictures(), epochs=5, fused=True, rank=torch.distributed.get_rank())
    torch.distributed.destroy_process_group()


def first_step() -> None:
    """The least that takes a step with Lightning."""
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)
            )

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

        def on_train_batch_end(self, *_: Any) -> None:
            os._exit(0)

    data = torch.utils.data.TensorDataset(torch.rand(1257, 1, 8, 8), torch.randint(10, (1257,)))
    loader = torch.utils.data.DataLoader(data, 64)
    pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False).fit(Module(), loader)


def decode() -> None:
    """JPEG files decoded one after the other by the fastest decoder, and nothing else."""
    import simplejpeg

    files = sorted(Path("jpegs/train").glob("*/*.jpg"))

    def work() -> None:
        for file in files:
            simplejpeg.decode_jpeg(file.read_bytes(), fastdct=True, fastupsample=True)

    _rate(len(files), work)


def _rate(count: int, work: Any) -> None:
    """Prints images per second, the best of several times."""
    torch.set_num_threads(1)
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    print("RATE", count / min(seconds), flush=True)


def loader_reference(num_workers: int = 2) -> None:
    """The recipe of torchvision: PIL, random crop and flip, tensor, normalised."""
    from torchvision import datasets
    from torchvision.transforms import v2

    steps = [v2.RandomCrop(224), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True)]
    steps += [v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    data = datasets.ImageFolder("jpegs/train", v2.Compose(steps))
    loader = torch.utils.data.DataLoader(
        data, 64, shuffle=True, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    _rate(len(data), lambda: [None for _ in loader])


def loader_ours(num_workers: int = 2, transform: bool = False) -> None:
    """This project's loader: batches of bytes, as they go to the device that trains."""
    from data import DInterface

    arguments = {"root": "jpegs", "min_scale": None}
    fractions: dict[str, Any] = {"val_fraction": 0, "test_fraction": 0}
    data = DInterface("image_folder", arguments, num_workers=num_workers, **fractions)
    loader, part = data.train_dataloader(), data.part("train")
    loader.dataset.finishes = False
    _rate(len(part), lambda: [transform and part.transform_batch(raw.batch) for raw in loader])


def loader_finished() -> None:
    """The same, and what that device does to them: it flips and normalises, here on the CPU."""
    loader_ours(transform=True)


def loader_alone() -> None:
    """The first in one process."""
    loader_ours(num_workers=0)


def memory(size: int = 130_000) -> None:
    """Memory of all processes while four workers load 400 MB that are held in memory."""
    from benchmark import Vectors

    from data import DInterface

    data = DInterface(Vectors(size), num_workers=4, val_fraction=0, test_fraction=0)
    processes, iterator = Path(f"/proc/{os.getpid()}/task"), iter(data.train_dataloader())
    for _ in range(size // 64 // 2):
        next(iterator)
    children = [c for task in processes.iterdir() for c in (task / "children").read_text().split()]
    kilobytes = 0
    for process in [str(os.getpid()), *children]:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    print("RATE", kilobytes / 1e6, flush=True)
    os._exit(0)


def memory_empty() -> None:
    """The same with next to no data."""
    memory(10_000)


def length() -> None:
    """Until the first batches of 100 million samples, of which a FRACTION each validates and tests.

    Prints the seconds and the gigabytes that this takes.
    """
    from benchmark import Long

    from data import DInterface

    fraction, before = float(os.environ.get("FRACTION", 0)), _most_memory()
    begin = time.perf_counter()
    parts: Any = {"val_fraction": fraction, "test_fraction": fraction}
    data = DInterface(Long(MILLIONS * 10**6), num_workers=WORKERS, **parts)
    data.setup()
    iterator = iter(data.train_dataloader())
    for _ in range(5):
        next(iterator)
    print("SECONDS", time.perf_counter() - begin)
    print("RATE", _most_memory() - before, flush=True)
    os._exit(0)


def length_least() -> None:
    """Two orders of as many."""
    before, begin = _most_memory(), time.perf_counter()
    orders = [torch.randperm(MILLIONS * 10**6) for _ in range(2)]
    print("SECONDS", time.perf_counter() - begin)
    print("RATE", _most_memory() - before, flush=True)
    del orders


def _most_memory() -> float:
    """Gigabytes that this process has held at once."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    globals()[sys.argv[1]]()
