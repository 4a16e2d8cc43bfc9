"""Media files: decoded in worker processes, measured and probed; no torch."""

__all__: list[str] = []  # public names are exported by `skchallenge.embed`
