"""poor man's mmcv registry"""


class Registry:
    def __init__(self, name):
        self.name = name
        self._module_dict = {}

    def register_module(self, name=None):
        def _register(cls):
            self._module_dict[name or cls.__name__] = cls
            return cls
        return _register

    def build(self, cfg):
        cfg = dict(cfg)
        return self._module_dict[cfg.pop('type')](**cfg)


BACKBONES = Registry('backbone')
HEADS = Registry('head')
