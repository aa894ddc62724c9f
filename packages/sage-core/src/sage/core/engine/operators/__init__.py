"""The operators: what each kind does with a record, written once for every backend."""
