"""What others verify their GPT-2 with: traces, where two of them part, the names of mistakes, our own references."""
