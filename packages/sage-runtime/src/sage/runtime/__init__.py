"""SAGE runtime: the JobManager daemon, the shim and the job process."""
