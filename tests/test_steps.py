"""Optimizer steps of others, held against the formula: right ones raise no alarm, a planted mistake gets its name."""

import dataclasses
import json

import numpy as np
import pytest

from minigpt2 import GPT2, GPT2Config, flatten
from minigpt2.cli import main
from minigpt2.storage.checkpoint import write_tensors
from minigpt2.verification.compare import compare
from minigpt2.verification.recorder import Recorder, record
from minigpt2.verification.step_rules import Settings
from minigpt2.verification.steps import compare_steps, model_with, trace_steps
from minigpt2.verification.trace import read_trace, trace

CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=31)
SETTINGS = {
    "lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1, "max_norm": 1.0, "warmup_steps": 2,
    "decay_steps": 6, "min_lr": 1e-4,
}  # fmt: skip
K = 4  # steps
f32 = np.float32


def random_model(seed=0, dtype="float32"):
    model, rng = GPT2(CONFIG, dtype=dtype), np.random.default_rng(seed)
    for name, p in flatten(model.params).items():
        gain = ".ln_" in f".{name}" and name.endswith("weight")
        p[...] = gain + 0.15 * rng.standard_normal(p.shape)
    return model


IDS = np.random.default_rng(5).integers(0, 31, (2, 9))
BATCH = IDS[:, :-1], IDS[:, 1:]


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def ours(model):
    return trace(model, *BATCH) | trace_steps(model, [BATCH] * K, **SETTINGS)


def held(ours, theirs, **settings):
    """(rows, findings) of compare_steps; every Finding but a note says where, and shows the numbers."""
    rows, findings, where = compare_steps(ours, theirs, Settings(**SETTINGS | settings))
    wrong = [row.name for row in rows if row.verdict != "ok"]
    assert wrong == [] if where is None else where.startswith(wrong[0])
    assert all(finding.name in [row.name for row in rows] for finding in findings)
    return rows, findings


def sentences(findings):
    assert all(finding.sentence.startswith("optimizer: ") for finding in findings)
    return [finding.sentence.removeprefix("optimizer: ") for finding in findings]


# --------------------------------------------------------------------- an optimizer with room for mistakes


@dataclasses.dataclass
class Planted:
    """AdamW in float32; each field is a place for a mistake."""

    settings: Settings
    rate: object = None
    zeroed: bool = True
    factor: float = 1.0
    clip: object = lambda grads, norm, most: {n: g * f32(min(1.0, most / (norm + 1e-6))) for n, g in grads.items()}
    before: object = lambda g, w, s: g
    decays: object = lambda name, w: w.ndim >= 2
    shrink: object = lambda w, lr, s: w * f32(1 - lr * s.weight_decay)
    m: object = lambda m, g, s: f32(s.beta1) * m + f32(1 - s.beta1) * g
    v: object = lambda v, g, s: f32(s.beta2) * v + f32(1 - s.beta2) * g * g
    direction: object = lambda m, v, t, s: (
        m / f32(1 - s.beta1**t) / (np.sqrt(v / f32(1 - s.beta2**t)) + f32(s.eps))
    )  # fmt: skip
    kept: object = lambda w: w
    again: object = lambda name: False
    t0: int = 1

    def run(self, model, steps=K):
        s, w = self.settings, {name: p.copy() for name, p in flatten(model.params).items()}
        m, v = ({name: np.zeros_like(p) for name, p in w.items()} for _ in range(2))
        out, total = {}, {name: f32(0) for name in w}
        for k in range(1, steps + 1):
            grads = flatten(model_with(model.config, w).loss_and_grads(*BATCH)[1])
            grads = {name: total[name] + f32(self.factor) * g for name, g in grads.items()}
            total = total if self.zeroed else grads
            norm = float(np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads.values())))
            clipped, lr = self.clip(grads, norm, s.max_norm), (self.rate or Settings.rate)(s, k)
            for name in w:
                times = 2 if self.again(name) else 1
                for turn in range(times):
                    g = self.before(clipped[name], w[name], s) if self.decays(name, w[name]) else clipped[name]
                    m[name], v[name] = self.m(m[name], g, s), self.v(v[name], g, s)
                    kept = self.shrink(w[name], lr, s) if self.decays(name, w[name]) else w[name]
                    t = self.t0 + (k - 1) * times + turn
                    w[name] = self.kept(kept - f32(lr) * self.direction(m[name], v[name], t, s))
            for kind, tensors in ("grad", grads), ("clipped", clipped), ("m", m), ("v", v), ("", w):
                out |= {f"step.{k}.{kind}.{n}".replace("..", "."): x.copy() for n, x in tensors.items()}
            out |= {f"step.{k}.lr": np.array(lr, f32), f"step.{k}.norm": np.array(norm, f32)}
        return out


PARTS = {
    "all": ("grad", "clipped", "m", "v", "lr", "norm", "w"), "moments": ("m", "v", "w"), "gradients": ("grad", "w"),
    "weights": ("w",),
}  # fmt: skip


def part(tensors, which):
    """What remains if only some kinds of tensors were recorded."""

    def kind(name):
        word = name.split(".")[2]
        return word if word in PARTS["all"] else "w"

    return {name: x for name, x in tensors.items() if kind(name) in PARTS[which]}


def bfloat16(x):
    bits = x.astype(f32).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) & np.uint32(0xFFFF0000)).view(f32)


COUPLED = {"before": lambda g, w, s: g + f32(s.weight_decay) * w, "shrink": lambda w, lr, s: w}
NO_CLIP = {"clip": lambda grads, norm, most: grads}
PER_TENSOR = {
    "clip": lambda grads, norm, most: {n: g * f32(min(1, most / np.linalg.norm(g))) for n, g in grads.items()}
}  # fmt: skip
ALL, EVERYWHERE = tuple(PARTS), ("all", "moments", "gradients")
MISTAKES = {  # words of the sentence: the change, and with which parts recorded it must be named
    "decay is added to the gradient (L2, Adam)": (COUPLED, ALL),
    "vectors decay too": ({"decays": lambda name, w: True}, ALL),
    "the gains of layer norms decay too": ({"decays": lambda name, w: not name.endswith("bias")}, ALL),
    "matrices do not, the two groups are exchanged": ({"decays": lambda name, w: w.ndim < 2}, ALL),
    "wte and wpe do not decay": ({"decays": lambda name, w: w.ndim > 1 and name[0] != "w"}, ALL),
    "wpe does not decay": ({"decays": lambda name, w: w.ndim > 1 and name != "wpe.weight"}, ALL),
    "no weight decay": ({"shrink": lambda w, lr, s: w}, ALL),
    "decay is not multiplied by lr": ({"shrink": lambda w, lr, s: w * f32(1 - s.weight_decay)}, ALL),
    "decay is multiplied by the highest lr": ({"shrink": lambda w, lr, s: w * f32(1 - s.lr * s.weight_decay)}, ALL),
    "m and v are not divided by 1 - beta^t": ({"direction": lambda m, v, t, s: m / (np.sqrt(v) + f32(s.eps))}, ALL),
    "m is not divided by 1 - beta^t": (
        {"direction": lambda m, v, t, s: m / (np.sqrt(v / f32(1 - s.beta2**t)) + f32(s.eps))}, ALL),
    "v is not divided by 1 - beta^t": (
        {"direction": lambda m, v, t, s: m / f32(1 - s.beta1**t) / (np.sqrt(v) + f32(s.eps))}, ALL),
    "eps is added inside the root": (
        {"direction": lambda m, v, t, s: m / f32(1 - s.beta1**t) / np.sqrt(v / f32(1 - s.beta2**t) + f32(s.eps))},
        ALL),
    "eps is added to sqrt(v), before the bias correction": (
        {"direction": lambda m, v, t, s: m / f32(1 - s.beta1**t) * f32(np.sqrt(1 - s.beta2**t))
         / (np.sqrt(v) + f32(s.eps))}, EVERYWHERE),
    "the step divides by v_hat": (
        {"direction": lambda m, v, t, s: m / f32(1 - s.beta1**t) / (v / f32(1 - s.beta2**t) + f32(s.eps))},
        EVERYWHERE),
    "beta1 is 0.8": ({"settings": Settings(**SETTINGS | {"beta1": 0.8})}, ALL),
    "beta2 is 0.999": ({"settings": Settings(**SETTINGS | {"beta2": 0.999})}, ALL),
    "eps is 1e-05": ({"settings": Settings(**SETTINGS | {"eps": 1e-5})}, ALL),
    "weight decay is 0.01": ({"settings": Settings(**SETTINGS | {"weight_decay": 0.01})}, ALL),
    "the norm is clipped to 0.5": ({"settings": Settings(**SETTINGS | {"max_norm": 0.5})}, EVERYWHERE),
    "the lowest learning rate is 0.0005": ({"settings": Settings(**SETTINGS | {"min_lr": 5e-4})}, ALL),
    "gradients are not clipped": (NO_CLIP, ALL),
    "each tensor's gradient is clipped by its own norm": (PER_TENSOR, ALL),
    "each number of the gradient is clipped to 0.05": (
        {"settings": Settings(**SETTINGS | {"max_norm": 0.05}),
         "clip": lambda grads, norm, most: {n: np.clip(g, -most, most) for n, g in grads.items()}}, ALL),
    "the learning rate is that of the step before": ({"rate": lambda s, k: s.rate(k - 1)}, ALL),
    "the learning rate is that of the next step": ({"rate": lambda s, k: s.rate(k + 1)}, ALL),
    "no warm-up of the learning rate": ({"rate": lambda s, k: dataclasses.replace(s, warmup_steps=0).rate(k)}, ALL),
    "the learning rate stays at its highest": ({"rate": lambda s, k: s.lr}, ALL),
    "the warm-up divides by 2; it should be lr step / 3": (
        {"rate": lambda s, k: s.lr * k / s.warmup_steps if k <= s.warmup_steps else s.rate(k)}, ALL),
    "gradients are not zeroed": ({"zeroed": False}, ALL),
    "every gradient is 1/2 times": ({"factor": 0.5}, ("all", "gradients")),
    "the moments are kept in bfloat16": (
        {"m": lambda m, g, s: bfloat16(f32(s.beta1) * m + f32(1 - s.beta1) * g),
         "v": lambda v, g, s: bfloat16(f32(s.beta2) * v + f32(1 - s.beta2) * g * g)}, ALL),
    "the parameters are kept in bfloat16": ({"kept": bfloat16}, ALL),
    "the parameters are kept in float16": ({"kept": lambda w: w.astype(np.float16).astype(f32)}, ALL),
    "t starts at 2": ({"t0": 2}, ALL),
    "each step is taken twice": ({"again": lambda name: True}, ALL),
    "wte.weight is updated twice": ({"again": lambda name: name == "wte.weight"}, ALL),
    "m <- beta1 m + g;": ({"m": lambda m, g, s: f32(s.beta1) * m + g}, ALL),
}  # fmt: skip


def test_the_planted_optimizer_is_right_without_a_mistake(model, ours):
    theirs = Planted(Settings(**SETTINGS)).run(model)
    for which in PARTS:
        rows, findings = held(ours, part(theirs, which))
        assert [row.name for row in rows if row.verdict != "ok"] == [] and findings == [], which
        assert len(rows) == len(part(theirs, which))


def in_parts(named):
    """Each mistake with all recorded, and, slow, with one of its other parts: these take turns."""
    return [
        pytest.param(mistake, which, marks=[] if which == "all" else [pytest.mark.slow], id=f"{mistake}: {which}")
        for number, (mistake, (_, parts)) in enumerate(named.items())
        for which in dict.fromkeys((parts[0], tuple(parts)[1:][number % (len(parts) - 1)]))
    ]  # fmt: skip


@pytest.mark.parametrize("mistake, which", in_parts(MISTAKES))
def test_a_mistake_has_its_name(mistake, which, model, ours):
    change, max_norm = MISTAKES[mistake][0], SETTINGS["max_norm"]
    if mistake.startswith("each number"):
        max_norm = change["settings"].max_norm
    if max_norm != SETTINGS["max_norm"]:
        settings = SETTINGS | {"max_norm": max_norm}
        ours = trace(model, *BATCH) | trace_steps(model, [BATCH] * K, **settings)
    with np.errstate(all="ignore"):
        theirs = Planted(**{"settings": Settings(**SETTINGS)} | change).run(model)
    _, findings = held(ours, part(theirs, which), max_norm=max_norm)
    assert len(findings) == 1 and findings[0].kind == "mistake", findings
    assert mistake in findings[0].sentence


@pytest.mark.slow
def test_two_mistakes_have_two_names(model, ours):
    settings = Settings(**SETTINGS | {"beta2": 0.999})
    theirs = Planted(settings, **COUPLED).run(model)
    _, findings = held(ours, theirs)
    assert [text[:26] for text in sentences(findings)] == ["decay is added to the grad", "beta2 is 0.999, it should "]
    assert findings[0].worked[0] == "step.1.m.wte.weight, computed from their tensors before it"
    _, findings = held(ours, part(theirs, "weights"))
    (text,) = sentences(findings)
    assert text.startswith("beta2 is 0.999, it should be 0.95; and decay is added to the gradient")


UNKNOWN = {
    "one block": {"decays": lambda name, w: w.ndim > 1 and not name.startswith("h.1")},
    "cube root": {"direction": lambda m, v, t, s: m / (np.cbrt(v) + f32(s.eps))},
    "noise": {"kept": lambda w: w * (1 + f32(1e-4) * np.cos(np.arange(w.size, dtype=f32)).reshape(w.shape))},
    "v of the third power": {"v": lambda v, g, s: f32(s.beta2) * v + f32(1 - s.beta2) * np.abs(g) ** 3},
    "a floor under v": {"direction": lambda m, v, t, s: m / np.sqrt(np.maximum(v, 1e-4))},
    "tanh of the gradient": {"clip": lambda grads, norm, most: {n: np.tanh(g) for n, g in grads.items()}},
    "lr by layer": {"kept": lambda w: w if w.ndim < 2 or w.shape[1] != 48 else w * f32(1.001)},
}


@pytest.mark.parametrize("mistake, which", in_parts({mistake: (None, ALL) for mistake in UNKNOWN}))
def test_an_unknown_mistake_gets_no_name(mistake, which, model, ours):
    theirs = Planted(Settings(**SETTINGS), **UNKNOWN[mistake]).run(model)
    rows, findings = held(ours, part(theirs, which))
    assert any(row.verdict == "differs" for row in rows)
    assert findings and all(finding.kind == "unknown" for finding in findings), findings
    assert "no known mistake explains" in findings[0].sentence


def test_what_is_known_of_an_unknown_mistake(model, ours):
    theirs = Planted(Settings(**SETTINGS), decays=lambda name, w: name in ("h.0.ln_1.bias", "wte.weight")).run(model)
    _, (finding,) = held(ours, theirs)
    assert "weights of step 1 do not follow" in finding.sentence and "first step.1.wpe.weight" in finding.sentence


def test_t_from_0_divides_by_zero(model, ours):
    with np.errstate(all="ignore"):
        theirs = Planted(Settings(**SETTINGS), t0=0).run(model, 1)
    rows, (finding,) = held(ours, theirs)
    assert {row.verdict for row in rows} == {"ok", "NaN"}
    assert "step.1.wte.weight is the first that holds NaN" in finding.sentence and "t starts at 0" in finding.sentence


# ------------------------------------------------------------------------------------------------- PyTorch


def torch_steps(torch, model, optimizer, steps=K, settings=SETTINGS):
    """What a PyTorch optimizer does with our gradients, with noise in the key bias as its own would have."""
    params = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in flatten(model.params).items()}
    optimizer, rng, theirs = optimizer(params), np.random.default_rng(0), Recorder()
    for k in range(1, steps + 1):
        now = model_with(CONFIG, {name: p.detach().numpy() for name, p in params.items()})
        grads = flatten(now.loss_and_grads(*BATCH)[1])
        for name, p in params.items():
            g = grads[name].copy()
            if name.endswith("c_attn.bias"):
                g[16:32] = 1e-9 * rng.standard_normal(16)
            p.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_(list(params.values()), settings["max_norm"])
        for group in optimizer.param_groups:
            group["lr"] = Settings(**settings).rate(k)
        optimizer.step()
        theirs.step(optimizer, params.items())
    return theirs.tensors


@pytest.mark.parametrize("case", ["AdamW", "Adam", "amsgrad", "SGD", "momentum", "defaults"])
def test_optimizers_of_torch(case, model, ours):
    torch = pytest.importorskip("torch", reason="needs torch; the planted optimizer stands in")
    optim, numbers = torch.optim, {"betas": (0.9, 0.95), "eps": 1e-8}

    def groups(params):
        return [
            {"params": [p for p in params.values() if (p.ndim >= 2) == matrix], "weight_decay": 0.1 * matrix}
            for matrix in (True, False)
        ]

    make, name = {
        "AdamW": (lambda params: optim.AdamW(groups(params), **numbers), None),
        "Adam": (lambda params: optim.Adam(groups(params), **numbers), "decay is added to the gradient (L2"),
        "amsgrad": (lambda params: optim.AdamW(groups(params), amsgrad=True, **numbers), "AMSGrad, which"),
        "SGD": (lambda params: optim.SGD(params.values()), "plain SGD"),
        "momentum": (lambda params: optim.SGD(params.values(), momentum=0.9), "SGD with momentum 0.9"),
        "defaults": (lambda params: optim.AdamW(params.values()), "AdamW with PyTorch's own defaults"),
    }[case]
    theirs = torch_steps(torch, model, make)
    for which in PARTS:
        rows, findings = held(ours, part(theirs, which))
        assert len(findings) == bool(name), (which, findings)
        assert all(text.startswith(name) for text in sentences(findings))
        assert any(row.verdict != "ok" for row in rows) == bool(name)


def test_sgd(model):
    settings = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "max_norm": 1.0}
    ours = trace(model, *BATCH) | trace_steps(model, [BATCH] * 3, **settings)
    assert not any(".v." in name for name in ours)
    torch = pytest.importorskip("torch", reason="needs torch")
    for momentum, name in (0.9, None), (0.5, "momentum is 0.5"):
        theirs = torch_steps(
            torch, model, lambda p, m=momentum: torch.optim.SGD(p.values(), momentum=m), 3, settings
        )  # fmt: skip
        _, findings, _ = compare_steps(ours, theirs, Settings(**settings))
        assert len(findings) == bool(name) and all(text.startswith(name) for text in sentences(findings))


# ------------------------------------------------------------------------------------------------- our own trace


def test_a_trace_of_steps_leaves_the_model_and_holds_every_tensor(model, ours):
    names = flatten(model.params)
    assert all(np.array_equal(names[name], ours[name]) for name in names)
    for k in range(1, K + 1):
        for kind in "grad.", "clipped.", "m.", "v.", "":
            assert all(ours[f"step.{k}.{kind}{name}"].shape == names[name].shape for name in names)
        assert ours[f"step.{k}.lr"] == f32(Settings(**SETTINGS).rate(k))
    norm = np.sqrt(sum((ours[f"step.1.clipped.{name}"].astype(float) ** 2).sum() for name in names))
    assert ours["step.1.norm"] > 1 and norm == pytest.approx(1, abs=2e-6)
    rows, findings = held(ours, ours)
    assert findings == [] and {row.verdict for row in rows} == {"ok"}


def test_batches_may_differ(model):
    other = BATCH[1], BATCH[0]
    ours = trace_steps(model, [BATCH, other], **SETTINGS)
    assert np.array_equal(ours["step.2.ids"], other[0])
    theirs = {name: x for name, x in ours.items() if not name.endswith(("ids", "targets"))}
    rows, findings = held(ours, theirs)
    assert findings == [] and {row.verdict for row in rows} == {"ok"}


def test_float64_is_judged_as_such():
    model = random_model(dtype="float64")
    ours = trace(model, *BATCH) | trace_steps(model, [BATCH] * 2, **SETTINGS)
    theirs = dict(ours)
    theirs["step.2.h.0.mlp.c_fc.weight"] = theirs["step.2.h.0.mlp.c_fc.weight"] * (1 + 1e-9)
    rows, (finding,) = held(ours, theirs)
    assert [row.name for row in rows if row.verdict != "ok"] == [finding.name] == ["step.2.h.0.mlp.c_fc.weight"]


def test_moments_that_only_the_record_rounds_are_no_mistake(model, ours):
    theirs = Planted(Settings(**SETTINGS)).run(model)
    theirs |= {name: bfloat16(x) for name, x in theirs.items() if ".m." in name or ".v." in name}
    rows, findings = held(ours, theirs)
    assert {row.verdict for row in rows} == {"ok"}
    assert [finding.kind for finding in findings] == ["recording"]
    assert sentences(findings) == ["the moments are kept, or were recorded, in bfloat16"]


def test_the_command_writes_steps(tmp_path, model, capsys):
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "ours.safetensors"
    call = ["trace", "--model", str(tmp_path / "model"), "--steps", "2", "--max-norm", "1", "-o", str(path)]
    call += [word for row in BATCH[0] for word in ("--ids", ",".join(map(str, row)))]
    call += [f"--targets={','.join(map(str, row))}" for row in BATCH[1]]
    assert main(call) == 0 and "step 2: loss" in capsys.readouterr().out
    tensors, stored = read_trace(path)
    assert tensors["ids"].shape == BATCH[0].shape and np.array_equal(tensors["targets"], BATCH[1])
    expected = trace_steps(model, [BATCH] * 2, max_norm=1.0)
    assert all(np.array_equal(tensors[name], x) for name, x in expected.items())
    rows, findings, _ = compare_steps(tensors, expected, Settings.from_metadata(stored))
    assert findings == [] and {row.verdict for row in rows} == {"ok"}


@pytest.mark.parametrize("flags, message", [
    (["--steps=-1"], "--steps must be 0 or more"),
    (["--steps", "1", "--beta1", "1"], "--beta1 must be below 1"),
    (["--steps", "1", "--lr", "nan"], "--lr must be 0 or more and finite"),
    (["--steps", "1", "--no-weights"], "--no-weights: the steps of an optimizer begin with the weights"),
    (["--ids", "1"], "--ids: sequences side by side have one length, got 3, 1"),
])  # fmt: skip
def test_flags_that_cannot_be(flags, message, tmp_path, capsys):
    assert main(["trace", "--ids", "1,2,3", "-o", str(tmp_path / "x.safetensors"), *flags]) == 1
    assert message in capsys.readouterr().err


# ------------------------------------------------------------------------------------- in one report with the pass


def test_the_pass_and_the_steps_are_one_comparison(model, ours):
    settings = Settings(**SETTINGS)
    theirs = trace(model, *BATCH, backward=True) | Planted(settings, **COUPLED).run(model)
    ours = trace(model, *BATCH, backward=True) | ours
    report = compare(ours, theirs, settings=settings)
    assert report.first.name == "step.1.m.wte.weight" and report.where.startswith("step.1.m.wte.weight, off by")
    assert [finding.name for finding in report.findings] == ["step.1.m.wte.weight"]
    assert report.diagnosis.startswith("optimizer: decay is added") and "Diagnosis: optimizer" in report.summary()
    computed = theirs.keys() - flatten(model.params).keys() - {"ids", "targets"}
    assert report.compared == report.total == len(computed)
    assert "should be" in report.explanation() and json.dumps(report.to_dict(), allow_nan=False)
    right = compare(ours, trace(model, *BATCH) | Planted(settings).run(model), settings=settings)
    assert right and right.only_ours[-1] == "step.4.loss" and "All" in right.summary()


def test_a_mistake_in_the_pass_is_not_told_again_of_the_steps(model, ours):
    theirs = trace(model, *BATCH) | Planted(Settings(**SETTINGS)).run(model)
    theirs["h.1.mlp.gelu"] = theirs["h.1.mlp.gelu"] * f32(1.5)
    theirs |= {name: 2 * x for name, x in theirs.items() if name == "step.1.grad.wte.weight"}
    report = compare(ours, theirs, settings=Settings(**SETTINGS))
    assert report.first.name == "h.1.mlp.gelu" and not report.findings[0].sentence.startswith("optimizer")
    assert not any("the gradient of step 1" in finding.sentence for finding in report.findings)


def test_weights_after_a_step_alone(model, ours):
    """Whatever Adam made of the key bias's rounding noise; and they are enough beside a trace with steps."""
    names = flatten(model.params)
    mine = {name: ours[f"step.1.{name}"] for name in names}
    theirs = {name: x.copy() for name, x in mine.items()}
    theirs["h.0.attn.c_attn.bias"][16:32] += f32(1e-3)
    report = compare(mine, theirs)
    assert report and report.compared == len(names)
    assert next(row.note for row in report.rows if row.note) == "the key bias apart, which changes nothing"
    theirs["h.0.attn.c_attn.bias"][0] += f32(1e-3)
    assert compare(mine, theirs).first.name == "h.0.attn.c_attn.bias"
    report = compare(ours, part(Planted(Settings(**SETTINGS)).run(model), "weights"), settings=Settings(**SETTINGS))
    assert report and report.compared == report.total == K * len(names)


def test_steps_that_cannot_be_compared(model, ours):
    with pytest.raises(ValueError, match="settings: theirs has optimizer steps"):
        compare(ours, ours)
    report = compare(trace(model, *BATCH), ours)
    assert report and "step 1 of theirs was not compared, ours has none" in report.assumed[-1]
    with pytest.raises(ValueError, match=r"step.2.ids differ"):
        other = {"step.2.ids": BATCH[0]}
        compare(ours | other, ours | {"step.2.ids": BATCH[1]}, settings=Settings(**SETTINGS))
    report = compare(ours, ours | {"step.2.m.wte.weight": np.ones((3, 3), f32)}, settings=Settings(**SETTINGS))
    assert (report.first.name, report.first.verdict) == ("step.2.m.wte.weight", "shape")


@pytest.mark.parametrize("text", ["5", "{", '{"lr": "high"}', '{"lr": -1}', '{"optimizer": "lion"}', "[" * 10**5])
def test_metadata_that_are_no_settings(text):
    with pytest.raises(ValueError, match="do not say how its steps were taken"):
        Settings.from_metadata({"steps": text})


LOOPS = {  # what a loop does wrong, and the first words about it
    "right": None, "validation": None, "autocast": None, "not zeroed": "gradients are not zeroed",
    "not clipped": "gradients are not clipped", "decay on vectors": "vectors decay too",
}  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_in_torch_is_recorded_whole(loop, model, tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    model.save_pretrained(tmp_path / "model")
    module = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    parts = [[p for p in module.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False)]
    decays = 0.1, 0.1 if loop == "decay on vectors" else 0.0
    groups = [{"params": part, "weight_decay": decay} for part, decay in zip(parts, decays, strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    ids, targets = (torch.tensor(x) for x in BATCH)
    with record(module) as theirs:
        for _ in range(3):
            if loop == "validation":
                with torch.no_grad():
                    module(ids)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=loop == "autocast"):
                logits = module(ids).logits
            torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten()).backward()
            if loop != "not clipped":
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            theirs.step(optimizer)
            if loop != "not zeroed":
                optimizer.zero_grad()
    assert theirs.notes == []
    theirs.save(tmp_path / "theirs.safetensors")
    call = ["trace", "--model", str(tmp_path / "model"), "--backward", "--steps", "3", "--beta2", "0.95"]
    call += [f"--ids={','.join(map(str, row))}" for row in BATCH[0]]
    call += [f"--targets={','.join(map(str, row))}" for row in BATCH[1]]
    assert main([*call, "--max-norm", "1", "-o", str(tmp_path / "ours.safetensors")]) == 0
    capsys.readouterr()
    files = [str(tmp_path / f"{whose}.safetensors") for whose in ("ours", "theirs")]
    code = main(["compare", *files, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == (LOOPS[loop] is not None) and report["passed"] == (not code), report["where"]
    found = [finding["sentence"].removeprefix("optimizer: ") for finding in report["findings"]]
    assert len(found) == code and all(text.startswith(LOOPS[loop]) for text in found)
    assert sum(row["name"].startswith("step.3.m.") for row in report["tensors"]) == len(flatten(model.params))


# ------------------------------------------------------------------------------------------------------- llm.c


def test_llm_c_files_go_out_and_come_back(tmp_path, model, capsys):
    model.save_pretrained(tmp_path / "model")
    checkpoint, state, ours = (str(tmp_path / name) for name in ("gpt2.bin", "state.bin", "ours.safetensors"))
    assert main(["convert", str(tmp_path / "model"), "--to", "llm.c", "--out", checkpoint]) == 0
    assert main(["convert", checkpoint, "--out", str(tmp_path / "back")]) == 0
    back = flatten(GPT2.from_pretrained(tmp_path / "back").params)
    assert all(np.array_equal(p, back[name]) for name, p in flatten(model.params).items())
    call = ["trace", "--model", str(tmp_path / "model"), "--ids", "1,2,3", "--targets", "2,3,4", "--backward", "-o"]
    assert main([*call, state]) == 0 and main([*call, ours]) == 0
    capsys.readouterr()
    assert main(["compare", ours, state]) == 0
    assert "All 32 tensors agree." in capsys.readouterr().out  # ids, targets, logits, loss, 28 gradients
    tensors = read_trace(state, read_trace(ours)[0])[0]
    tensors["grad.h.1.mlp.c_fc.bias"][0] += 1
    write_tensors(tmp_path / "wrong.safetensors", tensors)
    assert main(["compare", ours, str(tmp_path / "wrong.safetensors")]) == 1
    assert main([*call[:-1], "-o", state, "--targets=-100,3,4"]) == 1  # of which there is one now for two --targets


def test_llm_c_counts_every_target(tmp_path, model, capsys):
    model.save_pretrained(tmp_path / "model")
    call = ["trace", "--model", str(tmp_path / "model"), "--ids", "1,2,3", "--backward", "-o", str(tmp_path / "a.bin")]
    assert main(call) == 1 and "llm.c counts every target" in capsys.readouterr().err
    assert not (tmp_path / "a.bin").exists()
