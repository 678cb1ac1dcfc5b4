"""De-tokenisers, against lines rewritten by hand, and what they do to any line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt2.tasks import detokenizers
from minigpt2.tasks.detokenizers import childrens_book_test, identity, one_billion_words, penn_treebank, wikitext


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (" the well @-@ known town \n", "the well-known town\n"),
        (" 12 @,@ 000 people in 3 @.@ 5 km , or 4 % ; so : yes ! \n", "12,000 people in 3.5 km, or 4%; so: yes!\n"),
        (" Anna 's friends didn 't go , and we 'd <unk> . \n", "Anna's friends didn't go, and we'd <unk>.\n"),
        (' The song " Blue " ( $ 5 ) was " new " . \n', 'The song "Blue" ($5) was "new".\n'),
        (" the players ' union and the film ' Dawn ' \n", "the players' union and the film 'Dawn'\n"),
        (" O ' Neill [ sic ] \n", "O' Neill [sic]\n"),
        (" = Robert <unk> = \n", "= Robert <unk> =\n"),
        (" = = = Post @-@ war = = = \n", "=== Post-war ===\n"),
        (" = = a = \n", "= = a =\n"),
        (" \n", "\n"),
        ("", ""),
        (" @-@ edge @-@ ", "@-@ edge @-@"),
        (" a , \n \n = B = \n", "a,\n\n= B =\n"),
    ],
)
def test_wikitext(line, text):
    assert wikitext(line) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (" mr. <unk> is n't chairman of N companies \n", "mr. <unk> isn't chairman of N companies\n"),
        (" the company 's stock rose $ N or N % \n", "the company's stock rose $N or N%\n"),
        (" traders ' fears they 're u.s. &  co \n", "traders' fears they're u.s. & co\n"),
        (" -lrb- and\\/or -rrb- `` yes '' -LSB- x -rsb- \n", '(and/or) "yes" [x]\n'),
        (" 't was\n", "'t was\n"),
        (" well 't was\n", "well 't was\n"),
    ],
)
def test_penn_treebank(line, text):
    assert penn_treebank(line) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('He said , " I don \'t know " .\n', 'He said, "I don\'t know".\n'),
        ("It 's the students ' turn -- ( AP ) .\n", "It's the students' turn -- (AP).\n"),
        ('" A " and " B "\n', '"A" and "B"\n'),
        ("well @-@ known\n", "well @-@ known\n"),
    ],
)
def test_one_billion_words(line, text):
    assert one_billion_words(line) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("`` I ca n't , '' said XXXXX -LRB- softly -RRB- .", '"I can\'t," said XXXXX (softly).'),
        ("XXXXX 's dog ; 't was ` so ' !", "XXXXX's dog; 't was 'so'!"),
    ],
)
def test_childrens_book_test(line, text):
    assert childrens_book_test(line) == text


def test_identity_changes_nothing():
    assert identity(" a , b @-@ c \n") == " a , b @-@ c \n"


SPELLED = {  # by hand, and only where a symbol stands alone
    "-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}", "``": '"', "''": '"',
    "`": "'",
}  # fmt: skip
SYMBOLS = [*SPELLED, "-LRB-", '"', "'", "@-@", "@,@", "'s", "n't", ",", ".", "(", ")", "$", "%", "=", "<unk>", "N"]
WORDS = st.one_of(st.sampled_from(SYMBOLS), st.text("aszB's=,é日\t", min_size=1, max_size=4))


@pytest.mark.slow
@given(st.lists(st.lists(WORDS, max_size=12), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("name", ["wikitext", "penn_treebank", "one_billion_words", "childrens_book_test"])
def test_words_survive_in_order(name, lines):
    """Without its spaces the result is the original, but for the symbols that stand for something."""
    result = getattr(detokenizers, name)("\n".join(f" {'  '.join(line)} " for line in lines))
    for line, written in zip(lines, result.split("\n"), strict=True):
        treebank = name in ("penn_treebank", "childrens_book_test")
        expected = "".join(SPELLED.get(word.lower(), word) if treebank else word for word in line)
        got = written.replace(" ", "")
        if name == "wikitext":  # a hyphen or comma may have come out of its signs
            expected, got = (x.replace("@-@", "-").replace("@,@", ",") for x in (expected, got))
        assert got == expected
        assert not written.startswith(" ") and not written.endswith(" ") and "  " not in written
