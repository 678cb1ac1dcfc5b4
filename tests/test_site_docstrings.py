"""What the site makes of docstrings: formulas as TeX, arguments as lists, names as links. Without building it."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import minigpt2
from minigpt2 import components
from minigpt2.components import layer_norm

ROOT = Path(minigpt2.__file__).parents[1]
SITE = ROOT / "notebooks/site"
if not SITE.exists():
    pytest.skip("the sources of the site lie beside the package", allow_module_level=True)
sys.path.insert(0, str(SITE))
docstrings = importlib.import_module("docstrings")
formulas = importlib.import_module("formulas")

TEX = {
    "y = x W + b": r"y = x\, W + b",
    "x_hat = (x - mean) / sqrt(variance + eps)":
        r"\hat{x} = \frac{x - \text{mean}}{\sqrt{\text{variance} + \varepsilon}}",
    "y_no = sum_i x_ni W_io + b_o": r"y_{no} = \sum_{i} x_{ni}\, W_{io} + b_{o}",
    "dx = dy W^T": r"\mathrm{d}x = \mathrm{d}y\, W^{\top}",
    "dv = (probs * mask)^T dheads": r"\mathrm{d}v = (\text{probs} \odot \text{mask})^{\top}\ \text{dheads}",
    "du/dx = sqrt(2/pi) (1 + 3 * 0.044715 x^2)":
        r"\frac{\mathrm{d}u}{\mathrm{d}x} = \sqrt{\frac{2}{\pi}}\, (1 + 3 \cdot 0.044715\, x^{2})",
    "q k^T / sqrt(D)": r"\frac{q\, k^{\top}}{\sqrt{D}}",
    "v_hat = v / (1 - beta2^t)": r"\hat{v} = \frac{v}{1 - \beta_2^{t}}",
    "W[p, 2i] = sin(p / 10000^(2i/C))": r"W[p, 2i] = \sin\left(\frac{p}{10000^{2i / C}}\right)",
    "p = exp(s - max s) / sum exp(s - max s)": r"p = \frac{\exp(s - \max s)}{\sum \exp(s - \max s)}",
    "max |actual - expected| / max |expected|":
        r"\frac{\max \left|\text{actual} - \text{expected}\right|}{\max \left|\text{expected}\right|}",
    "x_L ~ p(x_L | x_0 ... x_{L-1})": r"x_{L} \sim p(x_{L} \mid x_{0} \dots x_{L - 1})",
    "-sum_t log p(x_t | x_<t)": r"-\sum_{t} \log p(x_{t} \mid x_{<t})",
    "overlap = |{i : g_i in G}| / N": r"\text{overlap} = \frac{\left|\{i\mid g_{i} \in G\}\right|}{N}",
    "dW' = max_lr (step + 1) / 2h": r"\mathrm{d}W' = \frac{\text{max_lr}\ (\text{step} + 1)}{2h}",
    "w <- w - lr m_hat / (norm + 1e-6)": r"w \leftarrow w - \frac{\text{lr}\ \hat{m}}{\text{norm} + 10^{-6}}",
    "scores <= rtol * max |ours|": r"\text{scores} \le \text{rtol} \cdot \max \left|\text{ours}\right|",
    "0 with probability p, else 1 / (1 - p)": r"0\ \text{with probability}\ p,\ \text{else}\ \frac{1}{1 - p}",
    "and -inf where it is later": r"\text{and}\ {-}\infty\ \text{where it is later}",
}  # fmt: skip


def blocks(name):
    """The indented paragraphs of the docstrings in a file, as lists of lines."""
    for node in ast.walk(ast.parse(name.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                if all(line.startswith("    ") for line in paragraph.splitlines()) and paragraph:
                    yield paragraph.splitlines()


@pytest.mark.parametrize("text", TEX)
def test_a_formula_becomes_tex(text):
    assert formulas.tex(text) == TEX[text]


@pytest.mark.parametrize("text", ["(a", "a)", "a @ b", "f(x", "x +", "* x", "a ^", "|x", "x = {1"])
def test_half_a_formula_is_none(text):
    with pytest.raises(ValueError):
        formulas.tex(text)


def test_every_formula_of_the_components_is_understood():
    found = [block for path in Path(components.__file__).parent.glob("*.py") for block in blocks(path)]
    assert len(found) > 20
    for block in found:
        for line in block:
            for is_formula, text in formulas.pieces(line):
                assert not is_formula or text.count("{") == text.count("}"), line
        assert docstrings.formula(block)[0] == ".. rst-class:: formula", block


def test_a_formula_may_refer_to_a_function():
    lines = docstrings.formula(["    dx = dfc W_fc^T     and db as in ``linear_backward``"])
    assert ":math:" in lines[2] and lines[2].endswith("`linear_backward <minigpt2.components.linear.linear_backward>`")


def test_a_formula_that_is_not_understood_stays_as_it_is():
    assert docstrings.formula(['    print("x")']) == ["::", "", '    print("x")']


def test_the_form_of_a_docstring():
    names = docstrings.arguments(layer_norm.layer_norm_forward)
    lines = docstrings.restructured(inspect.getdoc(layer_norm.layer_norm_forward), names, layer_norm.__name__)
    assert lines[0] == "Normalise the last dimension."
    assert sum(":math:`" in line for line in lines) == 2
    assert r"    :x: \ ``(..., C)``\  input" in lines
    assert r"    :bias: \ ``(C,)``\  shift" in lines, "two arguments in a line"
    target = "minigpt2.components.layer_norm.layer_norm_backward"
    assert rf":Returns: y \ ``(..., C)``\  and the cache for :py:obj:`layer_norm_backward <{target}>`." in lines
    assert r":Raises: \ ``ValueError``\  when weight or bias is not \ ``(C,)``\ ." in lines
    assert any(line.startswith(":Source: Ba, Kiros") for line in lines)
    assert any(line.startswith(">>> layer_norm_forward(") for line in lines)


def test_text_is_no_markup():
    assert docstrings.inline("2 * 3 | x_ `` and *really*") == r"2 \* 3 \| x\_ \`\` and *really*"


def test_names_lead_to_what_they_mean():
    assert docstrings.resolve("words", "minigpt2.data.cleaning") == "minigpt2.data.text.words"
    assert docstrings.resolve("minigpt2.trace") == "minigpt2.verification.trace.trace"
    assert docstrings.resolve("AdamW.step") == "minigpt2.components.optimizer.AdamW.step"
    assert docstrings.resolve("layer_norm_forward") == "minigpt2.components.layer_norm.layer_norm_forward"
    assert docstrings.resolve("encode", "minigpt2.tokenizer.Tokenizer.explain") == "minigpt2.tokenizer.Tokenizer.encode"
    assert docstrings.resolve("rng") is None
    assert docstrings.restructured("Of ``text``.", {"text"}, "minigpt2.data.text.load_text")[0] == "Of ``text``."


def test_lists():
    lines = docstrings.restructured("Do:\n\n1. this,\n   then\n2. that\n- or\nnothing.")
    assert [line for line in lines if line] == ["Do:", "#. this, then", "#. that", "- or", "nothing."]
