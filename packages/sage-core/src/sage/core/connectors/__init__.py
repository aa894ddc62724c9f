"""Where records come from and go to beyond this process: the contract of connectors, and those built in."""
