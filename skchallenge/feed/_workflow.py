"""From upload to rest: review, duplicate search and rollout in one object."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skchallenge._html import Bunch
from skchallenge._state import Versioned
from skchallenge._table import check_columns, check_count, check_ids, plain_ids
from skchallenge.feed._counts import MISSING, genres_or_none
from skchallenge.feed._journeys import exposure_of, no_report
from skchallenge.feed._rollout import BatchRollout, Log
from skchallenge.feed._rollout_tables import check_videos, check_viewers, upload_days
from skchallenge.feed._simulation import Response

_OUTCOMES = ("pass", "review", "reject")


class FeedWorkflow(Versioned, BaseEstimator):
    """Send uploaded videos through the workflow that articles describe.

    If asked to, a model tells from what is seen and heard of which genre a video is. A
    machine reviews each video. What it flags goes to a human. What passes is checked
    for duplicates of earlier uploads in the same run; other runs are not known. What is
    new is rolled out in batches, widened or paused, boosted if there is momentum, and
    cooled down. Every step leaves a reason in the journey of the video [1]_.

    No platform has confirmed this workflow. Each step can be left out or replaced.

    Parameters
    ----------
    rollout : BatchRollout or None, default=None
        How videos travel; None is ``BatchRollout()``.
    review : object or None, default=None
        The machine: a fitted `ReviewGate`, or anything whose ``review(videos)`` returns
        a table with a row a video: `outcome`, one of ``"pass"``, ``"review"`` and
        ``"reject"``, and `reasons`. None passes all.
    human_review : callable or None, default=None
        The human: takes the rows that the machine flagged and returns which of them
        pass, as booleans. None leaves them waiting.
    duplicates : object or None, default=None
        A `DuplicateFinder`, or any clusterer whose ``fit_predict(videos)`` gives copies
        the same label and -1 to videos that it cannot compare. Of each group the
        earliest upload is kept. A finder that reads paths only stands behind a
        selector, ``make_column_transformer(("passthrough", ["path"]))``, in a pipeline.
        None keeps all.
    content : object or None, default=None
        What understands videos: a fitted estimator whose ``predict(videos)`` returns
        the genre of each row, for example a pipeline of embedders and a classifier. It
        is asked first, for videos whose `genre` is missing, or for all if there is no
        such column; a genre that is there is kept. What it cannot tell may be missing;
        files that it cannot read are a matter of its steps' `on_error`.
        Wrap it in `sklearn.frozen.FrozenEstimator`, or `clone` returns a workflow with
        an unfitted one. None leaves genres as they are.

    Attributes
    ----------
    rollout_ : BatchRollout
        The fitted rollout.

    See Also
    --------
    BatchRollout : The rollout alone.
    JourneyDisplay : Draws the journeys.

    References
    ----------
    .. [1] Trehan, D. "The inescapable AI algorithm: TikTok", 12 June 2020, section
       "Recommendation workflow in a nutshell".

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skchallenge.feed import BatchRollout, FeedWorkflow
    >>> class SameSound:
    ...     def fit_predict(self, videos):
    ...         return pd.factorize(videos["sound"])[0]
    >>> videos = pd.DataFrame({
    ...     "video_id": ["a", "b"], "creator_id": ["ann", "bob"], "sound": ["x", "x"],
    ... })
    >>> viewers = pd.DataFrame({"viewer_id": range(4000), "persona": "all"})
    >>> def response(video, viewer, day):
    ...     return np.full((len(video), 5), 0.2)
    >>> rollout = BatchRollout((100, 1000), threshold=3.0, random_state=0)
    >>> workflow = FeedWorkflow(rollout, duplicates=SameSound()).fit()
    >>> for reason in workflow.run(videos, viewers, response).journeys["reasons"][1]:
    ...     print(reason)
    machine review: pass (no machine)
    duplicate check: a copy of 'a'; stopped
    """

    def __init__(
        self,
        rollout: BatchRollout | None = None,
        *,
        review: Any = None,
        human_review: Callable[[pd.DataFrame], Any] | None = None,
        duplicates: Any = None,
        content: Any = None,
    ) -> None:
        self.rollout = rollout
        self.review = review
        self.human_review = human_review
        self.duplicates = duplicates
        self.content = content

    def fit(self, log: Any = None, y: object = None) -> Self:
        """Fit the rollout; the other steps come as they are.

        Parameters
        ----------
        log : pandas or polars DataFrame or None, default=None
            As for `BatchRollout.fit`.
        y : None
            Ignored.

        Returns
        -------
        self : FeedWorkflow
            This object.

        Raises
        ------
        NotFittedError
            If `content` is not fitted.
        TypeError
            If `content` has no `predict`.
        ValueError
            As `BatchRollout.fit` does.
        """
        _check_content(self.content)
        given = BatchRollout() if self.rollout is None else self.rollout
        # A clone's authority has forgotten what it learned.
        rollout = clone(given).set_params(authority=given.authority)
        self.rollout_: BatchRollout = rollout.fit(log)
        return self

    def run(
        self,
        videos: Any,
        viewers: Any = None,
        response: Response | None = None,
        *,
        activity: Any = None,
        n_worlds: int = 1,
        log: bool | Log = False,
        verbose: int = 0,
    ) -> Bunch:
        """Let uploaded videos go all the way.

        Parameters
        ----------
        videos : pandas or polars DataFrame
            As for `BatchRollout.simulate`, with what the steps need, such as `path`.
        viewers : pandas or polars DataFrame or None, default=None
            As for `BatchRollout.simulate`, and so are the following.
        response : callable or None, default=None
            It gets row numbers of `videos`.
        activity : pandas or polars DataFrame or None, default=None
            Activity of the creators.
        n_worlds : int, default=1
            Number of worlds.
        log : bool or callable, default=False
            Whether to return all impressions.
        verbose : int, default=0
            Whether to show a progress bar of the worlds.

        Returns
        -------
        result : sklearn.utils.Bunch
            As of `BatchRollout.simulate`. `journeys`, `events` and `worlds` tell of all
            videos; those that were stopped have stage 0 and the `outcome`
            ``"rejected"``, ``"waiting for review"`` or ``"duplicate"``.

        Raises
        ------
        ValueError
            If a step returns anything but what is described above, or as
            `BatchRollout.simulate` does.
        TypeError
            If `content` returns genres of another kind than there are.
        """
        check_is_fitted(self)
        check_count("n_worlds", n_worlds)
        _check_content(self.content)
        videos = check_videos(videos)
        steps = _Steps(videos)
        if self.content is not None:
            videos = steps.videos = self._understand(videos, steps)
        self._review(videos, steps)
        self._find_duplicates(videos, steps)
        rows = np.flatnonzero(steps.outcome == "")
        if len(rows):
            if response is not None:
                response = _shifted(response, rows)
            result = self.rollout_.simulate(
                videos.iloc[rows],
                viewers,
                response,
                activity=activity,
                n_worlds=n_worlds,
                log=log,
                verbose=verbose,
            )
        else:
            learned = getattr(self.rollout_, "viewers_", None)
            viewers = check_viewers(viewers, learned)
            result = no_report(videos, viewers, log=log is True)
        if result["means"] is not None:  # what was stopped may have deserved better
            result["means"] = self.rollout_.mean_points(videos)
        return steps.join(result, n_worlds)

    def _understand(self, videos: pd.DataFrame, steps: "_Steps") -> pd.DataFrame:
        """Return the videos with the genres that `content` tells of them."""
        genre = pd.Series([None] * len(videos), dtype=object)
        if "genre" in videos.columns:
            kept = plain_ids(genres_or_none(videos["genre"]).dropna())
            genre[kept.index] = kept.to_list()
        source = np.where(genre.isna(), "from what is seen and heard", "of the table")
        rows = np.flatnonzero(genre.isna())
        if len(rows):
            found = column_or_1d(self.content.predict(videos.iloc[rows]))
            if len(found) != len(rows):
                raise ValueError(
                    f"content must return one genre for each of {len(rows)} videos, "
                    f"got {len(found)}."
                )
            learned = getattr(self.rollout_, "response_", None)
            like = genre.dropna() if learned is None else learned.genres.index
            known = "the table" if learned is None else "the log of fit"
            told = genres_or_none(pd.Series(found.tolist(), index=rows)).dropna()
            told = check_ids(told, "What content returns", like, known)
            genre[told.index] = told.to_list()
        for row, (one, why) in enumerate(
            zip(genre.fillna(MISSING), source, strict=True)
        ):
            steps.note([row], "content", f"{one} ({why})")
        return videos.assign(genre=plain_ids(genre))

    def _review(self, videos: pd.DataFrame, steps: "_Steps") -> None:
        if self.review is None:
            steps.note(np.arange(len(videos)), "machine review", "pass (no machine)")
            return
        table = self.review.review(videos)
        check_columns(table.columns, ["outcome", "reasons"], "The table of review")
        outcome = table["outcome"].to_numpy()
        if len(table) != len(videos) or not np.isin(outcome, _OUTCOMES).all():
            raise ValueError(
                f"review must return an outcome among {list(_OUTCOMES)} for each of "
                f"{len(videos)} videos, got {len(table)} rows and {set(outcome)}."
            )
        for row, (verdict, why) in enumerate(
            zip(outcome, table["reasons"], strict=True)
        ):
            reason = f"{verdict} ({_as_text(why)})" if _as_text(why) else verdict
            steps.note([row], "machine review", reason)
        steps.stop(np.flatnonzero(outcome == "reject"), "rejected")
        self._ask_human(videos, np.flatnonzero(outcome == "review"), steps)

    def _ask_human(
        self, videos: pd.DataFrame, rows: NDArray[np.intp], steps: "_Steps"
    ) -> None:
        if not len(rows):
            return
        if self.human_review is None:
            steps.note(rows, "human review", "waits for a human")
            steps.stop(rows, "waiting for review")
            return
        passed = np.asarray(self.human_review(videos.iloc[rows]))
        if passed.shape != rows.shape or passed.dtype != np.bool_:
            raise ValueError(
                f"human_review must return one boolean for each of {len(rows)} videos, "
                f"got {passed.dtype} of shape {passed.shape}."
            )
        steps.note(rows[passed], "human review", "pass")
        steps.note(rows[~passed], "human review", "reject")
        steps.stop(rows[~passed], "rejected")

    def _find_duplicates(self, videos: pd.DataFrame, steps: "_Steps") -> None:
        rows = np.flatnonzero(steps.outcome == "")
        if self.duplicates is None or not len(rows):
            steps.note(rows, "duplicate check", "new (no finder)")
            return
        rows = rows[np.argsort(steps.day[rows], kind="stable")]  # earlier uploads first
        finder = clone(self.duplicates, safe=False)
        label = column_or_1d(finder.fit_predict(videos.iloc[rows]))
        if len(label) != len(rows):
            raise ValueError(
                f"duplicates must return one label for each of {len(rows)} videos, got "
                f"{len(label)}."
            )
        first: dict[Any, int] = {}
        for row, group in zip(rows, label.tolist(), strict=True):
            original = first.setdefault(group, row) if group != -1 else row
            if original == row:
                steps.note([row], "duplicate check", "new")
            else:
                (name,) = videos["video_id"].iloc[[original]].tolist()  # of Python
                steps.note([row], "duplicate check", f"a copy of {name!r}; stopped")
                steps.stop([row], "duplicate")


def _check_content(content: Any) -> None:
    """Raise unless content is None, or fitted and able to predict."""
    if content is None:
        return
    if not callable(getattr(content, "predict", None)) or isinstance(content, type):
        raise TypeError(
            f"content must be a fitted estimator with predict, got {content!r}. For "
            "example a pipeline of an embedder and a classifier."
        )
    if isinstance(content, BaseEstimator):
        check_is_fitted(content)


class _Steps:
    """What happened to each video before the rollout."""

    def __init__(self, videos: pd.DataFrame) -> None:
        self.videos, self.day = videos, upload_days(videos)
        self.outcome = np.full(len(videos), "", dtype=object)
        self.events: list[tuple[int, str, str]] = []

    def note(self, rows: Any, event: str, reason: str) -> None:
        self.events += [(int(row), event, f"{event}: {reason}") for row in rows]

    def stop(self, rows: Any, outcome: str) -> None:
        self.outcome[rows] = outcome

    def join(self, result: Bunch, n_worlds: int) -> Bunch:
        """Put these steps before those of the rollout, in each world."""
        before = pd.DataFrame(self.events, columns=["row", "event", "reason"])
        before["video_id"] = self.videos["video_id"].to_numpy()[before["row"]]
        before["day"] = self.day[before["row"]]
        stopped = self.videos[self.outcome != ""].assign(
            stage=0,
            exposures=0,
            points=0.0,
            score=np.nan,
            outcome=self.outcome[self.outcome != ""],
        )
        events = [before.assign(world=w, stage=0, exposures=0) for w in range(n_worlds)]
        journeys = [stopped.assign(world=w) for w in range(n_worlds)]
        order = pd.Series(np.arange(len(self.videos)), index=self.videos["video_id"])
        result["events"] = _stack([*events, result.events], order)
        journeys = _stack([*journeys, result.journeys], order)
        by = result["events"].groupby(["world", "video_id"], sort=False)["reason"]
        reasons = by.agg(list).reindex(
            pd.MultiIndex.from_frame(journeys[["world", "video_id"]])
        )
        result["journeys"] = journeys.assign(reasons=reasons.to_numpy())
        result["worlds"] = exposure_of(result.journeys)
        return result


def _stack(tables: list[Any], order: "pd.Series[int]") -> pd.DataFrame:
    """Join tables, world by world and video by video, earlier tables first."""
    columns = tables[-1].columns
    filled = [t.reindex(columns=columns) for t in tables if len(t)]
    joined = pd.concat(filled)
    key = joined["video_id"].map(order)
    rows = np.lexsort([np.arange(len(joined)), key, joined["world"]])
    return joined.iloc[rows].reset_index(drop=True)


def _as_text(reasons: Any) -> str:
    if isinstance(reasons, str):
        return reasons
    return "; ".join(map(str, reasons)) if isinstance(reasons, (list, tuple)) else ""


def _shifted(response: Response, rows: NDArray[np.intp]) -> Response:
    """Let a response see row numbers of all videos, not of those that are left."""
    return lambda video, viewer, day: response(rows[video], viewer, day)
