"""The cache of Hugging Face's libraries: what they have downloaded is not downloaded again.

A model is kept there as

    models--<owner>--<name>/refs/main                      the commit to which the name refers
    models--<owner>--<name>/snapshots/<commit>/<file>      a link to a file in ../../blobs, or on Windows the file

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import os
import re
from pathlib import Path

# The first of these that is set names the cache, or a folder that holds it.
PLACES = (
    ("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("TRANSFORMERS_CACHE", ""), ("HF_HOME", "hub"),
    ("XDG_CACHE_HOME", "huggingface/hub"),
)  # fmt: skip
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def hub_cache():
    """The folder in which Hugging Face's libraries keep models; it need not exist."""
    for variable, below in PLACES:
        if value := os.environ.get(variable):
            return Path(os.path.expandvars(value)).expanduser() / below
    return Path.home() / ".cache/huggingface/hub"


def snapshots(repository):
    """The folders of a model's files in the cache, the likeliest first.

    repository: "owner/name"; the models of the first days have no owner there, "gpt2"
    """
    names = dict.fromkeys((repository, repository.rpartition("/")[2]))
    found = (snapshot(hub_cache() / f"models--{name.replace('/', '--')}") for name in names)
    return [folder for folder in found if folder]


def snapshot(folder):
    """The folder of the files to which the name of a model refers, in its folder ``models--...`` of the cache.

    Where main refers to nothing, the newest is taken.

    returns Path, or None where the folder is something else.
    """
    if (folder / "config.json").exists():
        return None
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = ""
    if re.fullmatch(r"\w{1,100}", commit, re.ASCII) and (folder / "snapshots" / commit).is_dir():
        return folder / "snapshots" / commit
    try:
        all_of_them = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
    except OSError:
        return None
    return max(all_of_them, key=lambda path: path.stat().st_mtime, default=None)


def offline():
    """The environment variable that says not to ask the network, with its value, or None."""
    for variable in OFFLINE:
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{variable}={os.environ[variable]}"
    return None
