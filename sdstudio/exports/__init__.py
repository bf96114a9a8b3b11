"""What was learned, in the forms that other programs read. One file is one form."""

import shutil
from pathlib import Path

from sdstudio import registry
from sdstudio.models import damage, resolve_checkpoint
from sdstudio.schema import Export, UserError
from sdstudio.workspace import Workspace, typed_path


def formats() -> dict[str, Export]:
    """The forms by name."""
    return dict(registry.load("sdstudio.exports"))


def formats_for(checkpoint: Path) -> list[Export]:
    """The forms that a checkpoint folder can take."""
    return [form for form in formats().values() if not form.refuse(checkpoint)]


def form_for(checkpoint: Path, name: str) -> Export:
    """The form of this name; a UserError when there is none, or the checkpoint is damaged or cannot take it."""
    form: Export = registry.find("sdstudio.exports", "export", name)
    fault = damage(checkpoint)
    if fault:
        raise UserError(f"The checkpoint {checkpoint} is damaged ({fault}): choose an earlier one.")
    reason = form.refuse(checkpoint)
    if reason:
        raise UserError(reason)
    return form


def export_checkpoint(ws: Workspace, checkpoint: str, format: str, target: Path, *, metadata: bool = True) -> Path:
    """Write the checkpoint (a folder, or a run's id for its newest) in `format` to `target`, whole or not at all.

    A file's suffix is added where it lacks. `metadata` False leaves settings and trigger words out of a file. Returns
    the path written. Raises UserError when the checkpoint is missing or damaged, does not fit the form, `target`
    exists, or the disk does not take it.
    """
    folder = resolve_checkpoint(ws, checkpoint)
    form = form_for(folder, format)
    target = typed_path(str(target))
    target = target if target.name.endswith(form.suffix) else target.with_name(target.name + form.suffix)
    if target.exists():
        raise UserError(f"{target} is there already: give another name, or move it away.")
    temporary = target.with_name(f".{target.name}.writing")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        form.write(ws, folder, temporary, metadata)
        temporary.rename(target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}): free some space or choose another place."
        ) from error
    finally:
        _remove(temporary)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
