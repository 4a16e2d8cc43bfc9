"""The signatures of files, from a store where it has them."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import joblib

from skchallenge.embed._cached import Embedded, cached_embed
from skchallenge.embed._keys import fingerprint_of
from skchallenge.embed._store import Session, StoreLike
from skchallenge.exceptions import MediaError
from skchallenge.feed._signature import FPS, GRID, SIDE, Signature, sign_film
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_luma_thumbnails

_RULES = 2  # raise it when files become other signatures


def sign_files(
    paths: Sequence[str], store: StoreLike, limits: MediaLimits, n_jobs: int | None
) -> Iterator[tuple[str, Signature | MediaError]]:
    """Yield each path once, with its signature or why there is none."""
    model = _SignatureModel(limits, joblib.effective_n_jobs(n_jobs))
    with closing(cached_embed(model, paths, store)) as signed:
        yield from signed


class _SignatureModel:
    """What computes signatures, as `cached_embed` wants it."""

    n_jobs: int | None = (
        1  # files are decoded side by side, and comparing them costs little
    )
    _chunk_size, _commit_size = 64, 8
    _to_bytes = staticmethod(Signature.to_bytes)
    _from_bytes = staticmethod(Signature.from_bytes)

    def __init__(self, limits: MediaLimits, n_threads: int) -> None:
        self.limits = limits
        self.n_threads = n_threads

    def _fingerprint(self, session: Session | None) -> bytes:
        return fingerprint_of("signature", _RULES, FPS, SIDE, GRID)

    def _contents(
        self, session: Session, names: Sequence[str]
    ) -> Iterator[tuple[str, bytes | MediaError | None]]:
        return session.digests(names, self.limits.timeout_s)

    def _embed(
        self, names: Sequence[str], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        films = read_luma_thumbnails(
            names,
            fps=FPS,
            size=SIDE,
            n_threads=self.n_threads,
            limits=self.limits,
            hashed=hashed,
        )
        for name, film in zip(names, films, strict=True):
            if isinstance(film, MediaError):
                yield Embedded(name, film, None)
            else:
                yield Embedded(name, sign_film(film.luma), film.digest)

    def _for_workers(self) -> "_SignatureModel":
        return self
