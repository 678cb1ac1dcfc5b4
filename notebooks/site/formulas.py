r"""The formulas of the docstrings, which are plain text, as TeX: ``sqrt(variance + eps)`` as ``\sqrt{...}``.

A line is cut into pieces where it has three spaces or more, two after a comma or a colon, or prose after a comma; a
piece is a formula or prose. What is not understood raises ValueError, and is then shown as it was written: a literal
block is better than half a formula.
"""

import itertools
import re

GREEK = {name: "\\" + name for name in ("alpha", "beta", "gamma", "lambda", "mu", "pi", "sigma", "theta")}
SYMBOLS = GREEK | {"eps": r"\varepsilon", "inf": r"\infty"}
OPERATORS = {name: "\\" + name for name in ("log", "ln", "exp", "tanh", "sin", "cos", "max", "min", "sum")}
OPERATORS |= {"mean": r"\operatorname{mean}", "argmax": r"\operatorname*{arg\,max}", "log2": r"\log_2"}
RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", "<-": r"\leftarrow", "~": r"\sim"}
CLOSING = {"(": ")]", "[": ")]", "{": "}", "|": "|"}
CONNECTIVES = {"else", "where", "with", "for", "and", "if", "of", "the", "as", "so", "that"}  # end what is divided
SCALARS = ("rtol",)  # a product with them is no product of arrays, element by element
INDICES = re.compile(r"\w|[bcijknostv\d]{2}")  # what a name may end in after _, for it to be a subscript
_OPEN, _CLOSE = r"\{", r"\}"
CUT = re.compile(r"\s{3,}(?![\s=<>~])|(?<=[,:])\s{2,}|(?<=,)\s(?=(?:[a-z]{2,}|0) (?:[a-z]{2,}|-))")
TOKEN = re.compile(
    r"(?P<space> *)(?:(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<word>[A-Za-z]+(?:-[A-Za-z]+)+|[A-Za-z]{2,}'s|[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*)"
    r"|(?P<sign>\.\.\.|<-|<=|>=|!=|[-=<>~+*/^()\[\]{}|,;:._']))"
)


def pieces(line):
    """[(is it a formula?, text or TeX)] of one line.

    raises: ValueError where there is something that no formula has.
    """
    return [_piece(text) for text in CUT.split(line.strip())]


def tex(text):
    r"""The TeX of a formula.

    raises: ValueError where it is not one.

    >>> tex("y = (x - mean) / sqrt(variance + eps)")
    'y = \\frac{x - \\text{mean}}{\\sqrt{\\text{variance} + \\varepsilon}}'
    """
    parser = _Parser(text)
    result = parser.sequence()
    if parser.tokens[parser.at][0] != "end":
        raise ValueError(f"{parser.tokens[parser.at][1]!r} has no partner in {text!r}")
    words = re.compile(r"\\text\{([^{}]*)\}\\ \\text\{")
    while words.search(result):
        result = words.sub(r"\\text{\1 ", result)
    return re.sub(r" +", " ", re.sub(r"(\\?\s)+$", "", result)).strip()


def _piece(text):
    words = re.sub(r"``\w+``", "code", text)  # the name of a function may stand in prose, not in a formula
    if re.search(r"[\"`@#%\\$]", words):
        raise ValueError(f"{text!r} is not a formula")
    if not re.search(r"[=<>+*/^_|~\[\]{}]|\blog\b|(?<!\w)-", words) and re.search(r"[A-Za-z]{2}", words):
        return False, text
    return True, tex(text)


class _Parser:
    """Recursive descent: a sequence of relations, of sums, of products, of factors. Each method returns TeX."""

    def __init__(self, text):
        self.tokens, end = [], 0  # (kind, text, spaces before it)
        while end < len(text.rstrip()):
            match = TOKEN.match(text, end)
            if match is None:
                raise ValueError(f"no formula has {text[end:]!r}")
            self.tokens.append((match.lastgroup, match[match.lastgroup], len(match["space"])))
            end = match.end()
        self.tokens += [("end", "", 1)] * 2
        self.at = 0
        self.small = 0  # above 0 in exponents, where a fraction is written with a slash
        self.bars = 0  # how many |...| are open

    def sequence(self, closing=""):
        """Everything up to a closing bracket, or to the end."""
        result = ""
        while True:
            kind, text, spaces = self.tokens[self.at]
            if kind == "end" or (text and text in closing):
                return result
            if text in (",", ";", ":", "."):
                self.at += 1
                mark = r"\mid" if text == ":" and closing == "}" else text
                result += mark + (r"\ " if mark == text and not (text == "," and closing) else " ")
            elif text in RELATIONS:
                self.at += 1
                result += f" {RELATIONS[text]} "
            elif text == "in" and self._begins_set():
                self.at += 1
                result += r" \in "
            elif text == "|" and not self.bars and self._is_given():
                self.at += 1
                result += r" \mid "
            elif text in (")", "]", "}"):
                raise ValueError(f"{text} closes nothing")
            else:
                result += (r"\quad " if spaces > 1 and result and result[-1] != " " else "") + self.sum()

    def sum(self):
        result = ""
        while True:
            _, sign, spaces = self.tokens[self.at]
            if sign and sign in "+-":
                self.at += 1
                one_sided = spaces and not self.tokens[self.at][2]  # "and -inf"
                result += sign if not result else rf"\ {{{sign}}}" if one_sided else f" {sign} "
            elif result:
                return result
            result += self.product()

    def product(self):
        factors = [self.factor()]
        while True:
            kind, text, spaces = self.tokens[self.at]
            if text == "*":
                self.at += 1
                scalar = factors[-1][-1:].isdigit() or factors[-1] in map(_word, SCALARS)
                factors += [r" \cdot " if scalar else r" \odot ", self.factor()]
            elif text == "/":
                self.at += 1
                tight = not spaces and not self.tokens[self.at][2]
                below = self.factor() if tight else self.divisor()
                first = len(factors) - 1 if tight else _begin_of_dividend(factors)
                above = _joined(factors[first:])
                enclosed = first == len(factors) - 1 and above.startswith(("(", r"\left"))
                if self.small or (re.search(r"\\text\{[a-z]+\}\\ \\text\{[a-z]+\}", above) and not enclosed):
                    factors[first:] = [f"{above} / {below}"]
                else:
                    factors[first:] = [rf"\frac{{{_bare(above)}}}{{{_bare(below)}}}"]
            elif kind in ("word", "number") or text in ("(", "[", "{", "...") or (text == "|" and not self.bars):
                if (text == "in" and self._begins_set()) or (text == "|" and self._is_given()):
                    return _joined(factors)
                factors += [r"\quad "] * (spaces > 1 and not _is_operator(factors[-1])) + [self.factor()]
            else:
                return _joined(factors)

    def divisor(self):
        """A factor; an operator with what it is applied to, and a run of words, belong together."""
        parts = [self.factor()]
        while True:
            kind, text, spaces = self.tokens[self.at]
            words = parts[-1].startswith(r"\text") and re.fullmatch("[a-z-]+", text) and spaces == 1
            if not words and not (_is_operator(parts[-1]) and (kind == "word" or text in ("(", "|"))):
                return _joined(parts)
            parts.append(self.factor())

    def factor(self):
        """An atom with its exponent, subscript, index and arguments."""
        before, (kind, text, _) = self.tokens[self.at - 1][1], self.tokens[self.at]
        self.at += 1
        following, name, spaces = self.tokens[self.at]
        if kind == "number":
            mantissa, _, exponent = text.partition("e")
            result = (mantissa + r" \cdot " if mantissa != "1" else "") + f"10^{{{exponent}}}" if exponent else text
            if following == "word" and not spaces:  # 2i
                self.at += 1
                result += _name(name)
        elif text == "...":
            return r"\dots"
        elif kind == "word":
            applied = self._next("(") or (self.tokens[self.at][1] == "_")
            if text == "sqrt" and self._next("("):
                result = rf"\sqrt{{{_bare(self.group())}}}"
            elif name in ("of", "over", "to") or (text == "a" and before.isalpha() and name.isalpha()):
                result = _word(text) if len(text) > 1 or text == "a" else _name(text)
            else:
                result = _name(text, called=applied, alone=self.tokens[self.at][0] == "end" or self._ends_atom())
        elif text in CLOSING:
            self.at -= 1
            result = self.group()
        elif text in ("+", "-"):
            return text + self.factor()
        else:
            raise ValueError(f"{text!r} cannot stand here")
        while True:
            if self._next("^"):
                self.at += 1
                self.small += 1
                power = _bare(self.factor())
                self.small -= 1
                result += r"^{\top}" if power == "T" else f"^{{{power}}}"
            elif self._next("_"):
                self.at += 1
                below = RELATIONS["<"] if self._next("<") else ""
                self.at += bool(below)
                result += f"_{{{below}{_bare(self.factor()).removeprefix(_OPEN).removesuffix(_CLOSE)}}}"
            elif self._next("'"):
                self.at += 1
                result += "'"
            elif self._next("(") or self._next("["):
                result += self.group()
            else:
                return result

    def group(self):
        """What stands in brackets or between bars, with them."""
        opening = self.tokens[self.at][1]
        self.at += 1
        bars, self.bars = self.bars, int(opening == "|")
        content = self.sequence(CLOSING[opening])
        self.bars = bars
        closing = self.tokens[self.at][1]
        if not closing:
            raise ValueError(f"{opening} is not closed")
        self.at += 1
        size = r"\left", r"\right"
        if not re.search(r"\\frac|\\sum|\\max_", content):
            size = "", ""
        opening, closing = (rf"\{mark}" if mark in "{}" else mark for mark in (opening, closing))
        if opening == closing == "|":
            return rf"\left|{content}\right|"
        return f"{size[0]}{opening}{content}{size[1]}{closing}"

    def _next(self, text):
        """Whether a sign follows without a space between."""
        return self.tokens[self.at][1:] == (text, 0)

    def _ends_atom(self):
        """Whether what comes is no argument: "max = 3", "(mean)"."""
        return self.tokens[self.at][1] in (*RELATIONS, *"+-*/,;:.)]}")

    def _begins_set(self):
        """Whether what follows "in" is a set: an interval, one capital letter, or ids."""
        following = self.tokens[self.at + 1][1]
        return following == "[" or re.fullmatch("[A-Z]|ids", following) is not None

    def _is_given(self):
        """Whether a bar that stands between two operands means "given"."""
        return self.tokens[self.at][2] > 0 and self.tokens[self.at + 1][2] > 0


def _name(text, called=False, alone=False):
    """A variable, a function, an operator or a word.

    called: a bracket follows at once; alone: nothing follows that an operator could be applied to
    """
    base, *parts = text.split("_")
    if text in OPERATORS and (called or not alone):
        return OPERATORS[text]
    if base in OPERATORS and len(parts) == 1 and INDICES.fullmatch(parts[0]):
        return f"{OPERATORS[base]}_{{{parts[0]}}}"
    if text in SYMBOLS:
        return SYMBOLS[text]
    match = re.fullmatch(r"([a-z]+)(\d)", text)
    if match and match[1] in GREEK:
        return f"{GREEK[match[1]]}_{match[2]}"
    if re.fullmatch(r"d?[A-Za-z]", base):
        hat = "hat" in parts
        symbol = rf"\hat{{{base[-1]}}}" if hat else base[-1]
        parts = [part for part in parts if part != "hat"]
        below = ",".join(part if INDICES.fullmatch(part) else rf"\text{{{part}}}" for part in parts)
        return (r"\mathrm{d}" if len(base) == 2 else "") + symbol + (f"_{{{below}}}" if below else "")
    if not called and parts and INDICES.fullmatch(parts[-1]):
        return _word("_".join([base, *parts[:-1]])) + f"_{{{parts[-1]}}}"
    return _word(text)


def _word(text):
    return rf"\text{{{text}}}"


def _joined(factors):
    """Factors side by side, as far apart as words where one of two is a word."""
    result = factors[0]
    for before, after in itertools.pairwise(factors):
        signs = r" \cdot ", r" \odot ", r"\quad "
        if before in signs or after in signs:
            gap = ""
        elif _is_operator(before):
            gap = " "
        elif r"\text" in before[:5] or r"\text" in after[:5] or r"\dots" in (before, after):
            gap = r"\ " if r"\dots" not in (before, after) else " "
        else:
            gap = r"\, "
        result += gap + after
    return result


def _is_operator(factor):
    r"""Whether it waits for what it is applied to: \log, \sum_{i}, \tanh^{2}."""
    return factor.startswith(tuple(OPERATORS.values())) and factor[-1] not in ")|"


def _begin_of_dividend(factors):
    """Which factor a division with spaces around begins with: the first after the last connective."""
    words = [index for index, factor in enumerate(factors) if factor[6:-1] in CONNECTIVES]
    return min(words[-1] + 1 if words else 0, len(factors) - 1)


def _bare(text):
    """Without the brackets that enclose all of it."""
    inner = re.fullmatch(r"(?:\\left)?\((.*?)(?:\\right)?\)", text)
    if inner is None:
        return text
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and index < len(text) - 1 and character == ")":
            return text
    return inner[1]
