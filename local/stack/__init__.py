"""The local stack: what `make up`, `make down`, `make demo` and `make test` do on this machine."""
