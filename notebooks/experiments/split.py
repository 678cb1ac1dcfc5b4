"""A text cut for an experiment: to learn from, to choose on, and to report on.

    python notebooks/experiments/split.py shakespeare runs/masked/drama

writes two files. The first nine tenths of the text are in ``drama.txt``; ``minigpt2 train`` learns from nine tenths of
that and keeps its last tenth, on which an experiment chooses a step or a learning rate. ``drama-test.txt`` is a text
whose last tenth is the end of the whole text. Given with weight 0, ``--data drama.txt:1 drama-test.txt:0``, it is
evaluated and nothing else, and on it no choice is made.
"""

import argparse
from pathlib import Path
from pydoc_data.topics import topics

from minigpt2.data import load_text
from minigpt2.data.cleaning import deduplicate
from minigpt2.storage.files import atomic_write


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="a UTF-8 text, 'shakespeare', or 'topics': Python's help texts without copies")
    parser.add_argument("name", type=Path, help="the beginning of the names of the two files")
    parser.add_argument("--most", type=int, help="characters in the first, of which the test has a twentieth at most")
    options = parser.parse_args(arguments)
    split(options.text, options.name, options.most)


def split(text, name, most=None):
    """Write ``name.txt`` and ``name-test.txt``."""
    text = "\n".join(deduplicate(list(topics.values()))[0]) if text == "topics" else load_text([text])
    tenth = len(text) // 10
    test = min(tenth, most // 20) if most else tenth
    name.parent.mkdir(parents=True, exist_ok=True)
    for path, part in ((f"{name}.txt", text[:-tenth][:most]), (f"{name}-test.txt", text[-10 * test :])):
        with atomic_write(path, "w") as file:
            file.write(part)


if __name__ == "__main__":
    main()
