"""The files of a tokenizer: what they say becomes the arguments of ``Tokenizer``, and back.

A folder holds one of three sets; the first that is there counts:

    tokenizer.json              all in one file, as transformers writes it since 5
    vocab.json, merges.txt      Hugging Face's older layout, the one that is written here
    encoder.json, vocab.bpe     OpenAI's

and beside it tokenizer_config.json, before transformers 4.34 also special_tokens_map.json and added_tokens.json, and
the model's config.json. A folder gives the ids that transformers gives; what would change them and is no part of GPT-2
(another model, a normalizer, another way to cut the text, ...) is refused by the name of the file and of the field.
"""

import json
import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from minigpt2.storage import files
from minigpt2.vocabulary import END_OF_TEXT, MergeError

WHOLE_FILE = "tokenizer.json"
VOCABULARY_FILES = ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")  # Hugging Face's, OpenAI's
CONFIG_FILE = "tokenizer_config.json"
MAP_FILE, ADDED_FILE = "special_tokens_map.json", "added_tokens.json"  # older

GPT2_CLASSES = "GPT2Tokenizer", "GPT2TokenizerFast"
OTHER_CLASSES = "TokenizersBackend", "PreTrainedTokenizerFast"  # which do what tokenizer.json says, and no more
# The kinds of model in config.json for which transformers takes GPT2Tokenizer where no class is named; one is ours.
GPT2_TYPES = "gpt2", "minigpt2", "gpt_neo", "gptj", "codegen", "opt"
ROLES = "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"
DEFAULT_ROLES = dict.fromkeys(ROLES[:3], END_OF_TEXT)  # of GPT2Tokenizer

# Fields, with the values that change no id. The other fields of a model (unk_token, fuse_unk, byte_fallback) speak of
# bytes that have no token, and a text with one is refused; "truncation" and "padding" are for batches.
MODEL_FIELDS = {
    "dropout": (None, 0), "continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, ""),
    "ignore_merges": (None, False),
}  # fmt: skip
CONFIG_FIELDS = {
    "add_eos_token": (None, False), "split_special_tokens": (None, False), "fast_tokenizer_files": (None, []),
    "init_inputs": (None, []), "vocab": (None,), "merges": (None,),
}  # fmt: skip
ADDED_FIELDS = {"single_word": (None, False), "lstrip": (None, False), "rstrip": (None, False)}


@dataclass(frozen=True)
class AddedToken:
    """A token that is looked for in a text before it is cut into pieces.

    where: the file and the field that name it, for messages; None where only ``DEFAULT_ROLES`` does
    id: None where the files do not say
    normalized: whether it is looked for only between those that are not
    """

    text: str
    where: str | None
    id: int | None = None
    special: bool = True
    normalized: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """What a set of files says by itself.

    path: of the file with the vocabulary; place: the place of a merge, from its rank; both for messages
    added: list of AddedToken
    add_prefix_space, bos_token: the latter is put before each text; None where the files do not say
    """

    path: Path
    vocab: dict
    merges: list
    place: Callable
    added: tuple = ()
    add_prefix_space: bool | None = None
    bos_token: str | None = None


# ---------------------------------------------------------------------------------------------------- a folder


def read_config(folder):
    """The content of a folder's tokenizer_config.json as a dict, empty where there is no such file."""
    return _read_if_there(folder / CONFIG_FILE)


def read_tokenizer(folder, config, make):
    """Make a tokenizer from the files in a folder.

    folder: Path
    config: from ``read_config``
    make:   makes the tokenizer from the arguments of ``Tokenizer``
    raises: FileNotFoundError when a file is missing; ValueError, naming the file, when one is malformed, asks for what
        GPT-2's tokenizer does not do, or holds what ``make`` refuses.
    """
    for field, harmless in CONFIG_FIELDS.items():
        _expect(folder / CONFIG_FILE, field, config.get(field), harmless)
    is_gpt2 = _class_is_gpt2(folder, config)
    whole = os.path.lexists(folder / WHOLE_FILE)
    found = read_whole(folder / WHOLE_FILE) if whole else read_pair(folder)
    tokens, roles = read_added_tokens(folder, config, found.added, DEFAULT_ROLES if is_gpt2 or not whole else {})
    ids = number(tokens, found.vocab, found.path)
    tokens = sorted((token for token in tokens if token.text in ids), key=lambda token: ids[token.text])
    roles = {role: text for role, text in roles.items() if text in ids}
    vocab = found.vocab | ids
    eos_ids = _ids_of_end(folder, vocab)
    starts = _starts(folder, config, found, is_gpt2, roles) if whole else _starts_by_config(folder, config, roles)
    try:
        return make(
            vocab, found.merges, [token.text for token in tokens if token.special],
            added_tokens=[token.text for token in tokens if not token.special],
            late_tokens=[token.text for token in tokens if token.normalized],
            roles=roles, eos_ids=eos_ids, **starts,
        )  # fmt: skip
    except MergeError as error:
        raise ValueError(f"{found.place(error.rank)}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{found.path}: {error}") from None


def _class_is_gpt2(folder, config):
    """Whether transformers reads the folder as GPT2Tokenizer; ValueError where it would take one with other rules."""
    model_config = _read_if_there(folder / "config.json")
    for path, values in ((folder / CONFIG_FILE, config), (folder / "config.json", model_config)):
        if (name := values.get("tokenizer_class")) is not None:
            _expect(path, "tokenizer_class", name, (*GPT2_CLASSES, *OTHER_CLASSES))
            return name in GPT2_CLASSES
    kind = model_config.get("model_type", GPT2_TYPES[0])
    if kind not in GPT2_TYPES:
        raise ValueError(f'{folder / "config.json"}: "model_type" is {reprlib.repr(kind)}, whose tokenizer may have '
                         f'other rules; where it is GPT-2\'s, name it in {CONFIG_FILE}: "tokenizer_class": '
                         f'"{GPT2_CLASSES[0]}"')
    return "model_type" in model_config


def _starts_by_config(folder, config, roles):
    """What is put before a text, as tokenizer_config.json says."""
    for field in ("add_prefix_space", "add_bos_token"):
        _expect(folder / CONFIG_FILE, field, config.get(field), (None, True, False))
    if config.get("add_bos_token") and "bos_token" not in roles and config.get("bos_token", END_OF_TEXT) is not None:
        raise ValueError(f'{folder / CONFIG_FILE}: "add_bos_token" is true, but no "bos_token" is named, and '
                         f"{END_OF_TEXT} is not in the vocabulary")
    return {
        "add_prefix_space": bool(config.get("add_prefix_space")),
        "add_bos_token": bool(config.get("add_bos_token")) and "bos_token" in roles,
    }


def _starts(folder, config, found, is_gpt2, roles):
    """What is put before a text, as tokenizer.json says; ValueError where tokenizer_config.json contradicts it."""
    flags = {"add_prefix_space": found.add_prefix_space, "add_bos_token": found.bos_token is not None}
    for field, flag in flags.items():
        if (other := config.get(field)) is not None and other != flag:
            raise ValueError(
                f'{folder / CONFIG_FILE}: "{field}" is {reprlib.repr(other)}, but {WHOLE_FILE} says {flag}; make them '
                f"agree"
            )
    if found.add_prefix_space and is_gpt2 and config.get("add_prefix_space") is None:
        raise ValueError(f'{found.path}: "pre_tokenizer.add_prefix_space" is true, which GPT2Tokenizer heeds only '
                         f'where {CONFIG_FILE} says so too; set "add_prefix_space" there, to true if the model was '
                         f"trained so")
    if found.bos_token not in (None, roles.get("bos_token")):
        raise ValueError(f'{found.path}: "post_processor" begins a text with {reprlib.repr(found.bos_token)}, but the '
                         f'"bos_token" is {reprlib.repr(roles.get("bos_token"))}; make them agree')
    return flags


def _ids_of_end(folder, vocab):
    """The ids of the tokens that end a text, by the model's own configuration; those of the vocabulary count."""
    for name in ("generation_config.json", "config.json"):
        ids = _read_if_there(folder / name).get("eos_token_id")
        if ids is None:
            continue
        ids = ids if isinstance(ids, list) else [ids]
        for i in ids:
            if isinstance(i, bool) or not isinstance(i, int):
                raise _wrong(folder / name, "eos_token_id", i, "an id or a list of ids")
        known = set(ids).intersection(i for i in vocab.values() if isinstance(i, int))
        return [i for i in ids if i in known]
    return []


# ---------------------------------------------------------------------------------------------------- vocabularies


def read_pair(folder):
    """The Vocabulary in vocab.json and merges.txt, or in encoder.json and vocab.bpe.

    raises: FileNotFoundError when neither pair is there; ValueError as ``read_merges``.
    """
    for vocab_name, merges_name in VOCABULARY_FILES:
        vocab_file, merges_file = folder / vocab_name, folder / merges_name
        if os.path.lexists(vocab_file) and os.path.lexists(merges_file):
            break
    else:
        pairs = ", or ".join(" and ".join(names) for names in VOCABULARY_FILES)
        raise FileNotFoundError(f"{folder} holds no tokenizer: expected {pairs}, or {WHOLE_FILE}")
    merges, first_line = read_merges(merges_file)
    return Vocabulary(
        vocab_file, files.read_json(vocab_file), merges, lambda rank: f"{merges_file}, line {first_line + rank}"
    )


def read_merges(path):
    """The merges in the file ``path``: each on a line "left right", after an optional line "#version: 0.2".

    returns the list of pairs, and the number of the line that holds the first.
    raises: FileNotFoundError; ValueError, naming the line, when it is not two tokens with a space between them.
    """
    lines = files.read_text(path).rstrip("\n").split("\n")
    first_line = 2 if lines[0].startswith("#version") or lines == [""] else 1
    pairs = [tuple(line.split(" ", 2)) for line in lines[first_line - 1 :]]
    for n, pair in enumerate(pairs, first_line):
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}, line {n}: expected two tokens with a space between, "
                             f"got {reprlib.repr(lines[n - 1])}")
    return pairs, first_line


def read_whole(path):
    """The Vocabulary in a tokenizer.json.

    raises: ValueError, naming file and field, where it is not that of a byte-level BPE that works as GPT-2's.
    """
    whole = files.read_json(path)
    model = _dict(path, "model", whole.get("model"))
    _expect(path, "model.type", model.get("type", "BPE" if "merges" in model else None), ("BPE",))  # old: no "type"
    for field, harmless in MODEL_FIELDS.items():
        _expect(path, f"model.{field}", model.get(field), harmless)
    _expect(path, "normalizer", whole.get("normalizer"), (None,))
    cut = _dict(path, "pre_tokenizer", whole.get("pre_tokenizer"))
    _expect(path, "pre_tokenizer.type", cut.get("type"), ("ByteLevel",))
    _expect(path, "pre_tokenizer.use_regex", cut.get("use_regex", True), (True,))
    _expect(path, "pre_tokenizer.add_prefix_space", cut.get("add_prefix_space"), (True, False))
    if whole.get("decoder") is not None:
        _expect(path, "decoder.type", _dict(path, "decoder", whole["decoder"]).get("type"), ("ByteLevel",))
    added = whole.get("added_tokens")
    if not isinstance(added, list | None):
        raise _wrong(path, "added_tokens", added, "a list")
    return Vocabulary(
        path, _dict(path, "model.vocab", model.get("vocab")), _merges_of_whole(path, model.get("merges")),
        place=lambda rank: path,
        added=[_added_token(entry, path, "added_tokens", _id(path, "added_tokens", entry)) for entry in added or []],
        add_prefix_space=cut["add_prefix_space"], bos_token=_bos_of_whole(path, whole.get("post_processor")),
    )  # fmt: skip


def _merges_of_whole(path, merges):
    """Pairs of tokens, from texts "left right" as before tokenizers 0.20, or from pairs as since."""
    if not isinstance(merges, list):
        raise _wrong(path, "model.merges", merges, "a list")
    pairs = [tuple(merge.split(" ", 2)) if isinstance(merge, str) else merge for merge in merges]
    for n, pair in enumerate(pairs):
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(x, str) and x for x in pair)):
            raise _wrong(path, "model.merges", merges[n], f"two tokens as merge {n + 1}")
    return pairs


def _bos_of_whole(path, processor):
    """The token that a post-processor puts before a text, None where it adds nothing."""
    if processor is None:
        return None
    kind = _dict(path, "post_processor", processor).get("type")
    _expect(path, "post_processor.type", kind, ("ByteLevel", "TemplateProcessing"))
    if kind == "ByteLevel":
        return None
    template = processor.get("single")
    try:
        *before, text = template
        if text["Sequence"]["id"] == "A" and len(before) <= 1:
            return before[0]["SpecialToken"]["id"] if before else None
    except (TypeError, KeyError, ValueError, IndexError):
        pass
    raise _wrong(path, "post_processor.single", template, "the text, after at most one token")


# ---------------------------------------------------------------------------------------------------- added tokens


def read_added_tokens(folder, config, added, defaults):
    """All added tokens, special or not, in the order in which transformers numbers them.

    added: list of AddedToken, from tokenizer.json
    defaults: {role: token}, for roles that the files leave open
    returns list of AddedToken, and {role: token}
    raises: ValueError, naming file and field.
    """
    said = _sort_extra({field: (folder / CONFIG_FILE, field, value) for field, value in config.items()})
    if "added_tokens_decoder" in said:
        listed = _listed_tokens(folder / CONFIG_FILE, config["added_tokens_decoder"])
        named, extra = _named_tokens(said, defaults)
        _check_map(folder / MAP_FILE, named, {token.text for token in (*listed, *extra)})
    else:
        listed = []
        named, extra = _named_tokens(_with_map(said, folder / MAP_FILE), defaults)
    special = [*extra, *(token for role, token in named.items() if role in ROLES)]
    listed += _older_tokens(folder / ADDED_FILE, {token.text for token in special})

    tokens = {}
    for token in (*added, *listed):
        if (before := tokens.setdefault(token.text, token)).id != token.id:
            raise ValueError(f"{token.where}: {reprlib.repr(token.text)} has the id {reprlib.repr(token.id)}, but "
                             f"{reprlib.repr(before.id)} in {before.where}")
        tokens[token.text] = token
    elsewhere = {token.text for token in (*listed, *named.values(), *extra)}
    if "added_tokens_decoder" in said and (only := [token for token in added if token.text not in elsewhere]):
        raise ValueError(f'{folder / CONFIG_FILE}: "added_tokens_decoder" lacks {reprlib.repr(only[0].text)}, which is '
                         f'one of the "added_tokens" in {WHOLE_FILE}; make them agree')
    for token in named.values():
        before = tokens.get(token.text, token)
        tokens[token.text] = replace(before, special=True, where=before.where or token.where)
    for token in extra:
        tokens.setdefault(token.text, token)
    return list(tokens.values()), {role: token.text for role, token in named.items()}


def _with_map(said, path):
    """The fields of tokenizer_config.json, overridden by those of the older special_tokens_map.json."""
    said = dict(said)
    for field, value in _read_if_there(path).items():
        if field == "extra_special_tokens" and isinstance(value, list) and field in said:
            value = [*(said[field][2] or []), *value]
        if field not in ROLES and field.endswith("_token") and field in said and said[field][2] != value:
            raise _wrong(path, field, value, f"{reprlib.repr(said[field][2])} as in {CONFIG_FILE}")
        said[field] = (path, field, value)
    return _sort_extra(said)


def _check_map(path, named, others):
    """ValueError where special_tokens_map.json contradicts tokenizer_config.json: transformers reads one of them.

    named: {role: AddedToken}; others: the texts of all other added tokens
    """
    in_map, extra = _named_tokens(_with_map({}, path), {})
    for role, token in in_map.items():
        if role not in named or named[role].text != token.text:
            raise ValueError(f"{token.where} is {reprlib.repr(token.text)}, but {CONFIG_FILE} says "
                             f"{reprlib.repr(named[role].text) if role in named else 'nothing'}; make them agree")
    for token in extra:
        if token.text not in others:
            raise ValueError(f"{token.where} has {reprlib.repr(token.text)}, but {CONFIG_FILE} not; make them agree")


def _sort_extra(said):
    """Give special tokens beyond ``ROLES`` the fields that they have in transformers 5: extra ones, and other roles."""
    extra, additional, roles = "extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens"
    if additional in said and not said.get(extra, (None, None, None))[2]:
        said[extra] = said.pop(additional)
    path, _, others = said.pop(roles, (None, None, None))
    return said | {role: (path, role, token) for role, token in _dict(path, roles, others or {}).items()}


def _named_tokens(said, defaults):
    """The tokens in the fields whose names end in _token, as {role: AddedToken}, and the list of extra ones.

    said: {field: (path, the field's name there, value)}; null takes a default away
    """
    named = {}
    for role in (*ROLES, *(field for field in said if field.endswith("_token") and field not in ROLES)):
        if role not in said and role in defaults:
            named[role] = AddedToken(defaults[role], where=None)
        path, _, value = said.get(role, (None, None, None))
        # add_bos_token is a flag, and a dict may be anything
        token = isinstance(value, str) or (isinstance(value, dict) and ("__type" in value or path.name == MAP_FILE))
        if value is not None and (role in ROLES or token):
            named[role] = _added_token(value, path, role)

    path, field, extra = said.get("extra_special_tokens", (None, None, None))
    if not isinstance(extra, list | None):
        raise _wrong(path, field, extra, "a list of tokens")
    return named, [_added_token(value, path, field) for value in extra or []]


def _listed_tokens(path, entries):
    """The AddedToken of each entry of an "added_tokens_decoder" {id: token}, in the order of the ids."""
    field, tokens = "added_tokens_decoder", []
    for i, entry in _dict(path, field, entries).items():
        if not isinstance(entry, dict):
            raise _wrong(path, field, entry, 'an entry {"content": "token", "special": true}')
        tokens.append(_added_token(entry, path, field, _id(path, field, {"id": i})))
    return sorted(tokens, key=lambda token: token.id)


def _older_tokens(path, special):
    """The AddedToken of each entry of an added_tokens.json {token: id}, in the order of the ids."""
    tokens = []
    for text, i in _read_if_there(path).items():
        i = _id(path, reprlib.repr(text)[1:-1], {"id": i})
        tokens.append(replace(_added_token({"content": text, "special": text in special}, path, text), id=i))
    return sorted(tokens, key=lambda token: token.id)


def _added_token(value, path, field, i=None):
    """The AddedToken that a text or a dict describes; ValueError where it asks for more than its text."""
    entry = {"content": value, "special": True} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str) or not entry["content"]:
        raise _wrong(path, field, value, 'a text, or a text as "content"')
    text = entry["content"]
    for flag, harmless in ADDED_FIELDS.items():
        _expect(path, f"{field}: {reprlib.repr(text)}: {flag}", entry.get(flag), harmless)
    special = entry.get("special", i is None)  # what a role is given to is special
    normalized = entry.get("normalized", not special)
    for flag in (special, normalized):
        _expect(path, f"{field}: {reprlib.repr(text)}: special or normalized", flag, (True, False))
    return AddedToken(text, f'{path}: "{field}"', i, special, normalized)


def _id(path, field, entry):
    """The id of an entry, an integer or the text of one."""
    i = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(i, str) and i.isascii() and i.isdecimal() and len(i) < 20:
        i = int(i)
    if isinstance(i, bool) or not isinstance(i, int) or i < 0:
        raise _wrong(path, field, i if isinstance(entry, dict) else entry, "an id, 0 or more")
    return i


def number(tokens, vocab, path):
    """{token: id} of added tokens: the id in the vocabulary, else the next, counted on from the vocabulary's size.

    <|endoftext|>, where the files neither hold nor name it, gets none: a model has no row for it. Where the ids have
    holes, so that tokens of the vocabulary lie beyond its size, the tokens that a tokenizer.json adds are refused: it
    depends on the order of all others, and on transformers' version, how they are numbered.

    path: of the vocabulary, for messages
    raises: ValueError, naming file and field, where the files say something else.
    """
    ids, last, highest, unsaid = {}, len(vocab) - 1, 0, False
    for token in tokens:
        text, known = reprlib.repr(token.text), token.text in vocab
        i = vocab.get(token.text, last + 1)
        if isinstance(i, bool) or not isinstance(i, int):
            raise ValueError(f"{path}: the id of {text} must be an integer, 0 or more, got {reprlib.repr(i)}")
        if not known and token.where is None:
            unsaid = True
            continue
        if not known and token.id is None and unsaid:
            raise ValueError(f"{token.where}: {text} is not in the vocabulary, and neither is {END_OF_TEXT}, the "
                             f"default of bos_token, eos_token and unk_token, so that it is not certain which id is "
                             f"whose; name all three in {CONFIG_FILE}, or set them to null")
        if not known and highest > last and path.name == WHOLE_FILE:
            raise ValueError(f"{token.where}: {text} is not in the vocabulary, whose ids have holes (there are "
                             f"{len(vocab):,}, up to {highest:,}), so that it is not certain which id it has; add it "
                             f'to "model.vocab", with its id')
        if token.id not in (None, i):
            why = "as in the vocabulary" if known else "the next, counted on from the size of the vocabulary"
            raise ValueError(f"{token.where}: {text} has the id {reprlib.repr(token.id)}, expected {i}, {why}")
        ids[token.text] = i
        last, highest = (last, max(highest, i)) if known else (i, highest)
    return ids


# ---------------------------------------------------------------------------------------------------- writing


def write_tokenizer(folder, tokenizer):
    """Write vocab.json, merges.txt and tokenizer_config.json, which transformers can read too.

    folder: made if it is not there; an older tokenizer.json in it is removed, as it would be read instead
    """
    vocab, special = tokenizer.vocab, set(tokenizer.special_tokens)
    tokens = sorted((*tokenizer.special_tokens, *tokenizer.added_tokens), key=vocab.get)
    late = set(tokenizer.late_tokens)
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": tokenizer.add_prefix_space,
        **({"add_bos_token": True} if tokenizer.add_bos_token else {}),
        "added_tokens_decoder": {
            str(vocab[token]): {"content": token, "special": token in special}
            | ({"normalized": token in late} if (token in late) == (token in special) else {})
            for token in tokens
        },
        **dict.fromkeys(DEFAULT_ROLES),  # None, as without them transformers adds <|endoftext|>
        **tokenizer.roles,
    }
    folder = files.made_folder(folder)
    files.write_json(folder / "vocab.json", vocab)
    with files.atomic_write(folder / "merges.txt", "w") as file:
        file.write("#version: 0.2\n")
        file.writelines(f"{left} {right}\n" for left, right in tokenizer.merges)
    files.write_json(folder / CONFIG_FILE, config)
    (folder / WHOLE_FILE).unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------- checks


def _read_if_there(path):
    return files.read_json(path, files.MAX_CONFIG) if os.path.lexists(path) else {}


def _expect(path, field, value, allowed):
    """ValueError unless ``value`` is one of ``allowed``."""
    if not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed):
        raise _wrong(path, field, value, " or ".join(map(json.dumps, allowed)))


def _wrong(path, field, value, expected):
    return ValueError(f'{path}: "{field}" is {reprlib.repr(value)}, expected {expected}')


def _dict(path, field, value):
    if not isinstance(value, dict):
        raise _wrong(path, field, value, "an object {...}")
    return value
