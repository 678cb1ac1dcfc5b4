"""Grade notebooks: students' answers run in one process, and another one judges what they return.

assignment, submission   what belongs to an exercise, and what somebody handed in
border, cells            values between two processes; the code of a cell
student, answers         the process that runs the answers, and the judge's hold on it
judge                    the process that runs the checks
library                  a search for answers that call the library, or look behind the checks
grader, feedback         many notebooks at once; the table and the pages
with_nbgrader            the same, inside nbgrader
"""
