"""Networks, one file each, and `MInterface`, which trains any of them."""

from model.model_interface import MInterface

__all__ = ["MInterface"]
