"""The zero-shot tasks of the GPT-2 paper (Radford et al. 2019, section 3): no example, no gradient step.

Each task is a function (model, tokenizer, data, ...) -> Result in a file of its own; ``minigpt2 eval --task`` calls it.
"""

from importlib import import_module
from inspect import signature

TASKS = {
    "wikitext2": "language modelling: articles of Wikipedia, wiki.test.tokens",
    "wikitext103": "language modelling: articles of Wikipedia, wiki.test.tokens",
    "ptb": "language modelling: news of 1989, the Penn Treebank, ptb.test.txt",
    "1bw": "language modelling: sentences of news, the One Billion Word Benchmark",
    "text8": "language modelling: Wikipedia in the letters a to z",
    "enwik8": "language modelling: Wikipedia with its markup",
    "lambada": "the last word of a passage, lambada_test.jsonl",
    "cbt_cn": "the Children's Book Test, a common noun of ten, cbtest_CN_test_2500ex.txt",
    "cbt_ne": "the Children's Book Test, a named entity of ten, cbtest_NE_test_2500ex.txt",
    "summarization": "summaries of news, CNN and Daily Mail",
    "translation": "WMT-14, English and French",
    "natural_questions": "short answers to questions that people asked Google",
    "coqa": "questions and answers in a conversation about a text",
}

FUNCTIONS = {  # where they are not called as their task: file and function
    **dict.fromkeys(("wikitext2", "wikitext103", "ptb", "1bw", "text8", "enwik8"), ("language_modeling",) * 2),
    **dict.fromkeys(("cbt_cn", "cbt_ne"), ("cbt",) * 2),
    "natural_questions": ("question_answering", "natural_questions"),
    "coqa": ("question_answering", "coqa"),
}


def function_of(task):
    """The function of a task, and the argument that tells it its name where it serves several.

    Its file is imported when it is asked for: what one task needs is no burden on the others.

    task: one of TASKS
    returns function, {} or {"task": task}.
    """
    file, name = FUNCTIONS.get(task, (task, task))
    function = getattr(import_module(f"minigpt2.tasks.{file}"), name)
    return function, {"task": task} if "task" in signature(function).parameters else {}
