"""Pictures while a person waits: a thread that draws a few at a time, and says how far it is.

hub = GenerationHub(ws)
batch = hub.ask(GenerateConfig(prompts=["a cat"]))
hub.batch(batch.id).images
"""

from sdstudio.interactive.batch import ENDED, HANDFUL, Batch, pictures_asked
from sdstudio.interactive.hub import GenerationHub

__all__ = ["ENDED", "HANDFUL", "Batch", "GenerationHub", "pictures_asked"]
