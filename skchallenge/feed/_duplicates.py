"""Copies of one recording, told from videos that merely show the same."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, Self

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import _num_samples, check_is_fitted

from skchallenge._state import FramesAsBytes
from skchallenge._table import (
    check_option,
    check_real,
    indices_of,
    printable,
    read_paths,
)
from skchallenge.embed._store import StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.feed._similarity import (
    FPS,
    NO_SIGNATURE,
    PointIndex,
    Signature,
    View,
    compare,
    moves_enough,
    sign_files,
)
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import map_in_order

_DTYPES: dict[str, Any] = {
    "row": np.intp,
    "match": np.intp,
    "score": float,
    "lag_s": float,
    "speed": float,
    "mirrored": bool,
}


class _Pair(NamedTuple):
    """A row, a fitted row, and how alike they are."""

    row: int
    match: int
    score: float
    lag_s: float
    speed: float
    mirrored: bool


class DuplicateFinder(FramesAsBytes, ClusterMixin, BaseEstimator):
    """Find copies of one recording in a collection of videos.

    Two videos are duplicates if one is made from the other's recording: encoded again,
    resized, mirrored, trimmed to a half, cropped by up to a quarter, played 0.8 to 1.25
    times as fast, set in a border or put under bars, a caption or stickers. Two users
    who perform the same choreography, to the same sound, before the same wall, are not.
    Points that two pictures have in common find the pairs that are worth a comparison,
    and which part of one is which part of the other; motion alone decides.

    Parameters
    ----------
    threshold : float, default=0.82
        Score from which on a pair is a duplicate, in (0, 1)
        (``python benchmarks/feed_duplicates.py`` shows what copies of real clips score,
        and what different ones do).
    store : None, path or EmbeddingStore, default=None
        Where signatures are kept, so that no file is decoded twice; a path is that of
        an `EmbeddingStore`.
    limits : MediaLimits or None, default=None
        What a file may cost in pixels, duration and time; None is ``MediaLimits()``.
    on_error : {"raise", "ignore"}, default="raise"
        What becomes of a file that cannot be read, or a missing path. ``"ignore"``
        gives it the label -1 and lists it in `errors_`.
    n_jobs : int or None, default=None
        Files decoded, and pairs compared, side by side: None is 1 unless
        `joblib.parallel_config` says otherwise, -1 is one a core.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Group of each fitted video: duplicates, also by way of a third video, have the
        same label. A video without duplicates is a group of its own. Groups are
        numbered in order of their first row; -1 is a file that could not be read.
    duplicates_ : pandas.DataFrame
        Pairs of fitted rows with the columns of `duplicates`; `match` is the earlier
        row.
    comparable_ : ndarray of shape (n_samples,)
        Whether the video moves enough, for long enough (0.8 s), to be compared. One
        that does not has no duplicates, whatever it shows.
    n_candidates_ : int
        Pairs of fitted videos that shared three points, so that anything of them was
        compared.
    errors_ : dict of int to str
        Why a fitted row could not be read.
    n_features_in_ : int
        Columns seen during `fit`: 1.
    feature_names_in_ : ndarray of shape (1,)
        Name of the column seen during `fit`, if it was a string.

    Raises
    ------
    MediaError
        With ``on_error="raise"``, if a file is missing, unreadable or holds no
        picture. The message names the row, the file and the cause.
    TypeError
        If `X` holds anything but paths.
    ValueError
        If a parameter has a wrong value, or `X` more than one column.

    See Also
    --------
    EmbeddingStore : Keeps the signatures.
    ReviewGate : Looks at one video at a time.
    sklearn.cluster.DBSCAN : Labels groups in the same way.

    Notes
    -----
    **Signature.** Ten times a second, the mean luminance of that tenth, on a grid of
    16 x 16 cells inside the border; and twice a second, or as often as gives a short
    video twenty pictures, up to 32 blobs of any size [1]_, each described by 256
    comparisons of what is around it [2]_, and kept once if it stands still. A minute of
    video takes about 190 KB.

    **Candidates.** The comparisons are cut into four words. Pairs that share a word at
    three points, if these agree on how the one picture is moved and scaled to lie on
    the other, as it is or mirrored. Words that 200 points have say nothing.

    **Decision.** In the common part, at the best lag and speed, over at least 0.8 of
    the shorter video: the lower of the correlation of luminance and of that of its
    change from step to step, over all cells and steps, from which each cell's mean and
    each step's mean are taken off. So a set that stands still, a fade and a lamp count
    for nothing. Cells that do not vary in one of the two videos are ignored, as a
    caption may stand there. For what moves over the picture, the twentieth of the
    luminances that fit worst may be left out, at the price of 0.12: it adds as much to
    the score of different videos. For the same reason a speed other than one costs its
    difference, at most 0.05. The change is what tells apart gestures of one
    signer that begin and end alike.

    **Not found.** Crops by more than a quarter together with other edits, speeds beyond
    0.8 to 1.25 or that change, parts shorter than 0.8 of the shorter video, most videos
    in a corner of others, rotation, a screen that was filmed; nor anything that stands
    still. Sound plays no part: everybody who takes part in a challenge shares it.

    References
    ----------
    .. [1] Lowe, D. G. "Distinctive image features from scale-invariant keypoints",
       IJCV 60 (2004).
    .. [2] Calonder, M., Lepetit, V., Strecha, C., Fua, P. "BRIEF: binary robust
       independent elementary features", ECCV 2010.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import av
    >>> import numpy as np
    >>> from skchallenge.feed import DuplicateFinder
    >>> def film(path, pictures):
    ...     with av.open(path, "w") as container:
    ...         stream = container.add_stream("libx264", rate=10)
    ...         stream.width = stream.height = 64
    ...         for picture in pictures:
    ...             frame = av.VideoFrame.from_ndarray(picture, format="gray")
    ...             container.mux(stream.encode(frame))
    ...         container.mux(stream.encode(None))
    ...     return path
    >>> blocks = np.random.default_rng(0).integers(0, 255, (2, 20, 8, 8), np.uint8)
    >>> one, other = blocks.repeat(8, axis=2).repeat(8, axis=3)  # 20 pictures each
    >>> with TemporaryDirectory() as folder:
    ...     paths = [
    ...         film(f"{folder}/one.mp4", one),
    ...         film(f"{folder}/other.mp4", other),
    ...         film(f"{folder}/mirrored.mp4", one[5:, :, ::-1]),
    ...     ]
    ...     finder = DuplicateFinder().fit(paths)
    >>> finder.labels_
    array([0, 1, 0])
    >>> finder.duplicates_[["row", "match", "lag_s", "mirrored"]]
       row  match  lag_s  mirrored
    0    2      0    0.5      True
    """

    def __init__(
        self,
        threshold: float = 0.82,
        *,
        store: StoreLike = None,
        limits: MediaLimits | None = None,
        on_error: Literal["raise", "ignore"] = "raise",
        n_jobs: int | None = None,
    ) -> None:
        self.threshold = threshold
        self.store = store
        self.limits = limits
        self.on_error = on_error
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Read the collection and group its duplicates.

        Parameters
        ----------
        X : sequence of shape (n_samples,) or table of shape (n_samples, 1)
            Paths, as strings or `os.PathLike`.
        y : None
            Ignored.

        Returns
        -------
        self : DuplicateFinder
            The fitted finder.
        """
        self._check_parameters()
        signatures, self.errors_ = self._sign(read_paths(self, X, reset=True))
        self._cells = [signature.cells for signature in signatures]
        self._index = PointIndex(signatures)
        self.comparable_ = np.array([moves_enough(cells) for cells in self._cells])
        self.duplicates_, self.n_candidates_ = self._search(signatures, earlier=True)
        self.labels_ = _groups(self.duplicates_, len(signatures), list(self.errors_))
        return self

    def duplicates(self, X: Any) -> pd.DataFrame:
        """Find the fitted videos of which those of X are duplicates.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, 1)
            Paths, as in `fit`. A file of the fitted collection finds itself too.

        Returns
        -------
        table : pandas.DataFrame
            One row a pair, in order of `row`, the best score first.

            ========  ============================================================
            row       row of X
            match     row of the fitted X
            score     from `threshold` to 1
            lag_s     seconds of the match at which the row's video begins;
                      negative if it begins earlier
            speed     how many times as fast as the match the row's video is played
            mirrored  whether one is the mirror image of the other
            ========  ============================================================

        Raises
        ------
        MediaError
            If a file cannot be read, with ``on_error="raise"``.
        """
        check_is_fitted(self)
        signatures, _ = self._sign(read_paths(self, X, reset=False))
        return self._search(signatures, earlier=False)[0]

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Tell to which fitted group each video belongs.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, 1)
            Paths, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,)
            The label of the best match; -1 for none, also if a file cannot be read.

        Raises
        ------
        MediaError
            If a file cannot be read, with ``on_error="raise"``.
        """
        best = self.duplicates(X).drop_duplicates("row")
        labels = np.full(_num_samples(X), -1, dtype=self.labels_.dtype)
        labels[best["row"]] = self.labels_[best["match"]]
        return labels

    def _check_parameters(self) -> None:
        check_real("threshold", self.threshold, "neither", max_val=1)
        check_option("on_error", self.on_error, ("raise", "ignore"))
        check_store(self.store)
        check_limits(self.limits)

    def _sign(self, paths: list[str | None]) -> tuple[list[Signature], dict[int, str]]:
        """Return the signature of each row, an empty one where there is an error."""
        signatures = [NO_SIGNATURE] * len(paths)
        errors = {row: "is missing: no path" for row, p in enumerate(paths) if not p}
        self._raise_first(errors)
        rows_of = indices_of(path or None for path in paths)
        limits = self.limits or MediaLimits()
        for path, found in sign_files(list(rows_of), self.store, limits, self.n_jobs):
            for row in rows_of[path]:
                if isinstance(found, MediaError):
                    errors[row] = f"{printable(path)}: {found}"
                else:
                    signatures[row] = found
            self._raise_first(errors)
        return signatures, dict(sorted(errors.items()))

    def _raise_first(self, errors: dict[int, str]) -> None:
        if errors and self.on_error == "raise":
            row = min(errors)
            raise MediaError(
                f"Row {row}: {errors[row]} Pass on_error='ignore' to leave such files "
                "out."
            )

    def _search(
        self, signatures: list[Signature], *, earlier: bool
    ) -> tuple[pd.DataFrame, int]:
        """Return the table of duplicates, of earlier rows only if so wished.

        Beside it, the number of pairs of which anything was compared.
        """
        jobs: list[tuple[int, int, list[View]]] = []
        n_candidates = 0
        for row, signature in enumerate(signatures):
            if moves_enough(signature.cells):
                found, n_seen = self._index.find(signature, row if earlier else None)
                jobs += [(row, *other) for other in found if self.comparable_[other[0]]]
                n_candidates += n_seen

        def score(job: tuple[int, int, list[View]]) -> _Pair:
            row, match, views = job
            alike = compare(self._cells[match], signatures[row].cells, views)
            lag_s = alike.lag / FPS
            return _Pair(row, match, alike.score, lag_s, alike.speed, alike.is_mirrored)

        with ThreadPoolExecutor(joblib.effective_n_jobs(self.n_jobs)) as pool:
            scored = map_in_order(pool, score, jobs)
            pairs = [pair for pair in scored if pair.score >= self.threshold]
        pairs.sort(key=lambda pair: (pair.row, -pair.score, pair.match))
        return pd.DataFrame(pairs, columns=_Pair._fields).astype(_DTYPES), n_candidates

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        return tags


def _groups(
    duplicates: pd.DataFrame, n_rows: int, unread: list[int]
) -> NDArray[np.intp]:
    """Return group numbers in order of their first row; -1 for what was not read."""
    rows, matches = duplicates["row"], duplicates["match"]
    links = sparse.coo_array((np.ones(len(rows)), (rows, matches)), (n_rows, n_rows))
    component = connected_components(links, directed=False)[1]
    labels = np.full(n_rows, -1, dtype=np.intp)
    is_read = np.ones(n_rows, dtype=bool)
    is_read[unread] = False
    _, first, group = np.unique(
        component[is_read], return_index=True, return_inverse=True
    )
    labels[is_read] = first.argsort().argsort()[group]
    return labels
