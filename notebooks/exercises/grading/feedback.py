"""What graded notebooks come to: a table for the teacher, and a page for each student."""

import csv
import html
import io
import re

from minigpt2.storage.files import atomic_write

TEXTS = {
    "en": {
        "points": "{points} of {possible} points",
        "check": "check", "got": "points", "why": "why not more",
        "hidden": "your teacher's tests", "unworthy": "no points", "report": "The report of {name}",
        "failure": "This notebook could not be graded",
        "added": "About the cells of this notebook", "file": "File: {file}",
    },
    "zh": {
        "points": "{points} 分，满分 {possible} 分",
        "check": "检查", "got": "得分", "why": "失分原因",
        "hidden": "教师的测试", "unworthy": "不计分", "report": "{name} 的报告",
        "failure": "这份笔记本无法评分",
        "added": "关于这份笔记本的单元格", "file": "文件：{file}",
    },
}  # fmt: skip
LANGUAGES = tuple(TEXTS)
SHOWN = 20_000  # characters of a report on a page
SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula, and formulas can do harm

PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 52rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.4rem; margin-bottom: 0; }}
h2 {{ font-size: 1.1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid #ccc; }}
td:nth-child(2) {{ white-space: nowrap; }}
pre {{ background: #f4f4f4; padding: .7rem; white-space: pre-wrap; font-size: .85rem; }}
.small {{ color: #555; font-size: .9rem; }}
@media (max-width: 500px) {{
  tr {{ display: block; padding: .4rem 0; border-bottom: 1px solid #ccc; }}
  th {{ display: none; }}
  td {{ display: block; padding: 0; border: 0; }}
}}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def table(marks):
    """The text of a CSV file with a row for each notebook: points of each check, and why they are not more.

    It begins with a byte order mark: without one, Excel reads UTF-8 as an old encoding of the country.
    """
    checks = list(dict.fromkeys(check.name for each in marks for check in each.checks))
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["student", "file", "exercise", "points", "of", *checks, "reasons", "added", "look at"])
    for each in marks:
        of = {check.name: check for check in each.checks}
        lost = [check for check in each.checks if check.points < check.possible]
        reasons = [each.failure] if each.failure else [f"{check.name}: {check.reason}" for check in lost]
        row = [each.student, str(each.path), each.exercise, f"{each.points:g}", f"{each.possible:g}"]
        row += [f"{of[name].points:g}" if name in of else "" for name in checks]
        row += ["; ".join(reasons), "; ".join(each.added), "; ".join(each.look_at)]
        writer.writerow([_harmless(cell) for cell in row])
    return f"\ufeff{file.getvalue()}"


def page(marks, language):
    """The text of a student's HTML page, without anything of the hidden tests but whether they passed, and why not.

    language: "en" or "zh"
    """
    text = {name: html.escape(value) for name, value in TEXTS[language].items()}
    title = f"{marks.student}: {marks.exercise or marks.path.name}"
    body = [f"<h1>{html.escape(title)}</h1>"]
    body.append(f'<p class="small">{text["file"].format(file=html.escape(marks.path.name))}</p>')
    if marks.failure:
        body.append(f"<p><strong>{text['failure']}</strong>: {html.escape(marks.failure)}</p>")
    if marks.checks:
        total = text["points"].format(points=f"{marks.points:g}", possible=f"{marks.possible:g}")
        body.append(f"<p><strong>{total}</strong></p>")
        body.append(f"<table><tr><th>{text['check']}</th><th>{text['got']}</th><th>{text['why']}</th></tr>")
        for check in marks.checks:
            name = html.escape(_title(check))
            if check.hidden:
                name += f' <span class="small">({text["hidden"]})</span>'
            got = f"{check.points:g} / {check.possible:g}" if check.possible else text["unworthy"]
            body.append(f"<tr><td>{name}</td><td>{got}</td><td>{html.escape(check.reason)}</td></tr>")
        body.append("</table>")
    if marks.added:
        body.append(f"<h2>{text['added']}</h2><ul>")
        body += [f"<li>{html.escape(each)}</li>" for each in marks.added]
        body.append("</ul>")
    for check in marks.checks:
        if check.printed.strip() and not check.hidden:
            body.append(f"<h2>{text['report'].format(name=html.escape(_title(check)))}</h2>")
            body.append(f"<pre>{html.escape(check.printed[:SHOWN])}</pre>")
    return PAGE.format(language=language, title=html.escape(title), body="\n".join(body))


def write(marks, folder, language=""):
    """Write folder/marks.csv, and a page for each notebook in folder/feedback.

    language: of the pages; by default that which a notebook's metadata names, or English
    """
    pages = folder / "feedback"
    pages.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "marks.csv", "w") as file:
        file.write(table(marks))
    taken = set()
    for each in marks:
        stem = re.sub(r"[^\w.-]+", "_", f"{each.student}_{each.exercise or each.path.stem}").strip("._")[:100] or "page"
        name, count = stem, 1
        while name.lower() in taken:  # two submissions of one student
            count += 1
            name = f"{stem}_{count}"
        taken.add(name.lower())
        spoken = language or (each.language if each.language in LANGUAGES else LANGUAGES[0])
        with atomic_write(pages / f"{name}.html", "w") as file:
            file.write(page(each, spoken))


def _title(check):
    """The name of a check for people."""
    return check.name.removeprefix("check_").removeprefix("hidden_")


def _harmless(cell):
    """A text on one line that no spreadsheet takes for a formula."""
    cell = " ".join(str(cell).replace("\0", "").split())
    return f"'{cell}" if cell.startswith(SPREADSHEET) else cell
