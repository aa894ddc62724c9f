"""From the logical graph to tasks: chaining and parallelism."""
