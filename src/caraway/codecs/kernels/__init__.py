"""Compiled inner loops of the codecs (spec/kernels.md): buffers and integers, no objects, no messages.

The modules are Cython in pure-Python mode; a module of pointers does not run uncompiled. Each is built for every
processor (`baseline`) and for x86-64 processors with AVX2 and BMI (`v3`), a few also for AVX-512 (`v4`): what is
imported from here is the build for the processor of now. CARAWAY_KERNELS=baseline asks for another.
"""

import os

_HERE = __path__[0]
__path__ = [os.path.join(_HERE, "baseline")]

from caraway.codecs.kernels import cpu  # noqa: E402

LEVEL = os.environ.get("CARAWAY_KERNELS") or cpu.level()
"""Which build this process runs: "v4", "v3" or "baseline", or one of the fuzzer's."""

FOLDERS = [LEVEL, LEVEL.replace("v4", "v3")] if "v4" in LEVEL else [LEVEL]
"""Where kernels are looked for, one after the other."""

__path__ = [os.path.join(_HERE, folder) for folder in FOLDERS]
if not os.path.isdir(__path__[-1]):
    raise ImportError(f"CARAWAY_KERNELS is {LEVEL!r}: no such build; say baseline, v3 or v4")
