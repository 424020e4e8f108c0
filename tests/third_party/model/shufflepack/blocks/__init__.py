from .mixing import Mixing

__all__ = ['Mixing']
