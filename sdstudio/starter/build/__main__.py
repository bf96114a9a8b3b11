"""Rebuild the bundled starter models from nothing.

    python -m sdstudio.starter.build                 everything, on the GPU when there is one
    python -m sdstudio.starter.build unet --scale 4  one stage, four times as long

Stopped and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from sdstudio.starter.build import autoencoder, blip, card, clip, data, export, tokenizers, unet

STAGES = ("tokenizers", "encoder", "clip", "decoder", "blip", "unet", "export", "card")
PICTURES, DOODLES = 40_000, 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="what to build; nothing means all, in order")
    parser.add_argument("--folder", type=Path, default=Path("build/starter"), help="where pictures and states are kept")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of steps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_argument("--compile", action="store_true", help="compile the U-Net (needs a C++ compiler)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    folder, device = args.folder, torch.device(args.device)

    def steps(usual: int) -> int:
        return max(1, round(usual * args.scale))

    for stage in args.stages or STAGES:
        print(f"== {stage}", flush=True)
        pictures = (
            data.training_pictures(folder, PICTURES)
            if stage in ("encoder", "clip", "decoder", "blip", "unet")
            else None
        )
        shapes = data.doodles(folder, DOODLES) if stage in ("encoder", "decoder") else None
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizers/clip") if stage in ("clip", "unet") else None
        if stage == "tokenizers":
            tokenizers.build(folder / "tokenizers")
        elif stage == "encoder":
            autoencoder.build_encoder(folder, pictures, shapes)
        elif stage == "clip":
            clip.build(folder, pictures, tokenizer, steps=steps(1600), device=device).save_pretrained(folder / "clip")
        elif stage == "decoder":
            autoencoder.build_decoder(folder, pictures, shapes, steps=steps(4000), device=device)
        elif stage == "blip":
            blip.build(folder, pictures, steps=steps(2000), device=device)
        elif stage == "unet":
            unet.build(folder, pictures, tokenizer, steps=steps(12_000), device=device, compiled=args.compile)
        elif stage == "export":
            export.build(folder)
        elif stage == "card":
            card.build(folder)


if __name__ == "__main__":
    main()
