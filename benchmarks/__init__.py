"""Speed and memory beside the physical limit and the tools a user would pick instead."""
