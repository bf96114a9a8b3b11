"""The heavy half of the studio: batches, loss, training loop, checkpoints, sampling. Imports torch at once."""

from diffusers.utils import logging as _diffusers
from transformers.utils import logging as _transformers

for _library in (_diffusers, _transformers):
    _library.set_verbosity_error()
    _library.disable_progress_bar()
