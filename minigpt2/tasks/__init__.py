"""The zero-shot tasks of the GPT-2 paper (Radford et al. 2019, section 3): no gradient step.

Translation and Natural Questions show a few examples in the prompt. Each task is a function (model, tokenizer, data,
...) -> Result in a file of its own; ``minigpt2 eval --task`` calls it.
"""

from importlib import import_module
from inspect import signature

TASKS = {
    "wikitext2": "language modelling: Wikipedia articles, wiki.test.tokens",
    "wikitext103": "language modelling: Wikipedia articles, wiki.test.tokens",
    "ptb": "language modelling: news from 1989, the Penn Treebank, ptb.test.txt",
    "1bw": "language modelling: sentences from the news, the One Billion Word Benchmark",
    "text8": "language modelling: Wikipedia in the letters a to z",
    "enwik8": "language modelling: Wikipedia with its markup",
    "lambada": "the last word of a passage, lambada_test.jsonl",
    "cbt_cn": "the Children's Book Test, one of ten common nouns, cbtest_CN_test_2500ex.txt",
    "cbt_ne": "the Children's Book Test, one of ten named entities, cbtest_NE_test_2500ex.txt",
    "summarization": "summaries of news articles, CNN and Daily Mail",
    "translation": "WMT-14, English and French",
    "natural_questions": "short answers to questions that people asked Google",
    "coqa": "questions and answers in a conversation about a text",
}

FUNCTIONS = {  # file and function of the tasks that are not named after them
    **dict.fromkeys(("wikitext2", "wikitext103", "ptb", "1bw", "text8", "enwik8"), ("language_modeling",) * 2),
    **dict.fromkeys(("cbt_cn", "cbt_ne"), ("cbt",) * 2),
    "natural_questions": ("question_answering", "natural_questions"),
    "coqa": ("question_answering", "coqa"),
}


def function_of(task):
    """The function of a task, and an argument with the task's name if it serves several.

    Its file is imported only now, so that no task needs what another one imports.

    task: one of TASKS
    returns function, {} or {"task": task}.
    """
    file, name = FUNCTIONS.get(task, (task, task))
    function = getattr(import_module(f"minigpt2.tasks.{file}"), name)
    return function, {"task": task} if "task" in signature(function).parameters else {}
