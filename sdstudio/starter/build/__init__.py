"""Trains the bundled tiny models from nothing: `python -m sdstudio.starter.build`."""
