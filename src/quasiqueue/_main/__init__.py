"""Code that runs in the main process: all decisions, and the writer's and the collector's threads."""
