"""Disk and network: whole files, checkpoints, downloads."""
