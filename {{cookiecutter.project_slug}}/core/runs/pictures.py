"""Pictures as files hold them, and many of them in one."""

import io
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from core.errors import UsageError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by number of colours
_MOST = 64  # pictures in one
_SEEN = 64  # pixels that are enough to be seen
_SHAPES = "expected (H, W), (C, H, W) or (B, C, H, W) with 1, 3 or 4 colours C"


def is_figure(value: Any) -> bool:
    """Whether it is matplotlib's; nobody has one who has not imported that."""
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def picture_of(value: Any, notes: set[str]) -> Image.Image:
    """A picture of whatever is one, see `core.runs.shown.show`.

    Args:
        value: A picture, a figure, several pictures.
        notes: Gets what is to be told of it.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, Image.Image):
        return value if value.mode in _MODES.values() else value.convert("RGB")
    if is_figure(value):
        return _drawn(value)
    if isinstance(value, list | tuple) and value:
        return grid([picture_of(one, notes) for one in value[:_MOST]])
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        pixels = (value.float() if value.is_floating_point() else value).numpy()
    elif isinstance(value, np.ndarray):
        pixels = _channels_first(value)
    else:
        kinds = "a picture, a matplotlib figure, a text, or (N,) for a histogram"
        raise UsageError(f"a {type(value).__name__} can't be shown; expected {kinds}")
    if pixels.ndim == 4 and len(pixels):
        colours = _colours(_bytes(pixels[:_MOST], notes))
        return grid([Image.fromarray(one) for one in colours])
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3:
        raise UsageError(f"its shape is {pixels.shape}; {_SHAPES}, or (N,) for a histogram")
    return Image.fromarray(_colours(_bytes(pixels, notes)[None])[0])


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    """An array with its colours first, as those of tensors are: of one that may have them last.

    Raises:
        UsageError: Both would fit.
    """
    if pixels.ndim not in (3, 4):
        return pixels
    first, last = (pixels.shape[axis] in _MODES for axis in (-3, -1))
    if first and last:
        hint = "give a tensor, whose first axis is that of colours: torch.from_numpy(array)"
        raise UsageError(f"the colours of an array {pixels.shape} may be first or last; {hint}")
    return np.moveaxis(pixels, -1, -3) if last else pixels


def _bytes(pixels: np.ndarray, notes: set[str]) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind != "f":
        raise UsageError(f"its values are {pixels.dtype}; expected floats in [0, 1], bytes or bool")
    if not np.isfinite(pixels).all():
        notes.add("values that are not finite are black")
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 1):
        notes.add(f"values of {pixels.min():.3g} to {pixels.max():.3g} are cut to [0, 1]")
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)


def _colours(pixels: np.ndarray) -> np.ndarray:
    """(B, C, H, W) as PIL takes them: (B, H, W, C), or (B, H, W) of one colour."""
    if pixels.shape[1] not in _MODES or not pixels.size:
        hint = "; a batch of grey pictures is (B, 1, H, W)" if len(pixels) == 1 else ""
        raise UsageError(f"its shape ends in {pixels.shape[1:]}; {_SHAPES}{hint}")
    return pixels[:, 0] if pixels.shape[1] == 1 else np.moveaxis(pixels, 1, -1)


def _drawn(figure: Any) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # it would keep each
    return Image.open(file).convert("RGB")


def grid(
    pictures: Sequence[Image.Image],
    columns: int | None = None,
    captions: Sequence[str] = (),
    size: int = 0,
) -> Image.Image:
    """Several pictures in one, row by row.

    Args:
        pictures: They may be of several sizes.
        columns: How many are side by side; by default so many that it is about a square.
        captions: What stands below each, if anything does; lines of a text are set below another.
        size: The longer side of each, in pixels, to which it is enlarged or made smaller; 0 to keep
            them, but for tiny ones, which are all enlarged by as much.
    """
    times = max(1, _SEEN // max(max(picture.size) for picture in pictures))
    if size or times > 1:
        pictures = [_resized(picture, size or times * max(picture.size)) for picture in pictures]
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    lines, font = max([text.count("\n") + 1 for text in captions if text] or [0]), None
    gap, text_height = (10, 17) if captions else (2, 0)
    if captions:
        font = ImageFont.load_default(14)
        width = max(width, *(round(font.getlength(t)) for c in captions for t in c.split("\n")))
    step = width + gap, height + gap + lines * text_height
    rows = math.ceil(len(pictures) / columns)
    whole = Image.new("RGB", (columns * step[0] + gap, rows * step[1] + gap), "white")
    draw = ImageDraw.Draw(whole)
    for number, picture in enumerate(pictures):
        left, top = gap + number % columns * step[0], gap + number // columns * step[1]
        whole.paste(picture, (left + (width - picture.width) // 2, top))
        if number < len(captions):
            place = left + width // 2, top + height + 2
            draw.multiline_text(place, captions[number], "black", font, "ma", align="center")
    return whole


def _resized(picture: Image.Image, size: int) -> Image.Image:
    """Enlarged with its pixels to be seen, or made smaller smoothly."""
    scale = size / max(picture.size)
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), how)
