"""What people call models: the names of released ones, "owner/name" on the hub, paths, and what is mistyped."""

import difflib
import os
import re
from pathlib import Path

from minigpt2.storage.checkpoint import conversion

MODELS = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
BUILT_IN = {"shakespeare": Path(__file__).parents[1] / "pretrained" / "shakespeare"}

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)  # of any model on the hub
# What begins or ends like this is a path of someone's own, and a mistyped one is nobody else's business.
OWN_FOLDERS = ("runs", "run", "models", "model", "checkpoints", "out", "output", "outputs", "results", "data", "tmp")
ADDRESS = re.compile(  # of a page on the hub; of another server only where it says owner/name
    rf"(?:https?://)?(?:www\.)?(?:huggingface|hf)\.co/(?P<name>{REPOSITORY.pattern}|{'|'.join(MODELS)})(?:[/?#]|$)"
    rf"|https?://[^/]+/(?P<other>{REPOSITORY.pattern})(?:[/?#]|$)", re.ASCII,
)  # fmt: skip
FILE_NAME = re.compile(r".*\.(bin|ckpt|json|pt|pth|safetensors|tokens|txt)")

SIZES = {  # what others call the four sizes -> what follows "gpt2"
    "small": "", "base": "", "117m": "", "124m": "", "345m": "medium", "355m": "medium", "762m": "large",
    "774m": "large", "1542m": "xl", "1558m": "xl", "15b": "xl", "s": "", "m": "medium", "med": "medium", "l": "large",
    "x": "xl", "xlarge": "xl", "extralarge": "xl",
}  # fmt: skip


def repository_of(name):
    """The name on the hub, "owner/name", of what a person calls a model; None where it can only be a path."""
    if not isinstance(name, str):
        return None
    name = MODELS.get(name, name)
    if name in MODELS.values():
        return name
    owner = name.partition("/")[0]
    own = owner in OWN_FOLDERS or Path(owner).exists() or FILE_NAME.fullmatch(name.lower()) or ADDRESS.match(name)
    return name if REPOSITORY.fullmatch(name) and not own and not re.search(r"\.\.|--", name) else None


def unknown_model(name_or_path, folder):
    """The error message for a model that is neither a folder nor a name."""
    names = [*BUILT_IN, *MODELS]
    if how := conversion(folder):
        return how
    if folder.exists():
        return f"{folder} is a file: give the folder that holds it (config.json, model.safetensors, ...)"
    if page := ADDRESS.match(str(name_or_path)):
        return f"expected a folder or a name, got an address: give {page['name'] or page['other']}"
    if isinstance(name_or_path, os.PathLike) or re.search(r"[/\\]|^[.~]", name_or_path):
        hint = did_you_mean(str(name_or_path))
        return f"there is no folder {folder}{hint}: give an existing one, or one of {', '.join(names)}"
    return (
        f"unknown model {name_or_path!r}{did_you_mean(name_or_path)}: expected one of {', '.join(names)}, owner/name "
        "of one on the hub, or a folder's path"
    )


def did_you_mean(name):
    """A hint in brackets at the model that a mistyped name seems to mean, or ""."""
    names = {_plain(known): known for known in (*BUILT_IN, *MODELS)}
    others = {f"gpt2{size}": names[f"gpt2{ours}"] for size, ours in SIZES.items()} | names
    others |= {size: names[f"gpt2{ours}"] for size, ours in SIZES.items() if size[:1].isdigit()}
    close = difflib.get_close_matches(_plain(name), others, n=1, cutoff=0.85)
    return f" (did you mean {others[close[0]]!r}?)" if close else ""


def _plain(name):
    """The letters and digits of the last part of a name."""
    return re.sub("[^a-z0-9]", "", name.rstrip("/").rpartition("/")[2].lower()).replace("gtp", "gpt")
