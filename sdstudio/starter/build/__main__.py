"""Rebuild the bundled starter models from nothing.

    python -m sdstudio.starter.build                 everything, on the GPU when there is one
    python -m sdstudio.starter.build unet --scale 4  one stage, four times as long
    python -m sdstudio.starter.build --go-on         train the bundled decoder and U-Net further

Stopped and started again, it goes on where it was.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from sdstudio.starter.build import adopt, autoencoder, blip, card, clip, data, export, tokenizers, unet

STAGES = ("tokenizers", "encoder", "clip", "decoder", "blip", "unet", "export", "card")
FURTHER_STAGES = ("encoder", "decoder", "unet", "export", "card")
PICTURES, DOODLES = 40_000, 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="what to build; nothing means all, in order")
    parser.add_argument("--folder", type=Path, default=Path("build/starter"), help="where pictures and states are kept")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of steps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_argument("--go-on", action="store_true", help="begin with the bundled weights, not from nothing")
    parser.add_argument("--compile", action="store_true", help="compile the U-Net (needs a C++ compiler)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    folder, device = args.folder, torch.device(args.device)

    def steps(usual: int) -> dict[str, Any]:
        return {"steps": max(1, round(usual * args.scale)), "device": device}

    def pictures() -> data.Pictures:
        return data.training_pictures(folder, PICTURES)

    def shapes() -> data.Pictures:
        return data.doodles(folder, DOODLES)

    def words() -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(folder / "tokenizers/clip")

    def bundled(load: Callable[[], Any]) -> Any:
        return load() if args.go_on else None

    build: dict[str, Callable[[], Any]] = {
        "tokenizers": lambda: tokenizers.build(folder / "tokenizers"),
        "encoder": lambda: autoencoder.build_encoder(folder, pictures(), shapes(), bundled(adopt.autoencoder)),
        "clip": lambda: clip.build(folder, pictures(), words(), **steps(1600)).save_pretrained(folder / "clip"),
        "decoder": lambda: autoencoder.build_decoder(
            folder, pictures(), shapes(), **steps(4000), start=bundled(adopt.autoencoder)
        ),
        "blip": lambda: blip.build(folder, pictures(), **steps(1200)),
        "unet": lambda: unet.build(
            folder, pictures(), words(), **steps(9000), compiled=args.compile, start=bundled(adopt.unet)
        ),
        "export": lambda: export.build(folder),
        "card": lambda: card.build(folder),
    }
    if args.go_on:
        adopt.adopt(folder)
    for stage in args.stages or (FURTHER_STAGES if args.go_on else STAGES):
        print(f"== {stage}", flush=True)
        build[stage]()


if __name__ == "__main__":
    main()
