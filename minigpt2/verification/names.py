"""The names of tensors: their order of computation, and their names in other implementations."""

import re
import reprlib
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minigpt2.verification.maps import BLOCK as BLOCKS
from minigpt2.verification.maps import MAPS, expression, patterns_of

MAX_LAYERS = 10_000  # in one array
# The order of computation: a parameter comes before its output. Gradients come in reverse order.
START = ("ids", "wte.weight", "wpe.weight", "embd")
BLOCK = (
    "ln_1.weight", "ln_1.bias", "ln_1",
    "attn.c_attn.weight", "attn.c_attn.bias", "attn.q", "attn.k", "attn.v",
    "attn.scores", "attn.probs", "attn.heads", "attn.c_proj.weight", "attn.c_proj.bias", "attn.out", "resid_mid",
    "ln_2.weight", "ln_2.bias", "ln_2",
    "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.fc", "mlp.gelu",
    "mlp.c_proj.weight", "mlp.c_proj.bias", "mlp.out", "resid_post",
)  # fmt: skip
END = ("ln_f.weight", "ln_f.bias", "ln_f", "lm_head.weight", "logits", "targets", "loss")
# What stands before a name: of which step of the optimizer, and whether it is a gradient or a moment.
LEAD = re.compile(r"(?:step\.\d{1,9}\.(?:(?:grad|clipped|m|v)\.)?|grad\.)?")
WRAPPERS = re.compile(  # parts of names that compilers and wrappers put in
    r"(?<![^.])(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module)\."
)
OUTER = re.compile(  # modules around the blocks
    r"(?:(?:transformer|model|gpt|gpt2|net|network|decoder|backbone|lm|base_model|language_model|core)\.)+"
)
# Names that ``record`` gives to whatever runs: without a partner, they are nothing to wonder about.
RECORDED = re.compile(
    r".*@\d+(\..+)?|(.*\.)?input|(.*\.)?output(\.\d+)*"
    r"|(.*\.)?(softmax|log_softmax|matmul|linear|layer_norm|gelu|relu|silu|cross_entropy|nll_loss|"
    r"scaled_dot_product_attention)(\.\w+)?"
)
LINEAGE = (  # what in a name tells whose it is
    ("trf_blocks.", "LLMs-from-scratch"), (".hook_", "TransformerLens"), (".W_Q", "TransformerLens"),
    ("transformer.h.0.mlp.act", "transformers and minGPT"), ("transformer.h.", "nanoGPT"),
)  # fmt: skip


@dataclass(frozen=True)
class Translation:
    """Another implementation's tensors under our names.

    tensors: dict from our name to array, which may still be stored in another way than ours
    sources: dict from our name to their name, or the list of those it was made of
    assumed: sentences: what was taken for what
    unknown: their names that stand for nothing of ours
    """

    tensors: dict
    sources: dict
    assumed: list
    unknown: list


class _Candidate(NamedTuple):
    """A tensor that may stand for one of ours."""

    rank: tuple  # the lowest one is preferred
    sources: tuple
    tensor: np.ndarray


def translate(theirs, names="auto", ours=None):
    """Translate names, join what is in parts, and split what stands for several of our tensors.

    theirs: dict from their name to array
    names:  "auto", the map among MAPS that fits best; a key of MAPS; a dict as described in ``maps``; or a list of
        these, where later ones come first. Names that are ours already need no map.
    ours:   the trace to compare with, for its names and shapes
    returns Translation.
    raises: ValueError when names are not such maps; nothing for what the tensors are.
    """
    theirs = {name: np.asarray(tensor) for name, tensor in theirs.items()}
    ours = {name: np.shape(tensor) for name, tensor in (ours or {}).items()}
    search = _Search(theirs, ours)
    own, built_in, label = [], [], None
    for entry in names if isinstance(names, list | tuple) else [names]:
        if entry == "auto":
            if all(map(is_ours, theirs)):  # no map is needed
                continue
            entry = _best(theirs, ours)
        if isinstance(entry, str):
            if entry not in MAPS:
                raise ValueError(f"names: expected auto, {', '.join(MAPS)} or a dict, got {reprlib.repr(entry)}")
            label = entry
            built_in.insert(0, MAPS[entry])
        else:
            own.insert(0, entry)
    return search.run(own + built_in, len(built_in), label)


def _best(theirs, ours):
    """The key of the map that translates the most of a first block and of what is outside the blocks."""
    later = re.compile(r"(?<!ln_)(?<!norm_)(?<![a-gi-z0-9])[1-9]")  # the number of another block: of h.1, h_1 or h1
    few = {name: x for name, x in theirs.items() if not LEAD.match(name)[0] and not later.search(name)}
    search, found = _Search(few or theirs, ours), {}
    for key, table in MAPS.items():
        if not any(table is MAPS[other] for other in found):
            found[key] = len(search.run([table], 1).tensors)
    return max(found, key=found.get)


class _Search:
    """The search for our tensors among theirs."""

    def __init__(self, theirs, ours):
        self.ours = ours
        self.kinds = {_kind(name) for name in ours}
        self.theirs = theirs | _repeated(theirs)
        self.products = _products(self.theirs)
        self.theirs |= {name: self.theirs[source] for name, source in self.products.items()}
        self.given = theirs
        self.outer = _outer([*theirs])

    def run(self, maps, built_in, label=None):
        """The Translation by these maps, the first one coming first; the last ``built_in`` come after our own names."""
        self.own = len(maps) - built_in
        self.candidates, self.heads, self.known, self.matches, self.assumed = {}, {}, set(), {}, []
        maps = [patterns_of(table) for table in maps]
        for name, tensor in self.theirs.items():
            self._read(name, tensor, maps)
        for (our_name, rank), parts in self.heads.items():
            self._gather_heads(our_name, rank, parts)
        chosen, assumed = {}, self.assumed
        for our_name, candidates in sorted(self.candidates.items(), key=lambda item: item[0].startswith("grad.")):
            self._choose(our_name, sorted(candidates, key=lambda one: one.rank), chosen, assumed)
        self._misfits(chosen)
        self._join(chosen, assumed)
        self._tied(chosen, assumed)
        chosen = {name: chosen[name] for name in sorted(chosen, key=place)}
        sources = {name: one.sources[0] if len(one.sources) == 1 else [*one.sources] for name, one in chosen.items()}
        used = {source for one in chosen.values() for source in one.sources}
        without = {source for name, one in chosen.items() if self._lacking(name) for source in one.sources}
        known = (self.known | used) - without
        unknown = [name for name in self.given if name not in known and not RECORDED.fullmatch(name)]
        unknown = [name for name in unknown if not name.startswith("grad.") or name[5:] not in unknown]
        tensors = {name: one.tensor for name, one in chosen.items()}
        return Translation(tensors, sources, self._sentences(chosen, label) + _folded_sentences(assumed), unknown)

    def _lacking(self, name):
        """Whether ours has nothing to compare with, although it has others of the kind: gradients, or weights."""
        return name not in self.ours and _kind(name) in self.kinds

    def _read(self, name, tensor, maps):
        """Everything that one tensor of theirs may stand for."""
        if tensor.dtype.kind not in "fiub":
            if is_ours(name):
                self._add(name, (-1,), (name,), tensor)  # for ``compare`` to refuse
            return
        lead = LEAD.match(name)[0]
        inner = WRAPPERS.sub("", name[len(lead) :])
        plain = self.outer.sub("", inner, count=1) if self.outer.match(inner) else inner
        own = False
        for rank, our_names, numbers in self._matches(name[len(lead) :], plain, maps):
            self.known.add(name)
            own = own or rank[0] < self.own
            self._expand(lead, name, tensor, numbers, our_names, rank)
        rest = name[len(lead) :]
        if not own and (is_ours(rest) or rest in ("lr", "norm")):
            self._add(name, (self.own, -1), (name,), tensor)
        elif is_ours(plain) and self.own < len(maps):
            self._add(lead + plain, (len(maps), 0), (name,), tensor)

    def _matches(self, name, plain, maps):
        """Triples (rank, our names, numbers) of the patterns for a name; those of block 3 are those of all later."""
        number = re.search(r"(?<![^.])(?:[3-9]|[1-9]\d+)(?=\.)", name)
        name, plain = (re.sub(r"(?<![^.])(?:[3-9]|[1-9]\d+)(?=\.)", "3", text, count=1) for text in (name, plain))
        if name not in self.matches:
            found = (
                ((table, n), our_names, regex.fullmatch(name) or regex.fullmatch(plain))
                for table, patterns in enumerate(maps)
                for n, (regex, our_names) in enumerate(patterns)
            )
            self.matches[name] = [(rank, ours, match.groupdict()) for rank, ours, match in found if match]
        for rank, our_names, numbers in self.matches[name]:
            if number and numbers.get("i") == "3":
                numbers = numbers | {"i": number[0]}
            yield rank, our_names, numbers

    def _expand(self, lead, name, tensor, numbers, our_names, rank):
        """One match: the layers of a stack, and the parts of an array that stands for several of ours."""
        layers = {numbers.get("i"): tensor}
        if our_names and "{i}" in our_names[0] and numbers.get("i") is None:
            if not tensor.ndim or not 0 < len(tensor) <= MAX_LAYERS:
                self._odd(name, f"is no array for all layers, (L, ...), its shape is {tensor.shape}")
                return
            layers = dict(enumerate(tensor))
        for i, part in layers.items():
            pieces = [part]
            if len(our_names) > 1:
                if not part.ndim or part.shape[-1] % len(our_names):
                    self._odd(name, f"has no {len(our_names)} equal parts on the last axis, its shape is {part.shape}")
                    return
                pieces = np.split(part, len(our_names), axis=-1)
            for our_name, piece in zip(our_names, pieces, strict=bool(our_names)):
                plain = our_name.removesuffix("^T")
                if plain != our_name and piece.ndim > 1:
                    piece = piece.swapaxes(-1, -2)
                full = lead + plain.replace("{i}", str(i))
                if numbers.get("j") is not None:
                    self.heads.setdefault((full, rank), {})[int(numbers["j"])] = name, piece
                else:
                    self._add(full, rank, (name,), piece)

    def _odd(self, name, what):
        """A name that is known, but not with this shape."""
        self.known.discard(name)
        self.assumed.append((name, name, f"{{theirs}} {what}"))

    def _add(self, our_name, rank, sources, tensor):
        sources = tuple(self.products.get(source, source) for source in sources)
        self.candidates.setdefault(our_name, []).append(_Candidate(rank, sources, tensor))

    def _gather_heads(self, our_name, rank, parts):
        """One array of those of the single heads; dropped where they are not alike."""
        names, tensors = zip(*(parts[j] for j in sorted(parts)), strict=True)
        if len({tensor.shape for tensor in tensors}) > 1 or not tensors[0].ndim:
            return
        if our_name.endswith("attn.heads"):
            tensor = np.concatenate(tensors, -1)
        else:
            activation = "attn.c_attn" not in our_name and tensors[0].ndim > 2
            tensor = np.stack(tensors, tensors[0].ndim - 2 if activation else 0)
        self._add(our_name, rank, names, tensor)

    def _choose(self, our_name, candidates, chosen, assumed):
        """The best of the candidates for one of ours."""
        own = [one for one in candidates if one.rank[0] < self.own]
        fitting = own or [one for one in candidates if _fits(our_name, one, self.ours)]
        if not fitting:
            return
        best = fitting[0]
        if our_name.startswith("grad.") and (one := chosen.get(our_name[5:])) is not None:
            whose = tuple(f"grad.{source}" for source in one.sources)
            best = next((one for one in fitting if one.sources == whose), best)
        elif our_name.endswith(("attn.q", "attn.k")) and len(fitting) > 1:
            best, factor = _unscaled(fitting)
            if factor is not None:
                assumed.append(
                    (best.sources[0], our_name, f"{{theirs}}, before a factor of {factor:.4g}, is taken for {{ours}}")
                )
        chosen[our_name] = best
        for other in own or (fitting if best is fitting[0] and not LEAD.match(our_name)[0] else []):
            alike = other.tensor.shape == best.tensor.shape
            if (alike and _differ(best.tensor, other.tensor)) or (own and not alike):
                text = f"{fold(other.sources[0])} is not equal to {{theirs}}, which is taken for {{ours}}"
                assumed.append((best.sources[0], our_name, text))

    def _misfits(self, chosen):
        """What nothing of the right size stands for: the name that says so most clearly, or nothing."""
        used = {source for one in chosen.values() for source in one.sources}
        for our_name, candidates in self.candidates.items():
            if our_name in chosen:
                continue
            first = min(candidates, key=lambda one: one.rank)
            axes = len(self.ours.get(our_name, ()))
            alike = first.tensor.ndim == axes > 0 and is_weight(our_name) == is_weight(first.sources[0])
            if (alike and not used.intersection(first.sources)) or first.sources == (our_name,):
                chosen[our_name] = first  # ``compare`` tells that its shape is wrong
            else:
                self.known -= {source for one in candidates for source in one.sources}

    def _join(self, chosen, assumed):
        """c_attn of separate q, k and v; their orientation is that of the other weights."""
        for name in [name for name in chosen if name.endswith(":q")]:
            whole = name[:-2]
            parts = [chosen.get(f"{whole}:{part}") for part in "qkv"]
            if None in parts or len({one.tensor.shape for one in parts}) > 1:
                continue
            sources = tuple(source for one in parts for source in one.sources)
            tensors = [one.tensor for one in parts]
            lead = LEAD.match(name)[0]
            if whole.endswith("bias"):
                tensor = np.concatenate([x.reshape(-1) for x in tensors])
            else:
                tensor = _side_by_side(tensors, self._transposed(chosen, lead))
            chosen.setdefault(whole, _Candidate((), sources, tensor))
            shown = ", ".join(fold(one.sources[0]) for one in parts)
            assumed.append((shown, whole, "{theirs} are joined to {ours}"))
        for name in [name for name in chosen if re.search(r":[qkv]$", name)]:
            one = chosen.pop(name)
            if name[:-2] not in chosen:
                self.known -= set(one.sources)
                text = "{theirs} is only a part of {ours}, and the others are missing"
                assumed.append((one.sources[0], name[:-2], text))

    def _transposed(self, chosen, lead):
        """Whether linear weights are (out, in), as torch has them: those that are not square tell."""
        for name, one in chosen.items():
            if re.fullmatch(r"h\.\d+\.mlp\.(c_fc|c_proj)\.weight", name.removeprefix(lead)) and one.tensor.ndim == 2:
                rows, columns = one.tensor.shape
                return (rows > columns) == name.endswith("c_fc.weight")
        return True

    def _tied(self, chosen, assumed):
        """A matrix that is both embedding and output layer may be called by either name."""
        for name in [name for name in chosen if name.endswith("lm_head.weight")]:
            other = name.replace("lm_head", "wte")
            if name not in self.ours and "lm_head.weight" not in self.ours and other not in chosen and self.ours:
                chosen[other] = chosen.pop(name)
                assumed.append((chosen[other].sources[0], other, "{theirs} is taken for {ours}, the two being tied"))

    def _sentences(self, chosen, label):
        """What each name was taken for, those of all layers as one; nothing where the names are ours."""
        pairs = {}
        for our_name, one in chosen.items():
            plain = one.sources[0]
            stripped = self.outer.sub("", WRAPPERS.sub("", plain), count=1)
            if not LEAD.match(our_name)[0] and stripped != our_name and len(one.sources) == 1:
                ours = pairs.setdefault(fold(plain) if fold(our_name) != our_name else plain, [])
                if fold(our_name) not in ours:
                    ours.append(fold(our_name))
        if not pairs:
            return []
        whose = label or "the map"
        if MAPS.get(label) is MAPS["torch"]:
            known = (whose for part, whose in LINEAGE if any(part in name for name in self.given))
            whose = next(known, "PyTorch's modules")
        listed = ", ".join(f"{theirs} -> {' '.join(ours)}" for theirs, ours in pairs.items())
        return [f"names as in {whose}: {listed}"]


def is_weight(name):
    """Whether it is the name of a parameter."""
    return name.rsplit(".", 1)[-1] in ("weight", "bias") or re.search(r"(?:^|[._])[WbgwB](?:_\w+)?$", name) is not None


def _kind(name):
    lead = LEAD.match(name)[0]
    return lead, is_parameter(name[len(lead) :])


def _outer(names):
    """The pattern of what stands before the names, also where it is a word nobody knows."""
    before = re.compile(rf"(?:{LEAD.pattern})(.+?\.){expression(BLOCKS)}\.\d+\..+")
    found = Counter(match[1] for name in names if (match := before.fullmatch(WRAPPERS.sub("", name))))
    common = ""
    for word in reversed(found.most_common(1)[0][0].split(".")[:-1] if found else []):
        common = f"(?:{re.escape(word)}\\.{common})?"  # the first of its words, or all: an output layer is further out
    return re.compile(f"{OUTER.pattern}|{common}")


def _repeated(tensors):
    """The gradient of what was computed several times with the same result: the sum of those of each time."""
    sums = {}
    for name in tensors:
        base = name.removesuffix("@2")
        if base == name or base not in tensors or f"grad.{base}" not in tensors:
            continue
        same = [base, *(again for n in range(2, 10) if (again := f"{base}@{n}") in tensors)]
        gradients = [tensors[f"grad.{again}"] for again in same if f"grad.{again}" in tensors]
        if len(gradients) == len(same) and all(np.array_equal(tensors[base], tensors[again]) for again in same):
            sums[f"grad.{base}"] = sum(gradients)
    return sums


def _products(tensors):
    """Dict from ``softmax.query``, ``.key``, ``.probs``, ``.value``, what goes into the two products beside a softmax,
    and ``.heads``, what comes out, to the name of the recording: told by their order and by the softmax's shape."""
    found = {}
    for name in tensors:
        match = re.fullmatch(r"((?:.*\.)?)softmax", name)
        if match is None or LEAD.match(name)[0]:
            continue
        here, shape = match[1], tensors[name].shape
        products = [f"{here}matmul"] + [f"{here}matmul@{n}" for n in range(2, 9)]
        products = [product for product in products if product in tensors and f"{product}.other" in tensors]
        first = next((n for n, product in enumerate(products) if tensors[product].shape == shape), None)
        after = products if first is None else products[first + 1 :]
        second = next((product for product in after if np.shape(tensors.get(f"{product}.input")) == shape), None)
        roles = {}
        if first is not None:
            roles |= {"query": f"{products[first]}.input", "key": f"{products[first]}.other"}
        if second is not None:
            roles |= {"probs": f"{second}.input", "value": f"{second}.other", "heads": second}
        for role, source in roles.items():
            for lead in "", "grad.":
                if lead + source in tensors:
                    found[f"{lead}{here}softmax.{role}"] = lead + source
    return found


def _side_by_side(tensors, transposed):
    """The weights of q, k and v as one, (out, in) or (in, out) as they are; those of heads are (H, in, out) or
    (H, out, in)."""
    if tensors[0].ndim == 3:
        return np.stack(tensors)  # layouts.align tells which axis is which
    return np.concatenate(tensors, 0 if transposed else -1)


def _fits(our_name, one, ours):
    """Whether a tensor can stand for ours by its size; where ours does not say, it may."""
    plain, _, part = our_name[len(LEAD.match(our_name)[0]) :].partition(":")
    shape, theirs = ours.get(plain), one.tensor.shape
    if shape is None and plain == "lm_head.weight":
        shape = ours.get("wte.weight")
    if shape is None:
        return True
    size, given = int(np.prod(shape)), int(np.prod(theirs))
    if part:
        return given * 3 == size
    if given == size and (not is_weight(plain) or len(theirs) > 1 or len(shape) < 2):
        return True
    if plain in ("wte.weight", "lm_head.weight"):
        return len(theirs) == 2 and shape[1] in theirs and given > size
    if plain == "wpe.weight":
        return len(theirs) == 2 and theirs[1] == shape[1] and is_weight(one.sources[0])
    if plain == "logits":
        return len(theirs) in (1, 2, 3) and theirs[-1] >= shape[-1]
    if plain == "embd":
        return given == int(np.prod(shape[1:]))
    return plain == "loss" and len(theirs) in (1, 2)


def _unscaled(fitting):
    """Of q or k the one that is no multiple of another, and the factor of the first, or None if that is it."""
    first = fitting[0]
    for other in fitting[1:]:
        x, y = _flat_heads(first.tensor), _flat_heads(other.tensor)
        if x.shape == y.shape and (norm := float(y @ y)):
            factor = float(x @ y) / norm
            if not np.isclose(factor, 1, atol=1e-2) and np.linalg.norm(x - factor * y) <= 1e-2 * np.linalg.norm(x):
                return other, factor
    return first, None


def _flat_heads(x):
    """(B, H, T, D) in the order of (B, T, C), as one row of numbers."""
    x = x.astype(np.float64)
    return (x.swapaxes(1, 2) if x.ndim == 4 else x).reshape(-1)


def _differ(x, y):
    """Whether two arrays hold different numbers, beyond rounding; infinities and NaN apart."""
    if x is y or x.dtype.kind not in "fiub":
        return False
    x, y = (np.nan_to_num(z.astype(np.float64), nan=0, posinf=0, neginf=0) for z in (x, y))
    return np.abs(x - y).max(initial=0) > 1e-2 * max(np.abs(x).max(initial=0), np.abs(y).max(initial=0))


def _folded_sentences(assumed):
    """The sentences, those of all layers and of the gradients as one."""
    lines = {}
    for theirs, ours, text in assumed:
        theirs, ours = (fold(name[len(LEAD.match(name)[0]) :]) for name in (theirs, ours))
        line = text.replace("{theirs}", theirs).replace("{ours}", ours)
        lines.setdefault(re.sub(r"\bgrad\.", "", line), None)
    return list(lines)


def fold(name):
    """A name with {i} for its numbers, so that those of all layers are one."""
    return re.sub(r"(?<![^.])\d+(?=\.|$)", "{i}", name, count=1)


def is_ours(name):
    """Whether a name, or what follows ``grad.`` in it, is one that a trace has."""
    return place(name)[0] < 2


def is_parameter(name):
    """Whether a tensor is a weight or bias of the model."""
    return name.endswith((".weight", ".bias")) and not name.startswith(("grad.", "step."))


def place(name):
    """Sort key for the order of computation; unknown names come last."""
    plain = name.removeprefix("grad.")
    block = re.fullmatch(r"h\.(\d{1,9})\.(.+)", plain)
    if plain in START:
        place = 0, 0, START.index(plain)
    elif plain in END:
        place = 2, 0, END.index(plain)
    elif block and block[2] in BLOCK:
        place = 1, int(block[1]), BLOCK.index(block[2])
    else:
        return 2, (), name
    if plain == name:
        return 0, place, name
    return 1, tuple(-number for number in place), name
