"""SD Studio: annotate, train, generate, evaluate."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
