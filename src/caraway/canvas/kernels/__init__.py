"""Compiled inner loops of drawing: see `caraway.codecs.kernels`, whose choice of a build holds here too."""

import os

from caraway.codecs.kernels import FOLDERS

__path__ = [os.path.join(__path__[0], folder) for folder in FOLDERS]
