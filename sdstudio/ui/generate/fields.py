"""The fields that say what to draw and with what: models with their strengths, the prompt, the negative prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import streamlit as st

from sdstudio.methods.textual_inversion import RECORD as TEXTUAL_INVERSION
from sdstudio.models import FoundCheckpoint, check_family, list_checkpoints
from sdstudio.prompts import compose, count_tokens, parse
from sdstudio.schema import Extra, ModelRef, UserError
from sdstudio.training.readiness import local_folder, tokenizer_of
from sdstudio.ui.models import models_to_ask
from sdstudio.ui.session import in_address, put_in_address
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

KEY = "generate"
PROMPT, NEGATIVE, MODELS, EXTRAS = f"{KEY}.prompts", f"{KEY}.settings.negative_prompt", f"{KEY}.models", f"{KEY}.extras"
PRESETS = {
    "Flaws": "blurry, low quality, jpeg artifacts, watermark, text",
    "Anatomy": "deformed face, crossed eyes, extra fingers, bad hands",
    "Flat art": "photo, photorealistic, 3d render, grain",
}
"""Negative prompts that people often want, by a word for each."""


def choose_models(workspace: Workspace) -> list[ModelRef]:
    """The models to ask: each chosen one with its strength, and what is put on all of them."""
    models, found = models_to_ask(workspace), {item.ref: item for item in list_checkpoints(workspace)}
    _offer(list(models))
    say_gone(MODELS, models)
    chosen = st.multiselect(
        "Models", list(models), format_func=lambda ref: models[ref].label, key=MODELS, persist_state="session"
    )
    if not chosen:
        show_problem("Choose a model to ask.")
    extras = _extras(workspace, models, found, chosen)
    return [replace(models[ref], weight=_strength(ref, found), extras=extras) for ref in chosen]


def _offer(refs: Sequence[str]) -> None:
    """The base model and the newest trained one until the person, or the page of a run, chooses others."""
    wanted = in_address("model")
    newest = next((ref for ref in refs if ref.startswith("runs/")), "")
    if wanted in refs or MODELS not in st.session_state:
        trained = wanted if wanted in refs else newest
        st.session_state[MODELS] = [ref for ref in (refs[0], trained) if ref]
        put_in_address("model", "")


def _extras(
    workspace: Workspace,
    models: Mapping[str, ModelRef],
    found: Mapping[str, FoundCheckpoint],
    chosen: Sequence[str],
) -> list[Extra]:
    """Further checkpoints with their strengths, and those of the chosen models, folded away."""
    trained = [ref for ref in found if ref not in chosen]
    gone = set(st.session_state.get(EXTRAS, [])) - set(trained)
    if gone:
        st.session_state[EXTRAS] = [ref for ref in st.session_state[EXTRAS] if ref not in gone]
    if not found:
        return []
    with st.expander("Strengths, further LoRAs and words", icon=":material/layers:"):
        added = st.multiselect(
            "Put on every model",
            trained,
            format_func=lambda ref: models[ref].label,
            key=EXTRAS,
            persist_state="session",
            help="What other runs learned on the same base model: LoRAs, words of textual inversion, layers.",
        )
        _check_families(workspace, [models[ref] for ref in chosen], added)
        weighed = [ref for ref in (*chosen, *added) if ref in found and _has_strength(found[ref])]
        if weighed:
            with st.grid(columns="auto", min_column_width=190, vertical_alignment="bottom"):
                for ref in weighed:
                    st.number_input(
                        f"Strength of {literal(models[ref].label)}",
                        min_value=-2.0,
                        max_value=2.0,
                        step=0.05,
                        value=None if _strength_key(ref) in st.session_state else 1.0,
                        key=_strength_key(ref),
                        persist_state="session",
                    )
    return [Extra(checkpoint=ref, weight=_strength(ref, found)) for ref in added]


def _check_families(workspace: Workspace, chosen: Sequence[ModelRef], added: Sequence[str]) -> None:
    for model in chosen:
        try:
            check_family(workspace, replace(model, extras=[Extra(checkpoint=ref) for ref in added]))
        except UserError as error:
            show_problem(str(error))


def _has_strength(found: FoundCheckpoint) -> bool:
    return found.checkpoint.method != TEXTUAL_INVERSION.name


def _strength_key(ref: str) -> str:
    return f"{KEY}.weight.{ref}"


def _strength(ref: str, found: Mapping[str, FoundCheckpoint]) -> float:
    has_one = ref in found and _has_strength(found[ref])
    value = st.session_state.get(_strength_key(ref), 1.0) if has_one else 1.0
    return 1.0 if value is None else float(value)


def prompt_field(workspace: Workspace, models: Sequence[ModelRef]) -> list[str]:
    """The prompts, a line each; without any one empty prompt, which draws what the model likes."""
    text = st.text_area(
        "Prompts",
        key=PROMPT,
        placeholder="a smiling woman holding a balloon on a beach at night",
        height=90,
        persist_state="session",
        help="One prompt a line; empty draws without a prompt. Every model gets every prompt with the same seeds. "
        "`(red:1.3)` calls a word louder, `[red]` softer; `BREAK` begins a new window of 77 tokens; "
        "with Composable guidance `AND` and `AND NOT` join prompts.",
    )
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    _offer_words("Words that were taught", PROMPT, text, _triggers(workspace, models))
    _say_tokens(workspace, models, prompts)
    return prompts or [""]


def negative_field(workspace: Workspace, models: Sequence[ModelRef]) -> str:
    """The negative prompt, with presets, the parts that SAM was taught, and words of textual inversion."""
    text = st.text_area(
        "Negative prompt",
        key=NEGATIVE,
        placeholder="what the picture should not show",
        height=68,
        persist_state="session",
        help="Weights and BREAK mean the same here.",
    )
    taught = _checkpoints(workspace, models)
    parts = {f"negative {part}": f"negative {part}" for item in taught for part in item.checkpoint.negative_parts}
    words = {item.checkpoint.trigger: item.checkpoint.trigger for item in taught if not _has_strength(item)}
    _offer_words("Add", NEGATIVE, text, {**parts, **words, **PRESETS})
    _say_tokens(workspace, models, [text] if text.strip() else [])
    return text.strip()


def _checkpoints(workspace: Workspace, models: Sequence[ModelRef]) -> list[FoundCheckpoint]:
    chosen = {item.checkpoint for model in models for item in model.checkpoints}
    return [item for item in list_checkpoints(workspace) if item.ref in chosen]


def _triggers(workspace: Workspace, models: Sequence[ModelRef]) -> dict[str, str]:
    return {
        item.checkpoint.trigger: item.checkpoint.trigger
        for item in _checkpoints(workspace, models)
        if item.checkpoint.trigger
    }


def _offer_words(label: str, key: str, text: str, words: Mapping[str, str]) -> None:
    """A button for each of `words`, name to text, that adds the text to the field `key`; none for what is there."""
    missing = {name: added for name, added in words.items() if added not in text}
    if not missing:
        return

    def add(added: str) -> None:
        before = st.session_state.get(key, "").rstrip(" ,\n")
        st.session_state[key] = f"{before}, {added}" if before else added

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(label, width="content")
        for name, added in missing.items():
            st.button(
                literal(name), key=f"{key}+{name}", type="tertiary", icon=":material/add:", on_click=add, args=(added,),
                help=literal(added) if added != name else None,
            )  # fmt: skip


def _say_tokens(workspace: Workspace, models: Sequence[ModelRef], prompts: Sequence[str]) -> None:
    """What is wrong with the syntax of a prompt, at its field, or how many tokens the longest one has."""
    counter = _token_counter(workspace, models)
    if not say_syntax(prompts) or counter is None or not prompts:
        return
    counting, room = counter
    used, windows = max(count_tokens(prompt, counting, room) for prompt in prompts)
    which = "The longest has " if len(prompts) > 1 else ""
    more = f", read in {windows} windows of {room}" if windows > 1 else f" of {room}"
    st.caption(f"{which}{count(used, 'token')}{more}")


def say_syntax(prompts: Sequence[str]) -> bool:
    """Say, under their field, what is wrong with the first prompt that cannot be read; True where all can."""
    for prompt in prompts:
        try:
            for part in compose(prompt):
                parse(part.prompt)
        except UserError as error:
            show_problem(f"“{prompt[:40]}”: {error}" if len(prompts) > 1 else str(error))
            return False
    return True


def _token_counter(workspace: Workspace, models: Sequence[ModelRef]) -> tuple[Callable[[str], int], int] | None:
    """How the first model's tokenizer counts, and how many tokens one window takes; None where it is not at hand."""
    try:
        folder = local_folder(workspace, models[0].base_model) if models else None
    except UserError:
        return None
    tokenizer = tokenizer_of(folder)
    if tokenizer is None:
        return None
    special = tokenizer.tokenizer.num_special_tokens_to_add(is_pair=False)

    def counted(text: str) -> int:
        return len(tokenizer.tokenizer.encode(text, add_special_tokens=False).ids)

    return counted, tokenizer.limit - special


def say_gone(key: str, models: Mapping[str, ModelRef]) -> None:
    """Say, above the picker of this key, which of the models that were chosen there have gone since."""
    chosen = st.session_state.get(key) or []
    for ref in [chosen] if isinstance(chosen, str) else chosen:
        if ref not in models:
            show_problem(f"The model {ref} is not here any more: choose another.")


def show_problem(text: str) -> None:
    """What is wrong, under the field that it is wrong with."""
    st.markdown(f":red[:material/error: {literal(text)}]")
