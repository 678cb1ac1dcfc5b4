"""What lies on the disk or comes over the network: whole files, checkpoints, downloads."""
