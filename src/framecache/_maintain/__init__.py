"""Maintenance of a cache: verify, repair, repack, collect garbage, copy, diagnose."""
