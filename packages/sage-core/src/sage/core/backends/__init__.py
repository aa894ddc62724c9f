"""Backends place tasks and move messages between them. Nothing more."""
