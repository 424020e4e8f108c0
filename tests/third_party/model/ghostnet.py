# run as a script next to ghost_layers.py, hence the plain absolute import
from ghost_layers import GhostBase


class GhostNet(GhostBase):
    """constructor comes from the sibling file"""
