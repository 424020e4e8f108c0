"""Datasets, one file each, and `DInterface`, which loads any of them."""

from data.data_interface import DInterface

__all__ = ["DInterface"]
