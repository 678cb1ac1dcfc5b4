"""Disk and network: whole files, checkpoints, those of other programs, downloads."""
