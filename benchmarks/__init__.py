"""Speed and memory, compared with the physical limit and the tools a user would pick instead."""
