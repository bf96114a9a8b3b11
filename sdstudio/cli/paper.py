"""`sdstudio paper sam|faces|logo`: published comparisons, done again."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sdstudio.cli.flags import Command, Group, say, settings_file
from sdstudio.cli.outcomes import EXIT_OK
from sdstudio.options import add_flags, describe, given, merge
from sdstudio.papers.settings import FacesSettings, LogoSettings, SamSettings
from sdstudio.schema import from_json
from sdstudio.workspace import Workspace

Do = Callable[[Workspace, Any, Callable[[str], None]], Path]


def _command(kind: type, do: Do, help: str, example: str) -> Command:
    def configure(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
        fields = describe(kind)
        add_flags(child, fields, "settings")
        child.add_argument("--config", metavar="FILE", help="a JSON file with the settings; flags win over it")
        child.set_defaults(fields=fields)

    def run(ws: Workspace, arguments: argparse.Namespace) -> int:
        file = settings_file(arguments.config) if arguments.config else {}
        settings: Any = from_json(kind, merge(file, given(arguments, arguments.fields)))
        screen = sys.stderr if arguments.json else sys.stdout
        page = do(ws, settings, lambda text: print(text, file=screen, flush=True))
        say(arguments, {"page": str(page)}, f"Written: {page}")
        return EXIT_OK

    return Command(help=help, run=run, configure=configure, examples=example)


def _sam(ws: Workspace, settings: SamSettings, tell: Callable[[str], None]) -> Path:
    from sdstudio.papers.sam import do_study, with_data
    from sdstudio.papers.sam_page import write_page

    settings = with_data(ws, settings)
    return write_page(ws, settings, do_study(ws, settings, tell), Path(settings.out))


def _faces(ws: Workspace, settings: FacesSettings, tell: Callable[[str], None]) -> Path:
    from sdstudio.papers.faces import do_study, with_data, write_page

    settings = with_data(ws, settings)
    return write_page(ws, settings, do_study(ws, settings, tell), Path(settings.out))


def _logo(ws: Workspace, settings: LogoSettings, tell: Callable[[str], None]) -> Path:
    from sdstudio.papers.logo import do_study, with_data, write_page

    settings = with_data(ws, settings)
    return write_page(ws, settings, do_study(ws, settings, tell), Path(settings.out))


PAPER = Group(
    help="Do a published comparison again and write its page; what was done before is not done again.",
    commands={
        "sam": _command(
            SamSettings,
            _sam,
            "SAM: simple fine-tuning, LoRA, DreamBooth, SAM and SAM without each improvement.",
            "  sdstudio paper sam\n"
            "  sdstudio paper sam --seeds 1 --epochs 5 30 60\n"
            "  sdstudio paper sam --base-model stable-diffusion-v1-5/stable-diffusion-v1-5 --dataset mine \\\n"
            "    --trigger asim --reference mine-heldout --prompts '{trigger}, a man on a horse' --batch-size 1 \\\n"
            "    --steps 50 --guidance-scale 7.5 --extractor openai/clip-vit-large-patch14",
        ),
        "faces": _command(
            FacesSettings,
            _faces,
            "Faces: eight DreamBooth runs by learning rate and steps, with LPIPS and FID.",
            "  sdstudio paper faces\n  sdstudio paper faces --steps-share 1 --seeds 3",
        ),
        "logo": _command(
            LogoSettings,
            _logo,
            "A logo: DreamBooth, LoRA and textual inversion, with a detector and OCR.",
            "  sdstudio paper logo\n  sdstudio paper logo --epochs 5 10 21 --seeds 3",
        ),
    },
)
