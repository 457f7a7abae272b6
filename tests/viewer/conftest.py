"""Qt without a screen, where no other is asked for."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
