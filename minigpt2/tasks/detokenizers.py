"""From the tokenised text of the benchmarks back to text as people write it.

The benchmarks come with spaces around punctuation, contractions cut in two and symbols of their own, none of which
GPT-2 has seen. A de-tokeniser removes them; the log-probability of the result is then divided by the number of
tokens of the original (Radford et al. 2019, section 3.1: "invertible de-tokenizers", worth 2.5 to 5 in perplexity).

All work line by line and keep line ends. Spaces separate the words: each is respelled if it is a symbol, and then
joined to the word before or after it, or kept apart; none is dropped, moved or split. The paper's own
de-tokenisers were not released: these are ours, and figures depend on them.
"""

from functools import partial

CONTRACTIONS = frozenset(["'s", "'m", "'d", "'t", "'re", "'ve", "'ll", "n't"])
NO_SPACE_BEFORE = frozenset([*",.;:!?%)]}'", "...", '"'])
NO_SPACE_AFTER = frozenset([*"([{$£€#", "``", "`"])
TREEBANK = {  # symbols of the Penn Treebank, in lower case
    "-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}",
    "``": '"', "''": '"', "`": "'",
}  # fmt: skip


def wikitext(text):
    """WikiText-2 and WikiText-103.

    - between two words, "@-@" is a hyphen, "@,@" and "@.@" are the comma and the point of a number: 1 @,@ 000 is 1,000
    - , . ; : ! ? % ) ] } follow their word, ( [ { $ £ € # precede theirs, without a space
    - 's 't 're 've 'll 'm 'd and n't follow their word: didn 't is didn't, Valkyria 's is Valkyria's
    - " and ' come in pairs, of which the first precedes its word and the second follows it; a ' after a word that
      ends in s, where none is open, is a possessive, and so is a last one without a partner: the dogs ' bowl is the
      dogs' bowl
    - a heading, = = Career = =, is written as in a wiki: == Career ==
    - <unk> stays
    Spaces at both ends of a line are removed.

    text: str; returns str.
    """
    return _by_line(text, _wikitext_line)


def penn_treebank(text):
    """The Penn Treebank as prepared by Mikolov: lower case, no punctuation between words, one sentence per line.

    - 's 'm 'd 're 've 'll and n't follow their word, and so does the ' of a plural: traders ' is traders'
    - $ and # (pounds) precede their number, % follows it: $ N is $N
    - -lrb- is ( and -rrb- is ), likewise -lsb- [ and -lcb- {; `` and '' are quotation marks; \\/ is /, \\* is *
    - <unk> (a rare word) and N (a number) stay: any particular word or number in their place would make another text
    Spaces at both ends of a line are removed.

    text: str; returns str.
    """
    return _by_line(text, _treebank_line)


def one_billion_words(text):
    """The One Billion Word Benchmark, one sentence per line.

    - , . ; : ! ? % ) ] } follow their word, ( [ { $ £ € # precede theirs, without a space
    - 's 't 're 've 'll 'm 'd and n't follow their word: don 't is don't
    - " comes in pairs, of which the first precedes its word and the second follows it; ' follows its word
    - -- stays apart
    Spaces at both ends of a line are removed.

    text: str; returns str.
    """
    return _by_line(text, partial(_join, quotes=('"',)))


def childrens_book_test(text):
    """The Children's Book Test, tokenised as the Penn Treebank is.

    - , . ; : ! ? % ) ] } follow their word, ( [ { $ £ € # precede theirs, without a space
    - 's 'm 'd 're 've 'll and n't follow their word: ca n't is can't
    - `` opens a quotation, '' closes it, both become "; ` opens one in single quotes and becomes '; ' follows its word
    - -LRB- is ( and -RRB- is ), likewise -LSB- [ and -LCB- {; \\/ is /, \\* is *
    Spaces at both ends of a line are removed.

    text: str; returns str.
    """
    return _by_line(text, _treebank_line)


def identity(text):
    """text8 and enwik8, which were not tokenised: nothing is changed."""
    return text


def _by_line(text, join):
    """The text with the words of each line joined again."""
    return "\n".join(join([word for word in line.split(" ") if word]) for line in text.split("\n"))


def _wikitext_line(words):
    level = next((n for n, word in enumerate(words) if word != "="), len(words))
    if 0 < level < len(words) - level and words[-level:] == ["="] * level:
        return f"{'=' * level} {_wikitext_line(words[level:-level])} {'=' * level}"
    return _join(words, quotes=('"', "'"), inner=("@-@", "@,@", "@.@"))


def _treebank_line(words):
    words = [word.replace("\\/", "/").replace("\\*", "*") for word in words]
    return _join(words, TREEBANK, CONTRACTIONS - {"'t"})  # 't was: here it is the start of a word


def _join(words, spelled=None, contractions=CONTRACTIONS, quotes=(), inner=()):
    """Join the words of one line.

    spelled: {symbol in lower case: what it stands for}
    contractions: words, in lower case, that belong to the word before them
    quotes: characters that open a quotation at the first occurrence and close it at the next
    inner:  symbols such as @-@, between two words without spaces
    """
    line, joined, opened = "", True, set()  # joined: whether the next word follows without a space
    for n, word in enumerate(words):
        written = (spelled or {}).get(word.lower(), word)
        after = written in NO_SPACE_AFTER or word in NO_SPACE_AFTER
        before = not after and (written in NO_SPACE_BEFORE or word.lower() in contractions)
        if word in inner and 0 < n < len(words) - 1:
            written, before, after = word[1], True, True
        elif word in opened:
            opened.remove(word)
        elif word in quotes and not (word == "'" and _is_possessive(words, n)):
            opened.add(word)
            before, after = False, True
        line += written if joined or before else " " + written
        joined = after
    return line


def _is_possessive(words, n):
    """Whether the ' that is word n belongs to the word before it, and does not open a quotation."""
    return (n > 0 and words[n - 1].endswith("s")) or "'" not in words[n + 1 :]
