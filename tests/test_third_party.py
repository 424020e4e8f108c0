"""Files in the habits of public code, dropped into `model/` of a project and chosen by name."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Bake

FIXTURES = Path(__file__).parent / "third_party" / "model"
HELPERS = {"_registry.py", "common.py", "ghost_layers.py"}  # imported by other fixtures only
REPLACED = {
    "resnet.py",
    "vit.py",
}  # the template has models of these names, dropped-in files replace them
TRAINS = "trains"
CHUNK = 10
CHUNK_TIMEOUT = 600


class Own(str):
    """Regex on an error of the dropped-in code itself: let through, or told with exit code 2."""


VIT = ["--model.image_size", "32", "--model.patch_size", "8", "--model.num_classes", "10"]
VIT += ["--model.dim", "16", "--model.depth", "1", "--model.heads", "2", "--model.mlp_dim", "32"]

# (what follows --model_name, further options, "trains" or a regex on the one-line error)
CASES: list[tuple[str, list[str], str]] = [
    # class by CamelCase, or by name without case and underscores
    ("lenet", [], TRAINS),
    ("lenet", ["--model.nclass", "20"], TRAINS),
    ("lenet_wide", [], TRAINS),
    ("mobilenetv2", [], TRAINS),
    ("alexnet", [], TRAINS),
    ("convnext", [], TRAINS),
    (
        "convnext",
        ["--model.depths", "[1,1,1]", "--model.dims", "[4,8,8]", "--model.drop_path_rate", "0.1"],
        TRAINS,
    ),
    ("convnext:convnext_femto", ["--model.num_classes", "10"], TRAINS),
    ("mlp_mixer", [], TRAINS),
    ("mlp_mixer", ["--model.patch_size", "[4,4]", "--model.dim", "8"], TRAINS),
    ("wide_resnet", ["--model.width", "8"], TRAINS),
    ("wide_resnet:WideResNetNoisy", ["--model.width", "8", "--model.sigma", "0.2"], TRAINS),
    ("wide_resnet:wrn", [], TRAINS),
    ("senet", [], TRAINS),
    ("senet", ["--model.width", "16", "--model.num_classes", "12"], TRAINS),
    ("opt_net", [], TRAINS),
    ("opt_net", ["--model.width", "4"], TRAINS),
    ("tinyformer", [], TRAINS),
    ("pooling_net", [], TRAINS),
    ("pooling_net", ["--model.pool", "MAX"], TRAINS),
    ("modern_net", [], TRAINS),
    (
        "modern_net",
        ["--model.dropout", "0.1", "--model.widths", "[4,8]", "--model.act", "gelu"],
        TRAINS,
    ),
    ("modern_net", ["--model.act", "selu"], Own(r"selu")),
    ("shufflenet", [], TRAINS),
    ("ghostnet", ["--model.width", "4"], TRAINS),
    ("star_net", [], TRAINS),
    ("conflict_net", [], TRAINS),
    ("conflict_net", ["--model.lr", "0.5", "--model.name", "x", "--model.batch_size", "2"], TRAINS),
    ("xception", [], TRAINS),
    ("xception:xception", [], TRAINS),
    ("lazy_net", [], TRAINS),
    ("var_mlp", [], TRAINS),
    ("my-net", [], TRAINS),
    ("ResNeXt", [], TRAINS),
    ("ResNeXt", ["--model.num_blocks", "[2]"], TRAINS),
    ("ResNeXt:ResNeXtEnsemble", ["--model.n", "3"], TRAINS),
    ("ResNeXt:ResNeXt29_2x4d", [], TRAINS),
    ("CamelNet", ["--model.humps", "1"], TRAINS),
    ("CamelNet:DromedaryNet", [], TRAINS),
    # the only class of the file that no other class there uses
    ("cnn_tutorial", [], TRAINS),
    ("mnist_main", ["--model.in_channels", "3", "--model.size", "32"], TRAINS),
    ("swallow_net", [], TRAINS),
    ("swallow_net", ["--model.hidden", "4"], TRAINS),
    ("all_conv", ["--model.widths", "[4,8]"], TRAINS),
    ("slim_vgg", [], TRAINS),
    ("slim_vgg", ["--model.cfg", "{'widths': [4, 'M', 8]}"], TRAINS),
    ("fourier_net", ["--model.keep", "4"], TRAINS),
    ("partial_net", [], TRAINS),
    ("partial_net:NetSmall", [], TRAINS),
    ("partial_net:NetSmall", ["--model.depth", "2"], TRAINS),
    ("partial_net:NetDeep", [], TRAINS),
    ("partial_net:build", [], TRAINS),
    ("squeezenet", [], TRAINS),
    ("small_nets", ["--model.dropout", "0.1"], TRAINS),
    ("small_nets:Base", [], TRAINS),
    ("row_lstm", [], TRAINS),
    ("3dnet", [], TRAINS),
    ("finetune", [], TRAINS),
    ("finetune:initialize_model", ["--model.num_classes", "10"], TRAINS),
    ("mish_net", [], TRAINS),
    # required arguments
    ("vgg", ["--model.vgg_name", "VGG11"], TRAINS),
    ("vgg", [], r"vgg_name"),
    ("vgg", ["--model.vgg_name", "VGG99"], Own(r"VGG99")),
    ("vgg:vgg16_bn", [], TRAINS),
    ("resnet", [], r"\bblock\b"),
    ("resnet", ["--model.num_blocks", "[1,1,1,1]"], r"\bblock\b"),
    ("resnet:ResNet18", [], TRAINS),
    ("resnet:ResNet50", [], TRAINS),
    ("densenet", ["--model.num_class", "10"], TRAINS),
    (
        "densenet",
        ["--model.num_class", "10", "--model.nblocks", "[2,1]", "--model.growth_rate", "2"],
        TRAINS,
    ),
    ("densenet:densenet121", [], TRAINS),
    ("efficientnet:EfficientNetB0", [], TRAINS),
    (
        "efficientnet",
        ["--model.cfg", "{out_channels: [8], kernel_size: [3], stride: [2], dropout_rate: 0.1}"],
        TRAINS,
    ),
    ("efficientnet", [], r"\bcfg\b"),
    ("vit", VIT, TRAINS),
    ("vit", [], r"image_size|patch_size|num_classes|\bdim\b"),
    ("vision_transformer", ["--model.img_size", "32", "--model.patch_size", "8"], TRAINS),
    (
        "vision_transformer",
        [
            "--model.img_size",
            "32",
            "--model.num_classes",
            "10",
            "--model.act_layer",
            "torch.nn.SiLU",
        ],
        TRAINS,
    ),
    ("vision_transformer:vit_nano_patch8_32", [], TRAINS),
    (
        "vision_transformer:vit_nano_patch8_32",
        ["--model.num_classes", "10", "--model.depth", "1"],
        TRAINS,
    ),
    (
        "vision_transformer:vit_nano_patch8_32",
        ["--model.pretrained", "true"],
        Own(r"no pretrained weights"),
    ),
    ("mobilenetv3", [], r"inverted_residual_setting|last_channel"),
    ("mobilenetv3:mobilenet_v3_small", [], TRAINS),
    (
        "mobilenetv3:mobilenet_v3_small",
        ["--model.width_mult", "0.5", "--model.num_classes", "10"],
        TRAINS,
    ),
    ("mobilenetv3:small_net", ["--model.act_layer", "torch.nn.SiLU"], TRAINS),
    ("convmixer", [], r"\bfn\b|ConvMixer"),  # Residual is the only class of the file
    ("convmixer:ConvMixer", ["--model.dim", "8", "--model.depth", "1"], TRAINS),
    # nothing to choose by
    ("kaggle_baselines", [], r"(?=.*SimpleCNN)(?=.*DeepCNN)"),
    ("kaggle_baselines:SimpleCNN", [], TRAINS),
    ("kaggle_baselines:DeepCNN", ["--model.n_classes", "10"], TRAINS),
    ("resnet20", [], TRAINS),
    ("resnet20:resnet20", [], TRAINS),
    ("registry_net", [], r"(?=.*TinyBackbone)(?=.*LinearHead)(?=.*ImageClassifier)"),
    ("registry_net:ImageClassifier", [], TRAINS),
    ("helper_function", [], TRAINS),
    ("helper_function:Darknet", ["--model.act", "relu"], TRAINS),
    # packages
    ("shufflepack", [], TRAINS),
    ("shufflepack:shufflepack_x2", ["--model.num_classes", "10"], TRAINS),
    ("tinypkg", [], TRAINS),
    ("tinypkg:Backbone", ["--model.num_outputs", "12"], TRAINS),
    # a LightningModule is used as it is
    ("lit_mlp", ["--model.lr", "0.01"], TRAINS),
    ("lit_mlp", [], TRAINS),
    ("lit_tutorial", ["--model.width", "4"], TRAINS),
    # forward that does not return logits
    ("feature_net", [], r"(?i)tuple"),
    ("dict_net", [], r"(?i)dict"),
    ("googlenet", ["--model.num_classes", "10"], r"(?i)tuple|GoogLeNetOutputs"),
    ("googlenet", ["--model.num_classes", "10", "--model.aux_logits", "false"], TRAINS),
    ("googlenet:googlenet", ["--model.aux_logits", "false"], TRAINS),
    # mistakes
    ("no_such_net", [], r"no_such_net"),
    ("vgg:vgg99_bn", [], r"vgg99_bn"),
    ("vgg:cfg", [], r"\bcfg\b"),
    ("utils", [], r"utils"),
    ("lenet", ["--model.no_such_option", "1"], r"no_such_option"),
    ("googlenet", ["--model.num_classes", "ten"], r"num_classes"),
    ("ghost_cuda", [], Own(r"selective_scan_cuda_ext")),
    ("py2_net", [], Own(r"print|py2_net")),
]

RUNNER = r"""
import contextlib, io, json, sys, traceback

from main import main

ARGS = ["--dataset", "torchvision:FakeData", "--data.size", "64", "--data.image_size", "[3,32,32]",
        "--batch_size", "8", "--fast_dev_run", "true"]
cases = json.load(open(sys.argv[1]))
for case in cases:
    name, extra = case["name"], case["extra"]
    err = io.StringIO()
    case.update(code=None, traceback=None, exception=None)
    with contextlib.redirect_stderr(err):
        try:
            case["code"] = main(["fit", "--model_name", name, *ARGS, *extra])
        except SystemExit as e:
            case["code"] = 0 if e.code is None else e.code
        except BaseException as e:
            case["exception"] = "".join(traceback.format_exception_only(type(e), e)).strip()
            case["traceback"] = traceback.format_exc()
    sys.stderr.write(err.getvalue())
    lines = [line for line in err.getvalue().splitlines() if line.strip()]
    case["last"] = lines[-1] if lines else ""
    json.dump(cases, open(sys.argv[2], "w"))  # after every case, so that a crash tells which
"""


def test_every_file_has_a_case() -> None:
    """CASES names every file of the fixtures but the helpers."""
    there = {p.name for p in FIXTURES.glob("*.py")}
    there |= {p.parent.name for p in FIXTURES.glob("*/__init__.py")}
    named = {name.split(":")[0] for name, _, _ in CASES} - {"no_such_net"}
    assert {name.removesuffix(".py") for name in there - HELPERS} == named


@pytest.fixture(scope="module")
def crowded(bake: Bake) -> Path:
    """A project with all fixtures in its `model/`."""
    root = bake()
    names = {path.name for path in FIXTURES.iterdir()} - {"__pycache__"}
    taken = names & {path.name for path in (root / "model").iterdir()}
    assert taken <= REPLACED, "the template has models of these names"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(FIXTURES, root / "model", dirs_exist_ok=True, ignore=skip)
    (root / "_run_cases.py").write_text(RUNNER)
    return root


def problem(case: dict[str, Any], expected: str) -> str | None:
    """Returns what is wrong with the outcome of a case."""
    if "code" not in case:
        return "the process ended before or during this case"
    if expected == TRAINS:
        good = case["exception"] is None and case["code"] == 0
    elif isinstance(expected, Own) and case["exception"] is not None:
        good = re.search(expected, case["exception"], re.DOTALL) is not None
    else:
        good = case["code"] == 2 and re.search(expected, case["last"]) is not None
    told = f"exit code {case['code']}, last line {case['last']!r}\n{case['traceback'] or ''}"
    return None if good else told


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, len(CASES), CHUNK))
def test_third_party(crowded: Path, tmp_path: Path, start: int) -> None:
    """Every case of the chunk ends as the table says, all in one process."""
    chunk = CASES[start : start + CHUNK]
    todo, done, log = (tmp_path / name for name in ("todo.json", "done.json", "log.txt"))
    todo.write_text(json.dumps([{"name": name, "extra": extra} for name, extra, _ in chunk]))
    done.write_text(todo.read_text())
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "_run_cases.py", str(todo), str(done)],
            cwd=crowded,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=CHUNK_TIMEOUT,
            check=False,
        )
    wrong = []
    for (name, extra, expected), case in zip(chunk, json.loads(done.read_text()), strict=True):
        if told := problem(case, expected):
            wrong.append(f"{' '.join([name, *extra])}\n  expected {expected}\n  got {told}")
    assert not wrong, "\n\n".join([*wrong, f"output ends:\n{log.read_text()[-2000:]}"])
