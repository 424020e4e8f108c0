"""What the data tells a network, by the names that public code has for it."""

import ast
import math
from collections.abc import Iterator
from typing import Any

from core.cli.source import REQUIRED, Definition, Parameter, definition

# By name: others for the same. The data replaces a network's default of these names.
KNOWN = {
    "num_classes": ("n_classes", "num_class", "n_class", "nb_classes", "nclass"),
    "in_channels": ("in_chans", "in_channel", "in_ch", "input_channels"),
    "image_size": ("img_size",),
    "input_size": ("input_dim",),
    "vocab_size": ("n_vocab", "num_tokens", "ntoken"),
    "sequence_length": ("seq_len", "seq_length"),
}
# What may mean something else: asked for only where there is no default.
_REQUIRED = {
    "num_classes": ("classes", "num_labels", "output_size", "output_dim", "out_features"),
    "in_channels": ("channels", "n_channels", "num_channels", "input_nc"),
    "input_size": (
        *("in_features", "in_dim", "n_features", "num_features", "n_inputs", "num_inputs"),
        "input_shape",
    ),
}
_LOSS = {"weight": "class_weights", "pos_weight": "pos_weight", "ignore_index": "ignore_index"}
_RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
_FLATTEN = ("Flatten", "flatten", "view", "reshape", "ravel")
_SIZED = ("prod", "len", "tuple", "list", "zeros", "randn", "rand", "ones")


def asked(parameter: Parameter, section: str = "model") -> list[str]:
    """The facts that a parameter of the network, or loss, may ask for, the likeliest first."""
    is_open = parameter.default is REQUIRED
    if section == "loss_args":
        known = _LOSS.get(parameter.name)
        return [known] if known else [parameter.name] * is_open
    tables = (KNOWN, _REQUIRED) if is_open else (KNOWN,)
    meant = [n for table in tables for n, more in table.items() if parameter.name in (n, *more)]
    return [parameter.name] * (is_open or bool(meant)) + [n for n in meant if n != parameter.name]


def is_known(parameter: Parameter) -> bool:
    """Whether data in general can tell a parameter."""
    return len(asked(parameter)) > 1 or parameter.name in KNOWN


def meant(target: str, parameter: Parameter, fact: str, value: Any) -> Iterator[Any]:
    """What the data tells, as a network means it: of an input's shape, which of its numbers.

    A recurrent layer takes the last dimension; a linear one too, or all of them where the network
    flattens; what is counted, multiplied or taken apart is the shape itself.
    """
    if fact == "image_size" and isinstance(value, list | tuple):
        yield from [value[-1]] if len({*value[-2:]}) == 1 else []
        yield [*value[-2:]]
        return
    name, is_sure = parameter.name, parameter.name in (fact, *KNOWN.get(fact, ()))
    if not is_sure and fact in ("in_channels", "input_size") and _is_output(target, name):
        return
    if not is_sure and fact == "in_channels" and _is_list(target, name):
        return
    if fact != "input_size" or not isinstance(value, list | tuple):
        yield value
        return
    found, calls = definition(target), _calls(target)
    named = {_last(call.func) for call in calls}
    takers = {
        _last(call.func)
        for call in calls
        for argument in (*call.args, *(k.value for k in call.keywords))
        if ast.unparse(argument) == name
    }
    shape, is_sized = [*value], bool(takers & {*_SIZED})
    if takers & {*_RECURRENT}:
        yield from shape[-1:] if len(shape) < 3 else []  # how pictures are read, the network tells
    elif "Linear" in takers:
        yield math.prod(shape) if named & {*_FLATTEN} else shape[-1]
    elif len(shape) == 1 and not is_sized:
        yield shape[0]
    if is_sized or parameter.type is not Any or _is_taken_apart(found, name):
        yield shape


def _is_output(target: str, name: str) -> bool:
    """Whether a layer returns so many values: a width that the network chooses."""
    pairs = [[*map(ast.unparse, call.args[:2])] for call in _calls(target)]
    return any(len(pair) == 2 and pair[1] == name != pair[0] for pair in pairs)


def _is_list(target: str, name: str) -> bool:
    """Whether it is one of several."""
    takers = {_last(call.func) for call in _calls(target) if name in map(ast.unparse, call.args)}
    return "len" in takers or _is_taken_apart(definition(target), name)


def _calls(target: str) -> list[ast.Call]:
    found = definition(target)
    return [node for node in ast.walk(found.node) if isinstance(node, ast.Call)] if found else []


def _last(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def _is_taken_apart(found: Definition | None, name: str) -> bool:
    """Whether a name is subscripted, starred, iterated over or unpacked."""
    for inner in ast.walk(found.node) if found else ():
        match inner:
            case ast.Subscript(value=ast.Name(id=used)) | ast.Starred(value=ast.Name(id=used)):
                pass
            case ast.Assign(targets=[ast.Tuple()], value=ast.Name(id=used)):
                pass
            case ast.For(iter=ast.Name(id=used)) | ast.comprehension(iter=ast.Name(id=used)):
                pass
            case _:
                continue
        if used == name:
            return True
    return False
