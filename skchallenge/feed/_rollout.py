"""Show videos to wider and wider batches of viewers, by a rule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from skchallenge._html import Bunch
from skchallenge._state import FramesAsBytes
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_finite,
    check_option,
    check_real,
)
from skchallenge.feed._authority import CreatorAuthority, with_prior
from skchallenge.feed._engagement import SIGNALS, EngagementScorer, points_by_signal
from skchallenge.feed._journeys import (
    exposure_of,
    mistakes_of,
    named_log,
    report,
    warn_of_few_viewers,
)
from skchallenge.feed._rollout_tables import (
    check_videos,
    check_viewers,
    falls_of,
    read_log,
    upload_days,
)
from skchallenge.feed._simulation import Plan, Response, World
from skchallenge.feed._viewers import group_users, learn_response, named_users
from skchallenge.feed._widening_rules import RULES, Rule, logged_candidates

Log = Callable[[pd.DataFrame], object]
# What a decision is judged by
_JUDGED = ["world", "day", "stage", "exposures", "score", "sd", "evidence", "threshold"]
_JUDGED += ["widened"]


class BatchRollout(FramesAsBytes, BaseEstimator):
    """Simulate the batch theory of a feed: small batches first, then wider ones.

    A new video is shown to a first batch that spans the personas. The persona that
    likes it best sees it again, with fresh viewers, because the best of several scores
    is too good to be true. If the rule is content with their points, the video is
    widened: the next day it is shown to the next stage's number of viewers of that
    persona, and so on. Otherwise it is paused. No viewer sees a video twice.

    That feeds work like this is a theory of articles [1]_ [2]_. The simulation answers
    what *would* happen under such rules, not what a platform does.

    With s the mean points of the fresh viewers, sd their standard deviation, n their
    number and t the threshold, a rule widens

    - ``"threshold"``: if s >= t;
    - ``"lcb"``: if s - z sd / sqrt(n) >= t, with z the normal quantile of 1 - alpha;
    - ``"thompson"``: with the probability that a normal posterior puts above t;
    - ``"sequential"``: if an e-process for a mean above t has reached 1 / alpha after
      any viewer of the persona; evidence that was once enough stays enough. Whatever
      the number of looks, a video whose mean never exceeds t is widened by the rule
      with a probability of at most alpha. Coins of `epsilon` and boosts come on top;
    - ``"top_fraction"``: the best `fraction` of the videos that end a stage on a day.
      Lots are drawn for what is left of a whole video and among equal scores, so that
      the fraction is exact on average in any company, even that of one.

    Parameters
    ----------
    stages : tuple of int, default=(100, 1000, 10000)
        Viewers of each stage, strictly increasing; the first at least as many as there
        are personas.
    points : dict of str to float or None, default=None
        What an impression earns by signal, at least 0; signals that are not named earn
        nothing. None has the points of `EngagementScorer`.
    rule : str, default="threshold"
        One of the rules above.
    threshold : float or None, default=None
        The mean points to reach, above 0. None is the median score of the videos of the
        log. Where these have few impressions each, most scores are low by chance, and
        nearly all videos pass: name a threshold there, such as a quantile of
        `mean_points`.
    alpha : float, default=0.05
        Error level of ``"lcb"``, ``"sequential"`` and the probe, in (0, 1).
    fraction : float, default=0.2
        Fraction that ``"top_fraction"`` widens, in (0, 1].
    epsilon : float, default=0.0
        Fraction of decisions that a coin takes, in [0, 1]: a rule that widens with
        probability p does so with (1 - epsilon) p + epsilon / 2. Off-policy estimates
        need it.
    n_personas : int, default=4
        Number of groups that `fit` makes of the users of a log, by their tastes.
    attributes : sequence of str, default=()
        Columns of the log, such as ``("country", "age_band")``. If there are any, the
        personas are the users who have all of them in common, and `n_personas` does not
        count. A persona is called by its values, ``"DE, 18-24"``; users who lack one of
        them are ``"unknown"``. For whom a user belongs to, and for what such data need
        and must not be used for, see `GenreProfiler`.
    cooldown_days : int, default=7
        Days after which a video is not shown any more.
    momentum : {"creator", "probe"} or None, default=None
        How a paused video gets one more chance: ``"creator"`` when its creator's
        activity falls, which is the articles' delayed momentum; ``"probe"`` when an
        e-process on 20 fresh viewers a day, for 60 days, shows a mean above the
        threshold. None leaves it paused.
    authority : CreatorAuthority or None, default=None
        A fitted one divides each threshold by the creator's authority relative to the
        prior, both as known at the upload, so that creators with good first videos have
        an easier start. `clone` takes from it what it learned, unless it is wrapped in
        `sklearn.frozen.FrozenEstimator`.
    random_state : int, RandomState instance or None, default=None
        Seed of the personas and of all worlds.

    Attributes
    ----------
    threshold_ : float
        The mean points to reach.
    viewers_ : pandas.DataFrame
        `viewer_id` and `persona` of the log's users, if it has users and genres.
    response_ : object
        Their rates of the five signals, if it has users and genres.

    See Also
    --------
    FeedWorkflow : The rollout behind review and duplicate search.
    inverse_propensity : What another rule would have earned, from the decisions.

    References
    ----------
    .. [1] Trehan, D. "The inescapable AI algorithm: TikTok", 12 June 2020.
    .. [2] "Use me if you dare, hack me if you can", student post on TikTok's feed.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skchallenge.feed import BatchRollout
    >>> videos = pd.DataFrame({"video_id": ["a", "b"], "creator_id": ["ann", "bob"]})
    >>> viewers = pd.DataFrame({"viewer_id": range(4000), "persona": "all"})
    >>> def response(video, viewer, day):
    ...     completes = np.array([0.6, 0.2])[video]
    ...     return np.outer(completes, [0.1, 1, 0, 0, 0.1])
    >>> rollout = BatchRollout((100, 1000), threshold=3.0, random_state=0).fit()
    >>> journeys = rollout.simulate(videos, viewers, response).journeys
    >>> journeys[["video_id", "stage", "exposures", "outcome"]]
      video_id  stage  exposures      outcome
    0        a      2       1100  cooled down
    1        b      1        100       paused
    """

    def __init__(
        self,
        stages: tuple[int, ...] = (100, 1000, 10000),
        *,
        points: Mapping[str, float] | None = None,
        rule: str = "threshold",
        threshold: float | None = None,
        alpha: float = 0.05,
        fraction: float = 0.2,
        epsilon: float = 0.0,
        n_personas: int = 4,
        attributes: Sequence[str] = (),
        cooldown_days: int = 7,
        momentum: str | None = None,
        authority: CreatorAuthority | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.stages = stages
        self.points = points
        self.rule = rule
        self.threshold = threshold
        self.alpha = alpha
        self.fraction = fraction
        self.epsilon = epsilon
        self.n_personas = n_personas
        self.attributes = attributes
        self.cooldown_days = cooldown_days
        self.momentum = momentum
        self.authority = authority
        self.random_state = random_state

    def fit(self, log: Any = None, y: object = None) -> Self:
        """Set the threshold; learn viewers and their response where the log has them.

        Parameters
        ----------
        log : pandas or polars DataFrame or None, default=None
            Impressions with `video_id` and either the five signals or the raw columns
            of `engagement_signals`; a signal that these lack does not occur in the
            simulation. With `user_id` and `genre` too, users become viewers; a response
            is learned for each value of `genre`, so that ``"39"`` and ``"39,68"`` are
            two. A missing genre is one of its own, see `GenreProfiler`. Columns may
            have the names of public logs, such as `tag`. None needs a `threshold`.
        y : None
            Ignored.

        Returns
        -------
        self : BatchRollout
            This object.

        Raises
        ------
        ValueError
            If a parameter is out of range, the log lacks a column, or `points` names a
            signal that it lacks.
        TypeError
            If `attributes` are no sequence, or one holds values of several kinds.
        """
        self._check_parameters()
        for name in ("viewers_", "response_"):
            self.__dict__.pop(name, None)
        if log is None and self.threshold is None:
            raise ValueError(
                "threshold=None is the median score of the videos of a log, but log is "
                "None. Pass a log or a threshold."
            )
        if log is not None:
            log = read_log(log, self.points, self.attributes)
            scorer = EngagementScorer(self.points)
            points = scorer.fit_transform(log[list(SIGNALS)])[:, 0]
            scores = pd.Series(points).groupby(log["video_id"].to_numpy()).mean()
            if {"user_id", "genre"} <= set(log.columns):
                seed = check_random_state(self.random_state).randint(2**31)
                if "group" in log.columns:
                    self.viewers_, persona = named_users(log)
                else:
                    n = self.n_personas
                    self.viewers_, persona = group_users(log, points, n, seed)
                personas = np.unique(self.viewers_["persona"])
                self.response_ = learn_response(log, persona, personas)
            self.threshold_ = float(scores.median())
        if self.threshold is not None:
            self.threshold_ = float(self.threshold)
        return self

    def simulate(
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
        """Let videos travel through independent worlds.

        Parameters
        ----------
        videos : pandas or polars DataFrame
            One row a video: unique `video_id`, `creator_id`, and, if wanted, `day` of
            the upload, a whole number from 0 to 36,500 (0 if absent), and `followers`.
            A video's creator may also stand in `author_id`, as in a log, or in
            `user_id`, as in an export; the first of the three that is there counts.
            A learned response needs `genre`, or a `tag`: a new video has the rates of
            its genre, a new genre the mean of all. An `authority` needs its columns of
            creator and time. Further columns are kept, but must not have a name of
            `journeys`.
        viewers : pandas or polars DataFrame or None, default=None
            One row a viewer: unique `viewer_id`, and `persona`. None takes `viewers_`.
        response : callable or None, default=None
            ``response(video, viewer, day)`` takes row numbers of `videos` and of
            `viewers`, two arrays of shape (n,), and the day, and returns probabilities
            of re-watch, completion, share, comment and like, of shape (n, 5). Who
            watches again completes too. None takes `response_`.
        activity : pandas or polars DataFrame or None, default=None
            `creator_id` (or another, as for videos), `day`, `activity` (at least 0);
            a day without a row has none, up to the last day of the table; later days
            are not known, and nobody's activity falls there. Needed by
            ``momentum="creator"``.
        n_worlds : int, default=1
            Number of worlds. The same videos and viewers meet another chance in each.
        log : bool or callable, default=False
            Whether to return all impressions. A callable gets them as DataFrames, chunk
            by chunk, and nothing is kept.
        verbose : int, default=0
            Whether to show a progress bar of the worlds.

        Returns
        -------
        result : sklearn.utils.Bunch
            `journeys`, one row a world and video: `stage` reached, `exposures`,
            `points` in total, `score` (mean points of the last batch that counted),
            `outcome` and the list of `reasons`. `events`, the reasons as a table.
            `decisions`, one row each: `stage` that ended, `exposures`, `score`, `sd`,
            `evidence` (highest log of the e-process), `threshold`, `probability` by
            the rule, `propensity` of what was done, `widened`, and `reward`, the points
            of the batch that the decision opened. Boosts are no decisions.

            `worlds`, one row each: `exposures` in total; `gini`, their inequality among
            all videos, 0 if all are shown alike and (n - 1) / n if one of n is; with
            `followers`, `small_creators`, the fraction of exposures that the videos
            with fewer followers than the median of the videos get.

            `means`, those of `mean_points` if the response was learned, else None.

            `log`, if asked for: `world`, `day`, `video_id`, `viewer_id`, `persona`,
            `stage` (0 for probes), the five signals, `points` and `propensity`, that of
            the decision which opened the batch.

        Raises
        ------
        ValueError
            If a table lacks a column, an id comes twice, a number is out of range, or
            `response` returns anything but probabilities.
        TypeError
            If ids, personas or genres are of no usable kind, or `response` is no
            function.

        Warns
        -----
        FewViewersWarning
            If batches are smaller than their stages, because a persona has no more
            viewers who have not seen the video.
        """
        check_is_fitted(self, "threshold_")
        self._check_parameters()
        check_count("n_worlds", n_worlds)
        videos = check_videos(videos)
        viewers = check_viewers(viewers, getattr(self, "viewers_", None))
        plan = self._plan(videos, viewers, response, activity)
        seeds = check_random_state(self.random_state).randint(2**31, size=4)
        kept: list[pd.DataFrame] = []
        take = kept.append if log is True else log or None
        reports = []
        name = f"{type(self).__name__}.simulate"
        for number in tqdm(
            range(n_worlds), desc=name, unit="world", disable=not verbose
        ):
            rng = np.random.default_rng([*seeds, number])
            sink = named_log(take, number, videos, viewers) if take else None
            world = World(plan, rng, sink)
            world.run()
            reports.append(report(world, number, videos))
        tables = [pd.concat(t, ignore_index=True) for t in zip(*reports, strict=True)]
        names = ("journeys", "events", "decisions")
        result = Bunch(**dict(zip(names, tables, strict=True)))
        result["worlds"] = exposure_of(result.journeys)
        result["means"] = self.mean_points(videos) if response is None else None
        if log is True:
            result["log"] = pd.concat(kept, ignore_index=True)
        warn_of_few_viewers(result, plan)
        return result

    def mean_points(self, videos: Any) -> pd.DataFrame:
        """Tell what the learned response gives to videos on average.

        It is the truth of a simulation with that response, for `mistakes`: no rule sees
        it. It is no truth about the log's users.

        Parameters
        ----------
        videos : pandas or polars DataFrame
            As for `simulate`, with `genre`.

        Returns
        -------
        means : pandas.DataFrame of shape (n_videos, n_personas)
            Mean points of each video (index `video_id`) to each persona that `fit`
            made.

        Raises
        ------
        ValueError
            If `fit` learned no response, or `videos` lack a column.
        TypeError
            If ids or genres are of another kind than in the log.
        """
        check_is_fitted(self, "threshold_")
        videos = check_videos(videos)
        means = self._learned_means(videos)
        index = pd.Index(videos["video_id"], name="video_id")
        personas = self.response_.likings.index.unique("persona")
        return pd.DataFrame(means, index, personas)

    def mistakes(
        self,
        result: Any,
        means: pd.DataFrame | None = None,
        *,
        worth: float | None = None,
    ) -> pd.DataFrame:
        """Tell how often simulated verdicts were wrong, and what that cost.

        With m the true mean points of a video, which no rule sees, and w what an
        exposure is worth elsewhere, a video deserves the last stage if m of its best
        persona is at least w. What a rule gains in a world is the sum of (m - w) times
        exposures after the first stage, with m of the persona that was shown the video.
        An oracle shows the deserving ones to their best personas: it gains the sum of
        their (m - w) times the viewers of all later stages.

        Parameters
        ----------
        result : sklearn.utils.Bunch
            What `simulate` or `FeedWorkflow.run` returned.
        means : pandas.DataFrame or None, default=None
            The true mean points, one row a video and one column a persona; index and
            columns are their ids and names. With probabilities p of the five signals,
            completion at least as probable as re-watch, m is the sum of points times p.
            None takes the `means` of the result, if its response was learned.
        worth : float or None, default=None
            Points that an exposure is worth elsewhere. None is `threshold_`. Rules with
            different thresholds are compared at one worth.

        Returns
        -------
        mistakes : pandas.DataFrame
            One row a world: `false_negative_rate`, the fraction of the deserving videos
            that do not reach the last stage, whatever stopped them: the error that
            stopping for futility makes [1]_; `false_positive_rate`, the fraction of the
            others that reach it; and `regret`, 1 - gain / gain of the oracle [2]_: 0 if
            nothing is lost, 1 if all is, more if showing videos did harm. A fraction of
            nothing is NaN.

        Raises
        ------
        TypeError
            If `means` is not a pandas table.
        ValueError
            If it lacks a video or a persona, or holds anything but finite numbers, or
            is None and not known, or `worth` is not finite.

        References
        ----------
        .. [1] Jennison, C., Turnbull, B. W. "Group Sequential Methods with Applications
           to Clinical Trials", 1999.
        .. [2] Lai, T. L., Robbins, H. "Asymptotically efficient adaptive allocation
           rules", Advances in Applied Mathematics, 1985: regret, here as a fraction.
        """
        check_is_fitted(self, "threshold_")
        self._check_parameters()
        value = self.threshold_ if worth is None else worth
        check_finite("worth", value)
        return mistakes_of(result, means, value, np.asarray(self.stages))

    def propensity(self, decisions: Any) -> NDArray[np.float64]:
        """Tell how likely this rule is to do what was done, for off-policy estimates.

        Parameters
        ----------
        decisions : pandas or polars DataFrame
            ``decisions`` of `simulate`, made by any rule. The threshold of this object
            counts, not the logged one, but for ``"sequential"``: its evidence is
            against the threshold that was logged, so both must be equal. A logged
            `authority` is not known here. Stages, points and momentum stay the logged
            ones: what is judged is this rule among them. ``"top_fraction"`` is judged
            in the logged company, which after the first stage is not the company that
            it would have made, so estimates for it hold for one decision a video only.

        Returns
        -------
        propensity : ndarray of shape (n_decisions,)
            Probability of the logged decision, with this object's `epsilon`.

        Raises
        ------
        ValueError
            If a column or a number is missing, `widened` holds anything but booleans,
            or ``"sequential"`` has another threshold.
        """
        check_is_fitted(self, "threshold_")
        self._check_parameters()
        table = as_frame(decisions, "decisions")
        check_columns(table.columns, _JUDGED, "decisions")
        if pd.api.types.infer_dtype(table["widened"], skipna=False) != "boolean":
            raise ValueError(
                "decisions['widened'] must hold booleans, none missing, got "
                f"{table['widened'].dtype}. Convert it: any text would be true."
            )
        candidates = logged_candidates(table, self.threshold_, self.rule)
        _, chance = self._rule().chance(candidates)
        return np.where(table["widened"], chance, 1 - chance)

    def _check_parameters(self) -> None:
        check_option("rule", self.rule, list(RULES))
        check_option("momentum", self.momentum, [None, "creator", "probe"])
        stages = np.asarray(self.stages)
        if (
            stages.ndim != 1
            or not len(stages)
            or not np.issubdtype(stages.dtype, np.integer)
            or (np.diff(stages, prepend=0) < 1).any()
        ):
            raise ValueError(
                "stages must be whole numbers from 1, strictly increasing, got "
                f"{self.stages!r}. Sort them and drop repeats."
            )
        check_real("alpha", self.alpha, "neither", max_val=1)
        check_real("epsilon", self.epsilon, max_val=1)
        check_real("fraction", self.fraction, "right", max_val=1)
        check_count("n_personas", self.n_personas)
        check_count("cooldown_days", self.cooldown_days)
        if self.threshold is not None:
            check_real("threshold", self.threshold, "neither")
        self._points()
        if self.authority is not None:
            check_is_fitted(self.authority)

    def _rule(self) -> Rule:
        return Rule(self.rule, self.alpha, self.fraction, self.epsilon)

    def _points(self) -> NDArray[np.float64]:
        """Return the points of the five signals, none negative and one positive."""
        points = points_by_signal(self.points)
        values = list(points.values())
        if not set(points) <= set(SIGNALS) or min(values) < 0 or max(values) == 0:
            raise ValueError(
                f"points must give some of {list(SIGNALS)} more than 0 and none less, "
                f"as the evidence of a rollout needs, got {self.points!r}."
            )
        if not 1e-15 <= max(values) <= 1e15:  # a log has them as float32
            raise ValueError(
                "points must be from 1e-15 to 1e15, the most, got "
                f"{max(values)}. Take another unit, and the threshold in it."
            )
        return np.array([points.get(name, 0) for name in SIGNALS], dtype=np.float64)

    def _plan(
        self,
        videos: pd.DataFrame,
        viewers: pd.DataFrame,
        response: Response | None,
        activity: Any,
    ) -> Plan:
        """Gather what all worlds share."""
        persona, names = pd.factorize(viewers["persona"], sort=True)
        if self.stages[0] < len(names):
            raise ValueError(
                f"stages[0] must be at least the number of personas, {len(names)}, so "
                f"that the first batch spans them, got {self.stages[0]}. Raise it, or "
                "group viewers into fewer personas."
            )
        if response is None:
            response = self._learned_response(videos, persona, np.asarray(names))
        if not callable(response):
            raise TypeError(
                "response must be a function of video, viewer and day, got "
                f"{type(response).__name__}. Rates of each video become one by "
                "lambda video, viewer, day: rates[video]."
            )
        falls = np.zeros((len(videos), 0), dtype=bool)
        if self.momentum == "creator":
            falls = falls_of(videos, activity)
        return Plan(
            stages=np.asarray(self.stages, dtype=np.int64),
            rule=self._rule(),
            cooldown_days=self.cooldown_days,
            momentum=self.momentum,
            upload=upload_days(videos),
            points=self._points(),
            threshold=self._thresholds(videos),
            persona=persona.astype(np.int64),
            names=np.asarray(names),
            response=response,
            falls=falls,
        )

    def _learned_response(
        self, videos: pd.DataFrame, persona: NDArray[Any], names: NDArray[Any]
    ) -> Response:
        proba = self._learned_proba(videos, names)
        return lambda video, viewer, day: proba[video, persona[viewer]]

    def _learned_proba(
        self, videos: pd.DataFrame, personas: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return what `response_` says, (n_videos, n_personas, 5); None: all personas.

        Raises
        ------
        ValueError
            If nothing was learned, or videos have no genre.
        """
        if not hasattr(self, "response_"):
            raise ValueError(
                "response=None takes what fit learned, but fit saw no log with user_id "
                "and genre. Pass a function."
            )
        check_columns(videos.columns, ["genre"], "videos")
        if personas is None:
            personas = self.response_.likings.index.unique("persona").to_numpy()
        return self.response_(videos, personas)

    def _learned_means(self, videos: pd.DataFrame) -> NDArray[np.float64]:
        """Return the mean points of the learned response, (n_videos, n_personas)."""
        proba = self._learned_proba(videos).astype(np.float64)
        # One lot decides on both: whoever watches again has also completed.
        rewatch, completion = (SIGNALS.index(s) for s in ("rewatch", "completion"))
        proba[..., completion] = proba[..., [rewatch, completion]].max(axis=-1)
        return proba @ self._points()

    def _thresholds(self, videos: pd.DataFrame) -> NDArray[np.float64]:
        """Return the points that each video must reach."""
        if self.threshold_ <= 0:
            raise ValueError(
                f"threshold_ must be above 0, got {self.threshold_}: half of the log's "
                "videos earned nothing. Pass a threshold."
            )
        threshold = np.full(len(videos), self.threshold_)
        if self.authority is None:
            return threshold
        authority, prior = with_prior(self.authority, videos)
        known = ~np.isnan(prior)
        lowest = np.minimum(authority, prior)[known]
        if not (lowest > 0).all():
            raise ValueError(
                "authority must score all creators above 0, got "
                f"{lowest.min()}. Fit it on non-negative points."
            )
        # In this order, who is as good as the prior has exactly the threshold.
        return np.where(known, threshold * (prior / authority), threshold)
