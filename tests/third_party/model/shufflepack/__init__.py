from .net import ShufflePack, shufflepack_x2
from .blocks import *

__version__ = '0.0.1'
