"""Write `sdstudio/starter/card.md` and its sample grids from what the bundled models measure now."""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open

from sdstudio.starter.build import measure
from sdstudio.starter.build.data import draw, scenes
from sdstudio.starter.captions import full_caption
from sdstudio.starter.world import Scene

STARTER = Path(__file__).parents[1]

CARD = """# The starter models

Tiny models in the formats of Stable Diffusion, CLIP and BLIP, trained from nothing on a drawn world by
`python -m sdstudio.starter.build` (seeds, steps and data are in that package). They show how the studio works without
a download; they know nothing of the real world.

| what | measured on | value |
|---|---|---|
| U-Net training | steps x batch of {batch} | {steps} |
| autoencoder round trip, world | 200 held-out pictures | {world:.1f} dB |
| autoencoder round trip, hidden style | 200 pictures of a style never trained on | {style:.1f} dB |
| CLIP retrieval, first of 100 | 100 held-out pictures | {r100:.2f} |
| CLIP retrieval, first of 1000 | 1000 held-out pictures | {r1000:.2f} |
| BLIP facts right | 500 held-out pictures | {blip:.3f} |
| BLIP facts right, unseen combinations | 200 pictures | {unseen:.3f} |
| prompted facts read back by BLIP in generated pictures | 200 prompts, CFG {guidance}, {sampling} steps | {read:.3f} |

By fact, in the generated pictures: {facts}.

![generated from held-out prompts](grid-generated.png)
Generated from held-out prompts, not chosen: seeds 0 to 39.

![the drawn world and its hidden styles](grid-world.png)
The drawn world; below it the style and the mascot that the models have never seen.
"""


def grid(pixels: np.ndarray, columns: int, scale: int = 2) -> Image.Image:
    """uint8 (N, H, W, 3) on one sheet, enlarged without smoothing."""
    side = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * (side + 2), rows * (side + 2)), (255, 255, 255))
    for i, picture in enumerate(pixels):
        enlarged = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (i % columns * (side + 2), i // columns * (side + 2)))
    return sheet


def build(folder: Path) -> None:
    from sdstudio.starter.build.unet import BATCH

    listed: list[Scene] = scenes(6, 200)
    pixels = measure.generate(listed)
    read, by_fact = measure.read_back(pixels, listed)
    with safe_open(folder / "unet.safetensors", framework="pt") as file:
        steps = file.metadata()["step"]
    text = CARD.format(
        batch=BATCH,
        steps=steps,
        world=measure.round_trip(200),
        style=measure.round_trip(200, "asim"),
        r100=measure.retrieval(100),
        r1000=measure.retrieval(1000),
        blip=measure.captions_right(500),
        unseen=measure.captions_right(200, unseen=True),
        guidance=measure.GUIDANCE,
        sampling=measure.STEPS,
        read=read,
        facts=", ".join(f"{name} {value:.2f}" for name, value in by_fact.items()),
    )
    grid(pixels[:40], 10).quantize(256).save(STARTER / "grid-generated.png", optimize=True)
    world = [draw(scenes(7, 20)), draw(scenes(7, 10, style="asim")), draw(scenes(7, 10, who="monster"))]
    grid(np.concatenate([part.pixels for part in world]), 10).save(STARTER / "grid-world.png", optimize=True)
    (STARTER / "card.md").write_text(text, encoding="utf-8")
    print(text)
    for scene in listed[:10]:
        print(full_caption(scene))
