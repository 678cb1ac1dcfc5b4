"""The components of GPT-2, section 2.5 of the document: a file each, every forward above its backward."""
