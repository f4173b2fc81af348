"""The contestants: each function sets a job up, in an environment that has what it imports."""
