"""The engine: what a task does, written once for every backend, and the coordinator of a job."""
