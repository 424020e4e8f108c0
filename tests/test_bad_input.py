"""What a generated project answers to bad input: one line, exit code 2, and nothing left behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Bake, files

FILES = {
    # model/
    "model/two_nets.py": """
        from torch import nn
        class FirstNet(nn.Linear): ...
        class SecondNet(nn.Linear): ...
        WIDTHS = [1, 2]
        def make(width: int = 3): return {"width": width}
    """,
    "model/empty_file.py": "",
    "model/clash_net.py": """
        from typing import Literal
        from torch import nn
        class ClashNet(nn.Linear):
            def __init__(self, batch_size: Literal["small", "large"] = "small"):
                super().__init__(64, 10)
    """,
    "model/needs_net.py": """
        from torch import nn
        class NeedsNet(nn.Linear):
            def __init__(self, cells: int): super().__init__(64, cells)
    """,
    "model/flat_net.py": """
        from torch import nn
        class FlatNet(nn.Linear):
            def __init__(self, num_classes: int): super().__init__(64, num_classes)
            def forward(self, x): return super().forward(x.flatten(1))
    """,
    "model/tuple_net.py": """
        from torch import nn
        class TupleNet(nn.Linear):
            def __init__(self, num_classes: int): super().__init__(64, num_classes)
            def forward(self, x): return super().forward(x.flatten(1)), x
    """,
    "model/syntax_net.py": "class SyntaxNet(:\n",
    "model/import_net.py": "import no_such_package\nclass ImportNet: ...\n",
    "model/init_net.py": """
        from torch import nn
        class InitNet(nn.Module):
            def __init__(self): super().__init__(); raise ValueError("broken constructor")
    """,
    "model/forward_net.py": """
        from torch import nn
        class ForwardNet(nn.Linear):
            def __init__(self): super().__init__(64, 10)
            def forward(self, x): return x.no_such_attribute
    """,
    "model/shape_net.py": """
        from torch import nn
        class ShapeNet(nn.Linear):
            def __init__(self): super().__init__(17, 10)
            def forward(self, x): return super().forward(x.flatten(1))
    """,
    # data/
    "data/pictures.py": """
        from PIL import Image
        from torch.utils.data import Dataset
        class Pictures(Dataset):
            num_classes = 2
            def __len__(self): return 40
            def __getitem__(self, index): return Image.new("L", (8, 8)), 0
    """,
    "data/unequal.py": """
        import torch
        from torch.utils.data import Dataset
        class Unequal(Dataset):
            num_classes = 2
            def __len__(self): return 40
            def __getitem__(self, index): return torch.rand(1, 8, 8 + index), 0
    """,
    "data/no_target.py": """
        import torch
        from torch.utils.data import Dataset
        class NoTarget(Dataset):
            num_classes = 10
            def __len__(self): return 40
            def __getitem__(self, index): return torch.rand(1, 8, 8)
    """,
    "data/tiny.py": """
        import torch
        from torch.utils.data import Dataset
        class Tiny(Dataset):
            num_classes = 10
            def __init__(self, size: int = 40): self.size = size
            def __len__(self): return self.size
            def __getitem__(self, index): return torch.rand(1, 8, 8), 0
    """,
    "data/item_error.py": """
        from torch.utils.data import Dataset
        class ItemError(Dataset):
            num_classes = 10
            def __len__(self): return 40
            def __getitem__(self, index): raise KeyError("broken item")
    """,
    "data/init_error.py": """
        from torch.utils.data import Dataset
        class InitError(Dataset):
            def __init__(self): raise RuntimeError("broken dataset")
    """,
    "data/syntax_data.py": "def (:\n",
    "data/png/empty/.keep": "",
    "data/flat_png/.keep": "",
    # callbacks and losses beside main.py
    "own.py": """
        from pytorch_lightning import Callback
        class NoCallback: ...
        class Broken(Callback):
            def __init__(self): raise ValueError("broken callback")
        class Hook(Callback):
            def on_fit_start(self, *_): raise ValueError("broken hook")
        def loss(output, target): raise ValueError("broken loss")
        NUMBER = 3
    """,
    # options files
    "bad/binary.yaml": "\x00\x01\x02",
    "bad/latin1.yaml": "model_name: \udce9t\udce9",
    "bad/invalid.yaml": "lr: [1, 2\nx",
    "bad/tab.yaml": "trainer:\n\tmax_epochs: 3",
    "bad/python.yaml": "lr: !!python/object/apply:os.getcwd []",
    "bad/list.yaml": "- lr: 1",
    "bad/text.yaml": "just words",
    "bad/scalar_section.yaml": "trainer: 3",
    "bad/list_section.yaml": "model: [1, 2]",
    "bad/unknown.yaml": "bach_size: 3",
    "bad/number_key.yaml": "1: 2",
    "bad/unknown_section.yaml": "nosection: {a: 1}",
    "bad/unknown_in_section.yaml": "trainer: {max_epoch: 3}",
    "bad/value.yaml": "lr: fast",
    "bad/literal.yaml": "model: {depth: 19}",
    "bad/null.yaml": "batch_size: null",
    "bad/no_name.yaml": "model_name: null",
    "bad/name_list.yaml": "model_name: [resnet]",
    "bad/name.yaml": "model_name: resnt",
    "bad/other_model.yaml": "model_name: vit\nmodel: {width: 8}",
    "bad/mapping.yaml": "lr: {a: 1}",
    # checkpoints
    "bad/empty.ckpt": "",
    "bad/garbage.ckpt": "not a checkpoint",
}

# What follows main.py, and a regex on the error. These are answered before torch is imported.
PARSED = [
    # names
    ("--model_name resnt", r"resnt.*did you mean 'resnet'"),
    ("--model_name Resnet", r"did you mean 'resnet'"),
    ("--model_name zzz", r"no model/zzz.py; choose one of: .*resnet.*torchvision:NAME"),
    ("--model_name=", r"--model_name.*choose one of: .*resnet"),
    ("--model_name model/resnet.py", r"--model_name model/resnet.py: .*resnet"),
    ("--model_name two_nets", r"two_nets:FirstNet, two_nets:SecondNet"),
    ("--model_name empty_file", r"model/empty_file.* write a class EmptyFile"),
    ("--model_name torchvision:", r"--model_name torchvision:.*torchvision:NAME"),
    ("--model_name torchvision", r"--model_name torchvision:.*torchvision:NAME"),
    ("--model_name nolibrary:net", r"nolibrary.*choose one of"),
    ("--model_name timm:resnet18", r"timm is not installed; type: uv add timm"),
    ("--dataset digitz", r"did you mean 'digits'"),
    ("--dataset zzz", r"no data/zzz.py; choose one of: .*digits"),
    ("--dataset torchvision:", r"torchvision:NAME"),
    ("--loss crss_entropy", r"--loss crss_entropy.*did you mean 'cross_entropy'"),
    ("--loss zzz", r"--loss zzz.*choose one of: .*mse"),
    ("--loss nosuch.Loss", r"--loss nosuch.Loss: there is no module 'nosuch'.*module.Name"),
    ("--loss .", r"--loss \..*module.Name"),
    ("--optimizer adm", r"--optimizer adm.*did you mean 'adam'"),
    ("--optimizer nosuch.Adam", r"no module 'nosuch'"),
    ("--lr_scheduler cosin", r"--lr_scheduler cosin.*did you mean 'cosine'"),
    ("--lr_scheduler 7", r"--lr_scheduler 7.*choose one of"),
    ("trian", r"no command 'trian'; choose one of: ablate, compare, export, fit, .*validate"),
    ("tset", r"no command 'tset'; did you mean 'test'"),
    ("--help nosuch", r"--help nosuch: there is no such page; choose one of: .*trainer.*all"),
    ("help trainr", r"--help trainr: there is no such page; did you mean 'trainer'"),
    # callbacks
    ("--callbacks nosuch.Class", r"--callbacks nosuch.Class: there is no module 'nosuch'"),
    (
        "--callbacks nosuch",
        r"no callbacks/nosuch.py; choose one of: early_.*EarlyStopping.*module.Name",
    ),
    ("--callbacks+=progres_bar", r"no callbacks/progres_bar.py; did you mean 'progress_bar'"),
    ("--callbacks+=TIMR", r"no callbacks/TIMR.py; did you mean 'Timer'"),
    ("--callbacks own.Nosuch", r"own.Nosuch: own has no 'Nosuch'"),
    ("--callbacks [own.Nosuch]", r"own has no 'Nosuch'"),
    ("--callbacks 3", r"no callbacks/.*3.*.py; choose one of"),
    ("--callbacks [speed,speed]", r"--callbacks speed: there is another 'speed'"),
    ("--callbacks null --patience 3", r"--patience: the chosen classes have no such option"),
    ("--early_stopping.patienc 3", r"did you mean 'early_stopping.patience'"),
    (
        "--callbacks [speed] --early_stopping.patience 3",
        r"no such option; type --callbacks\+=early_stopping before",
    ),
    ("--lr+=3", r"--lr 3: lr is no list to add to"),
    ("--epochs 3", r"--epochs: .*did you mean 'max_epochs'"),
    ("--lr_scheduler one_cycle --steps_per_epoch 3", r"--steps_per_epoch: the chosen classes have"),
    ("--trainer.callbacks own.Hook", r"--trainer.callbacks: .*did you mean 'callbacks'"),
    # values
    ("--batch_size ten", r"--batch_size ten: expected int, got 'ten'"),
    ("--batch_size 64.0", r"--batch_size 64.0: expected int"),
    ("--batch_size null", r"--batch_size null: expected int"),
    ("--lr x", r"--lr x: expected float, got 'x'"),
    ("--lr 0,1", r"--lr 0,1: expected float"),
    ("--lr ½", r"--lr ½: expected float"),
    ("--lr=", r"--lr.*expected float"),
    ("--lr [1]", r"expected float"),
    ("--seed zero", r"--seed zero: expected int"),
    ("--model.pretrained maybe", r"--model.pretrained maybe: expected bool"),
    ("--model.depth 19", r"--model.depth 19: expected one of 18, 34"),
    ("--depth 19", r"--model.depth 19: expected one of 18, 34"),
    ("--model.stem smal", r"did you mean 'small'"),
    ("--width 16.5", r"--model.width 16.5: expected int"),
    ("--model_name mlp --hidden_sizes abc", r"--model.hidden_sizes abc: expected .*\[int\]"),
    ("--model_name mlp --hidden_sizes [1,x]", r"--model.hidden_sizes .*expected .*\[int\]"),
    ("--data.augment 7", r"--data.augment 7: expected bool"),
    ("--data.split all", r"--data.split all: expected one of 'train'"),
    ("--weight_decay heavy", r"--weight_decay heavy: expected float or null"),
    ("--max_epochs 1.5", r"--trainer.max_epochs 1.5: expected int or null"),
    ("--trainer.fast_dev_run perhaps", r"--trainer.fast_dev_run perhaps: expected"),
    ("--trainer.log_every_n_steps often", r"--trainer.log_every_n_steps often: expected int"),
    ("--trainer.limit_train_batches few", r"--trainer.limit_train_batches few: expected"),
    ("--early_stopping.patience soon", r"--early_stopping.patience soon: expected int"),
    ("--early_stopping.min_delta tiny", r"--early_stopping.min_delta tiny: expected float"),
    ("--checkpoint.save_top_k many", r"--checkpoint.save_top_k many: expected int"),
    ("--optimizer sgd --momentum fast", r"--optimizer_args.momentum fast: expected float"),
    ("--optimizer_args.amsgrad maybe", r"--optimizer_args.amsgrad maybe: expected bool"),
    ("--mode up", r"--mode up: expected one of 'min', 'max' or null"),
    ("--task guess", r"--task guess: expected one of 'classification'"),
    ("--lr_interval never", r"--lr_interval never: expected one of 'step', 'epoch'"),
    ("--loggers [neptune]", r"--loggers \[neptune\]: expected .*'tensorboard', 'csv'"),
    ("--monitor", r"--monitor needs a value"),
    ("--model_name clash_net --batch_size no", r"--batch_size VALUE or --model.batch_size VALUE"),
    ("--model_name clash_net --batch_size small", r"--batch_size small: expected int.*--model.b"),
    # options
    ("--max_ep 3", r"--max_ep: the chosen classes have no such option; did you mean 'max_epochs'"),
    ("--zzzzzz 1", r"--zzzzzz: the chosen classes have no such option; see --help"),
    (
        "--model.deph 50",
        r"--model.deph: the chosen classes have no such option; did you mean 'model.depth'",
    ),
    ("--nosection.depth 3", r"--nosection.depth: the chosen classes have no such option"),
    ("--patch_size 4", r"--patch_size: the chosen classes have no such option"),
    ("--model_name vit --width 8", r"--width: the chosen classes have no such option"),
    (
        "--optimizer_args.momentum 0.9",
        r"--optimizer_args.momentum: the chosen classes have no such option",
    ),
    ("--run last", r"--run: the chosen classes have no such option"),
    ("--größe 3", r"--größe: the chosen classes have no such option"),
    ("--model_name", r"--model_name needs a value"),
    ("--fast_dev_run --lr 0.1", r"--fast_dev_run needs a value; .*--fast_dev_run true"),
    ("fit lr 0.1", r"unexpected 'lr'; type --name value"),
    ("--lr 0.1 0.2", r"unexpected '0.2'; type --name value, and lists as '\[1,2\]'"),
    ("-lr 0.1", r"unexpected '-lr'; type --name value"),
    ("—lr 0.1", r"—lr"),
    ("--=x", r"unexpected '--=x'"),
    ("--", r"unexpected '--'"),
    ("--lr 0.1 --lr x", r"--lr x: expected float"),
    ("--lr x --lr 0.1", r"--lr x: expected float"),
    # options files
    ("--config bad/nosuch.yaml", r"bad/nosuch.yaml: No such file"),
    ("--config bad", r"--config bad: Is a directory"),
    ("--config=", r"--config"),
    ("--config bad/binary.yaml", r"bad/binary.yaml: not valid YAML"),
    ("--config bad/latin1.yaml", r"bad/latin1.yaml: not valid YAML"),
    ("--config bad/invalid.yaml", r"bad/invalid.yaml: not valid YAML: .*line \d"),
    ("--config bad/tab.yaml", r"bad/tab.yaml: not valid YAML"),
    ("--config bad/python.yaml", r"bad/python.yaml: not valid YAML"),
    ("--config bad/list.yaml", r"bad/list.yaml: expected lines of 'name: value', got list"),
    ("--config bad/text.yaml", r"bad/text.yaml: expected lines of 'name: value', got str"),
    ("--config bad/scalar_section.yaml", r"trainer: expected lines of 'name: value', got 3"),
    ("--config bad/list_section.yaml", r"model: expected lines of 'name: value', got \[1, 2\]"),
    ("--config bad/unknown.yaml", r"bad/unknown.yaml: unknown key 'bach_size'; .*'batch_size'"),
    ("--config bad/number_key.yaml", r"bad/number_key.yaml: unknown key '1'"),
    ("--config bad/unknown_section.yaml", r"unknown key 'nosection.a'"),
    ("--config bad/unknown_in_section.yaml", r"'trainer.max_epoch'; .*'trainer.max_epochs'"),
    ("--config bad/value.yaml", r"bad/value.yaml: lr: expected float, got 'fast'"),
    ("--config bad/literal.yaml", r"bad/literal.yaml: model.depth: expected one of 18.*got '19'"),
    ("--config bad/null.yaml", r"bad/null.yaml: batch_size: expected int, got null"),
    ("--config bad/no_name.yaml", r"--model_name is missing; choose of: .*resnet"),
    ("--config bad/name_list.yaml", r"--model_name \['resnet'\]: .*did you mean 'resnet'"),
    ("--config bad/name.yaml", r"resnt.*did you mean 'resnet'"),
    ("--config bad/other_model.yaml", r"bad/other_model.yaml: unknown key 'model.width'"),
    ("--config bad/mapping.yaml", r"bad/mapping.yaml: lr: expected float"),
    # runs
    ("test", r"there is no run last; .*runs holds none yet"),
    ("test --run nosuch", r"there is no run nosuch"),
    ("predict --run bad", r"there is no run bad"),
    ("validate --default_root_dir nosuch", r"nosuch holds none yet"),
]

# The same, of what only torch, Lightning or the data can tell. `GOOD` and `OTHER` are trained.
GOOD = "--name good --max_epochs 1 --limit_train_batches 1 --model.width 4"
OTHER = "--name other --max_epochs 1 --limit_train_batches 1 --model_name flat_net"
CKPT = "runs/other/version_0/checkpoints/last.ckpt"
BUILT = [
    # names
    ("--model_name resnet:Foo", r"resnet has no 'Foo'.*ResNet"),
    ("--model_name resnet:resnet", r"did you mean 'ResNet'"),
    ("--model_name two_nets:WIDTHS", r"WIDTHS is a list; choose a class or function"),
    ("--model_name two_nets:make", r"--model_name two_nets:make: expected a network, got dict"),
    ("--model_name torchvision:resnt50", r"torchvision:resnt50: .*did you mean 'resnet50'"),
    ("--dataset torchvision:MNST", r"torchvision:MNST: .*did you mean 'MNIST'"),
    ("--model_name needs_net", r"NeedsNet needs cells; type --model.cells VALUE"),
    ("--monitor val_los", r"--monitor val_los: there is no such metric; did you mean 'val_loss'"),
    ("--monitor zzz", r"--monitor zzz: .*choose one of: train_loss"),
    ("--loss own.los", r"--loss own.los: own has no 'los'; did you mean 'loss'"),
    ("--loss own.NUMBER", r"NUMBER is a int; choose a class or function"),
    ("--callbacks own.NoCallback", r"own.NoCallback.*[Cc]allback"),
    ("--callbacks [{name:own.Hook}]", r"--callbacks .*module.Name"),
    ("--callbacks torch.nn.Linear", r"Linear needs in_features"),
    (
        '--callbacks [{"class_path":"Timer","init_args":{"durtion":1}}]',
        r"--callbacks .*Timer: Timer takes no argument 'durtion'; did you mean 'duration'",
    ),
    ("--callbacks+=Timer --Timer.duration soon", r"--callbacks Timer: .*soon"),
    ("--callbacks+=own.Hook --strategy ddp_spawn", r"--strategy ddp_spawn: .*type --strategy ddp"),
    ("--strategy ddp_fork", r"--strategy ddp_fork: .*type --strategy ddp"),
    ("--model_name import_net", r"model/import_net.py, line 1, needs the module 'no_such_package'"),
    (
        '--param_groups {"nosuch":{"lr_factor":2}}',
        r"--param_groups nosuch: fits no parameter",
    ),
    (
        '--param_groups {"stages":{"lr":2}}',
        r"--param_groups stages: no 'lr'; expected lr_f",
    ),
    # values
    ("--lr -1", r"--optimizer adamw: Invalid learning rate"),
    ("--optimizer sgd --momentum -1", r"--optimizer sgd: Invalid momentum"),
    ("--optimizer adam --optimizer_args.betas [2,2]", r"--optimizer adam: Invalid beta"),
    ("--optimizer rprop --weight_decay 0.1", r"--optimizer rprop: .*weight_decay"),
    ("--batch_size 0", r"--batch_size 0: expected 1 or more"),
    ("--num_workers -1", r"--num_workers -1: expected 0 or more"),
    ("--val_fraction 1.5", r"--val_fraction 1.5 .*less than 1"),
    ("--val_fraction 0.6 --test_fraction 0.6", r"together less than 1"),
    ("--val_fraction -0.1", r"--val_fraction -0.1 .*expected 0 or more"),
    ("--lr_scheduler plateau --warmup_steps 5", r"--warmup_steps 5 needs --lr_interval step"),
    ("--warmup_steps -5", r"--warmup_steps -5: expected 0 or more"),
    ("--lr_scheduler step", r"StepLR needs step_size; type --step_size VALUE"),
    ("--lr_scheduler one_cycle --pct_start 2", r"--lr_scheduler one_cycle: .*pct_start"),
    ("--lr_scheduler one_cycle --max_epochs -1", r"--lr_scheduler one_cycle needs a length"),
    ("--seed -1", r"--seed -1"),
    ("--checkpoint.save_top_k -2", r"save_top_k"),
    ("--checkpoint.every_n_epochs -1", r"every_n_epochs"),
    ("--lr_monitor.logging_interval never", r"logging_interval"),
    ("--loss_args.reduction nosuch", r"nosuch"),
    ("--loss_args.weight [a,b]", r"--loss_args {'weight': \['a', 'b'\]}"),
    ("--loss_args.label_smoothing 2", r"label_smoothing"),
    # trainer
    ("--accelerator gpu", r"trainer: .*(?i:gpu)"),
    ("--accelerator nosuch", r"trainer: .*accelerator"),
    ("--devices 0", r"trainer: .*devices"),
    ("--devices garbage", r"trainer: .*devices.*int > 0"),
    ("--num_nodes 0", r"trainer: .*nodes"),
    ("--strategy nosuch", r"trainer: .*strategy.*nosuch"),
    ("--precision 8", r"--trainer.precision 8: expected one of (?!.*one of).*'bf16-mixed'"),
    ("--profiler nosuch", r"trainer: .*profiler.*'simple', 'advanced'"),
    ("--limit_train_batches 2.5", r"trainer: .*limit_train_batches"),
    ("--limit_val_batches -1", r"trainer: .*limit_val_batches"),
    ("--val_check_interval 2.5", r"trainer: .*val_check_interval"),
    ("--max_time garbage", r"trainer: .*garbage"),
    ("--max_epochs -2", r"trainer: .*max_epochs"),
    ("--gradient_clip_algorithm nosuch", r"trainer: .*gradient_clip_algorithm"),
    ("--gradient_clip_val -1 --gradient_clip_algorithm zzz", r"trainer: .*clip"),
    ("--accumulate_grad_batches 0", r"--accumulate_grad_batches.*: expected 1 or more"),
    ("--default_root_dir main.py/runs", r"--default_root_dir main.py/runs: can't write there"),
    # data
    ("--dataset image_folder", r"ImageFolder needs root; type --data.root VALUE"),
    ("--dataset image_folder --root bad/nosuch", r"bad/nosuch"),
    ("--dataset image_folder --root data/png", r"data/png"),
    ("--dataset image_folder --root data/flat_png", r"data/flat_png"),
    ("--dataset image_folder --root main.py", r"main.py"),
    ("--dataset pictures --model_name flat_net", r"items can't be batched.*Image"),
    ("--dataset unequal --width 4", r"can't be batched; return tensors of one shape.*equal size"),
    ("--dataset unequal --width 4 --num_workers 1", r"can't be batched; .*equal size"),
    ("--dataset no_target --model_name flat_net", r"no target for FlatNet"),
    ("--dataset tiny --size 2 --model_name flat_net", r"nothing is left to train.*2 samples"),
    ("--dataset tiny --size 0 --model_name flat_net", r"dataset.*(0 samples|empty)"),
    ("--model_name tuple_net", r"TupleNet returns a tuple.*return the logits alone"),
    ("--num_classes 5 --width 4", r"CrossEntropyLoss can't compare .* 0 to 9"),
    ("--loss mse --width 4", r"MSELoss can't compare"),
    ("--loss ctc --width 4", r"CTCLoss takes 4 tensors; ResNet returns 1"),
    ("--num_classes 1 --width 4", r"CrossEntropyLoss takes an output for each class.*--loss mse"),
    ("--model_name vit --patch_size 3", r"--patch_size 3: expected a divisor of 8"),
    ("--model_name vit --patch_size 4 --num_heads 3", r"--num_heads 3: expected a divisor of"),
    ("--dataset cifar10 --download false", r"not found.*; type --data.download true"),
    ("--dataset tiny --model_name flat_net --drop_last true", r"32 samples make no batch of 64"),
    ("--limit_train_batches 0.001 --width 4", r"trainer: .*limit_train_batches"),
    ("--init_from nosuch --model_name mlp", r"there is no run nosuch"),
    ("--init_from main.py --model_name mlp", r"main.py is no checkpoint"),
    # runs
    ("test --run nosuch", r"there is no run nosuch; choose one of: good, other"),
    ("--resume nosuch", r"there is no run nosuch; choose one of: good, other"),
    ("--resume good", r"has trained \d epochs; type --max_epochs VALUE"),
    ("--resume good --lr 3", r"--lr 3.0: a run goes on as it began; .*--init_from .*good"),
    ("--resume good --max_epochs 9 --check_val_every_n_epoch 0", r"expected 1 or more, or null"),
    ("test nosuch", r"there is no run nosuch"),
    ("compare good nosuch", r"there is no run nosuch"),
    ("compare", r"compare needs runs; see python main.py compare --help"),
    ("reproduce nosuch", r"there is no run nosuch"),
    ("export good --format tflite", r"--format tflite: expected one of 'onnx', 'torch_export'"),
    ("runs --sort loss", r"--sort loss: expected one of 'run'"),
    ("test --run good --ckpt http://localhost/a.ckpt", r"has no such checkpoint; expected best"),
    ("test --run good --ckpt nosuch", r"--ckpt nosuch: .*expected best, last or a file"),
    ("test --run good --ckpt bad", r"--ckpt bad: .*expected best, last or a file"),
    ("test --run good --ckpt bad/empty.ckpt", r"bad/empty.ckpt is no checkpoint, or a damaged one"),
    ("test --run good --ckpt bad/garbage.ckpt", r"garbage.ckpt is no checkpoint, or a damaged one"),
    (f"test --run good --ckpt {CKPT}", r"other/.* is no checkpoint of this network"),
    ("predict --run good --model.width 8", r"is no checkpoint of this network"),
    ("test --run good --num_classes 5", r"is no checkpoint of this network"),
]

# A user's own broken file keeps its traceback: what follows main.py, and a regex on that.
OWN = [
    ("--model_name syntax_net", r"model/syntax_net.py.*SyntaxError"),
    ("--dataset syntax_data", r"data/syntax_data.py.*SyntaxError"),
    ("--model_name init_net", r"model/init_net.py.*ValueError: broken constructor"),
    ("--model_name forward_net", r"model/forward_net.py.*AttributeError.*no_such_attribute"),
    ("--model_name shape_net", r"model/shape_net.py.*RuntimeError.*shapes cannot be multiplied"),
    ("--dataset item_error --model_name flat_net", r"data/item_error.py.*KeyError: 'broken item'"),
    ("--dataset init_error", r"data/init_error.py.*RuntimeError: broken dataset"),
    ("--callbacks own.Broken", r"own.py.*ValueError: broken callback"),
    ("--callbacks own.Hook", r"own.py.*ValueError: broken hook"),
    ("--loss own.loss", r"own.py.*ValueError: broken loss"),
    ("--width -1", r"model/resnet.py.*RuntimeError.*negative dimension"),
]

RUNNER = r"""
import json, os, shutil, sys, tempfile, traceback
from pathlib import Path

from main import main

class Hide:  # as if timm were not installed
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "timm":
            raise ModuleNotFoundError(name)

def there():
    return {str(p): p.stat().st_mtime_ns for p in Path().rglob("*") if p.is_file()} | {
        str(p): 0 for p in Path().rglob("*") if p.is_dir() and p.name != "__pycache__"}

sys.meta_path.insert(0, Hide())
good, lines, target = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
own = os.dup(2)
done = []
for line in [*good, *lines]:
    before, code, trace = there(), None, None
    with tempfile.TemporaryFile() as file:  # at the level of the file: loggers keep sys.stderr
        os.dup2(file.fileno(), 2)
        try:
            code = main(line.split(" "))
        except BaseException:
            trace = traceback.format_exc()
        sys.stderr.flush()
        os.dup2(own, 2)
        file.seek(0)
        stderr = file.read().decode()
    after = there()
    left = [] if line in good else sorted(p for p in after if after[p] != before.get(p))
    for path in map(Path, left):
        if str(path) not in before and path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    done.append({"line": line, "code": code, "trace": trace, "stderr": stderr, "left": left,
                 "torch": "torch" in sys.modules})
    Path(target).write_text(json.dumps(done))
"""


@pytest.fixture(scope="module")
def broken(bake: Bake) -> Path:
    """A project with everything that is wrong with FILES."""
    project = bake()
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines() if text.startswith("\n") else [text]
        indent = len(lines[0]) - len(lines[0].lstrip()) if lines and text.startswith("\n") else 0
        text = "\n".join(line[indent:] for line in lines)
        (project / name).write_text(text, errors="surrogateescape")
    return project


def environment() -> dict[str, str]:
    """No GPU, one thread."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}


def type_all(project: Path, lines: list[str], target: Path, *good: str) -> list[dict[str, Any]]:
    """Types the lines in one process, those of `good` first, and returns what came of each."""
    command = [sys.executable, "-c", RUNNER, json.dumps(good), json.dumps(lines), str(target)]
    ended = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    done: list[dict[str, Any]] = json.loads(target.read_text())
    assert [d["code"] for d in done[: len(good)]] == [0] * len(good), done[: len(good)]
    return done[len(good) :]


def problem(done: dict[str, Any], expected: str) -> str:
    """What is wrong with the answer to a line; empty if nothing is."""
    lines = done["stderr"].splitlines()
    if done["trace"] or done["code"] != 2:
        return f"exit code {done['code']}: {done['stderr'][-300:]}{(done['trace'] or '')[-900:]}"
    if len(lines) != 1 or not lines[0].startswith("error: ") or not re.search(expected, lines[0]):
        return f"expected {expected}, got {done['stderr']}"
    return f"left {done['left']}" if done["left"] else ""


def report(done: list[dict[str, Any]], cases: list[tuple[str, str]]) -> str:
    """All that is wrong."""
    found = [(d["line"], problem(d, e)) for d, (_, e) in zip(done, cases, strict=True)]
    return "\n".join(f"{line}\n    {what}" for line, what in found if what)


def test_what_is_answered_without_torch(broken: Path, tmp_path: Path) -> None:
    """One line, exit code 2, nothing left, and no wait for torch."""
    done = type_all(broken, [line for line, _ in PARSED], tmp_path / "done.json")
    assert not (wrong := report(done, PARSED)), wrong
    assert [d["line"] for d in done if d["torch"]] == []


def test_what_torch_and_the_data_tell(broken: Path, tmp_path: Path) -> None:
    """One line, exit code 2, and nothing left."""
    lines = [line for line, _ in BUILT]
    done = type_all(broken, lines, tmp_path / "done.json", GOOD, OTHER)
    assert not (wrong := report(done, BUILT)), wrong


def test_own_files_keep_their_traceback(broken: Path, tmp_path: Path) -> None:
    """The user's file and the user's exception."""
    done = type_all(broken, [line for line, _ in OWN], tmp_path / "done.json")
    found = [(d, re.search(e, d["trace"] or "", re.S)) for d, (_, e) in zip(done, OWN, strict=True)]
    wrong = [
        f"{d['line']}\n{d['code']} {d['stderr']}{d['trace']}" for d, match in found if not match
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "code", "expected"),
    [
        ("--model_name resnt", 2, r"\Aerror: .*did you mean 'resnet'\?\n\Z"),
        ("--model_name init_net", 1, r"\ATraceback.*model/init_net.py.*broken constructor\n\Z"),
    ],
)
def test_exit_codes(broken: Path, line: str, code: int, expected: str) -> None:
    """As the shell sees it."""
    before = files(broken)
    command = [sys.executable, "main.py", *line.split()]
    ended = subprocess.run(
        command, cwd=broken, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert re.search(expected, ended.stderr, re.DOTALL), ended.stderr
    assert files(broken) == before
