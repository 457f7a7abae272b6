"""What the processor can do."""

from cython.cimports.caraway.codecs.kernels.shim import is_x86_64_v3, is_x86_64_v4


def level() -> str:
    """The best build of the kernels that this processor runs."""
    return "v4" if is_x86_64_v4() else "v3" if is_x86_64_v3() else "baseline"
