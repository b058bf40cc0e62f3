"""Measuring time and memory of networks: the `bench` command."""
