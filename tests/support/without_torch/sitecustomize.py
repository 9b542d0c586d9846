"""On PYTHONPATH, this folder makes an interpreter in which PyTorch is not installed."""

import sys
from importlib.machinery import PathFinder


class _WithoutTorch(PathFinder):
    """Finds every package on the path but torch, and every distribution but torch's."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        hidden = fullname.partition(".")[0] == "torch"
        return None if hidden else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, *arguments, **options):
        found = super().find_distributions(*arguments, **options)
        return (one for one in found if one.name != "torch")


sys.meta_path[:] = [_WithoutTorch if one is PathFinder else one for one in sys.meta_path]
