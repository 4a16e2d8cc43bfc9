"""One simulated world, in the order in which it runs.

Who is in the audience (`Audience`); what is shown on a day, what viewers do, and when a
batch is widened or ends (`World`); what is remembered of it (`EventLog`); and when a
paused video gets another chance (`creator_falls`). The rules that decide are in
`_widening_rules`. Everything is an array over videos, over batches, or over the
impressions of a chunk, one batch after the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from skchallenge.feed._engagement import SIGNALS
from skchallenge.feed._widening_rules import (
    Candidates,
    Floats,
    Ints,
    Rule,
    add_evidence,
    no_evidence,
)

Bools = NDArray[np.bool_]
Response = Callable[[Ints, Ints, int], NDArray[Any]]
Sink = Callable[[dict[str, Any]], object]

OUTCOMES = ("waiting", "widened", "paused", "cooled down", "no viewers left")
WAITING, WIDENED, PAUSED, COOLED, EXHAUSTED = range(len(OUTCOMES))

_CHUNK_ROWS = 250_000  # impressions at a time: some 40 MB
# No article states numbers of the momentum; these are ours.
WINDOW_DAYS = 7
FALL = 0.5  # of the mean activity of the window before
ROUNDING = 1e-9  # relative; tenths do not add up exactly
PROBES_A_DAY = 20
PROBE_DAYS = 60


@dataclass
class Plan:
    """What all worlds of a simulation share.

    Parameters
    ----------
    stages : viewers of each stage
    rule : when a batch is widened
    cooldown_days, momentum : as in `BatchRollout`
    upload : ndarray of shape (n_videos,), the day of each video's upload
    points : ndarray of shape (5,), of each signal
    threshold : ndarray of shape (n_videos,), the points that it must reach
    persona : ndarray of shape (n_viewers,), numbers of the personas
    names : ndarray of shape (n_personas,), their names
    response : what viewers do
    falls : ndarray of shape (n_videos, n_days), whether the creator turns quiet
    """

    stages: Ints
    rule: Rule
    cooldown_days: int
    momentum: str | None
    upload: Ints
    points: Floats
    threshold: Floats
    persona: Ints
    names: NDArray[Any]
    response: Response
    falls: Bools


@dataclass
class Batches:
    """Runs of viewers, one run for each video and persona that are shown.

    Parameters
    ----------
    video : ndarray of shape (n_batches,), rows of the videos
    persona : ndarray of shape (n_batches,), numbers of the personas
    count : ndarray of shape (n_batches,), viewers of each run
    """

    video: Ints
    persona: Ints
    count: Ints

    def take(self, rows: slice | Ints) -> "Batches":
        """Return some of the runs."""
        return Batches(self.video[rows], self.persona[rows], self.count[rows])


class Audience:
    """The viewers of one world, none of whom sees a video twice.

    Each persona's viewers stand in one shuffled list, around a circle. A video starts
    anywhere on it and jumps on by a stride of its own that has no factor in common with
    the length. So it meets everybody once before it meets anybody twice; its viewers
    are a simple random sample; and drawing costs no memory. The samples of two videos
    are from the same list, so they are not independent of each other.

    Parameters
    ----------
    persona : ndarray of shape (n_viewers,)
        The persona of each viewer, from 0.
    n_videos : int
        Number of videos.
    rng : numpy.random.Generator
        Source of the lists, starts and strides.
    """

    def __init__(self, persona: Ints, n_videos: int, rng: np.random.Generator) -> None:
        self.size = np.bincount(persona)
        # A random order within each persona, one persona after the other.
        self.order = np.lexsort([rng.random(len(persona)), persona])
        self.offset = np.cumsum(self.size) - self.size
        shape = (n_videos, len(self.size))
        self.start = rng.integers(0, self.size, shape)
        self.stride = _coprime(np.broadcast_to(self.size, shape), rng)
        self.used = np.zeros(shape, dtype=np.int64)

    def batches(self, video: Ints, persona: Ints, size: int | Ints) -> Batches:
        """Size a batch for each video: fewer than asked for if fewer are left."""
        left = self.size[persona] - self.used[video, persona]
        batches = Batches(video, persona, np.minimum(size, left))
        return batches.take(np.flatnonzero(batches.count > 0))

    def draw(self, batches: Batches) -> Ints:
        """Return the rows of the viewers of all batches, one batch after the other."""
        video, persona, count = batches.video, batches.persona, batches.count
        first = np.cumsum(count) - count
        used = self.used[video, persona]
        turn = np.arange(count.sum()) + np.repeat(used - first, count)
        turn *= np.repeat(self.stride[video, persona], count)
        turn += np.repeat(self.start[video, persona], count)
        turn %= np.repeat(self.size[persona], count)
        turn += np.repeat(self.offset[persona], count)
        self.used[video, persona] += count
        return self.order[turn]


def _coprime(size: Ints, rng: np.random.Generator) -> Ints:
    """Draw a stride for each circle that has no factor in common with its size."""
    stride = np.ones(size.shape, dtype=np.int64)
    todo = size > 1
    while todo.any():
        stride[todo] = rng.integers(1, size[todo])
        todo &= np.gcd(stride, size) > 1
    return stride


def spread(n: int, n_personas: int) -> Ints:
    """Split `n` viewers over personas as evenly as whole numbers allow."""
    return np.diff(np.arange(n_personas + 1) * n // n_personas)


@dataclass
class Shown:
    """What the viewers of each batch did, one entry a batch.

    Parameters
    ----------
    n : number of viewers
    total : sum of their points
    squares : sum of the squared distances of their points from their mean
    peak : the highest log e-value after any of them
    """

    n: Ints
    total: Floats
    squares: Floats
    peak: Floats

    @property
    def mean(self) -> Floats:
        """Return the mean points of each batch."""
        return self.total / self.n

    @property
    def sd(self) -> Floats:
        """Return their standard deviation: one viewer says nothing of it."""
        sd = np.sqrt(self.squares / np.maximum(self.n - 1, 1))
        return np.where(self.n > 1, sd, np.inf)


class World:
    """The state of all videos in one world.

    Parameters
    ----------
    plan : Plan
        What all worlds share.
    rng : numpy.random.Generator
        All chance of this world.
    sink : callable or None
        Takes the columns of each chunk of the log.
    """

    def __init__(self, plan: Plan, rng: np.random.Generator, sink: Sink | None) -> None:
        n = len(plan.upload)
        self.plan, self.rng, self.sink = plan, rng, sink
        self.day = int(plan.upload.min())
        self.audience = Audience(plan.persona, n, rng)
        self.log = EventLog()
        self.phase = np.full(n, WAITING)
        self.stage, self.exposures, self.persona = np.zeros((3, n), dtype=np.int64)
        # Days: of the first batch, of the next batch, of the pause.
        self.since, self.due, self.paused_on = np.zeros((3, n), dtype=np.int64)
        self.boosted = np.zeros(n, dtype=bool)
        self.points, self.score = np.zeros(n), np.full(n, np.nan)
        self.opened_with = np.ones(n)  # propensity of the decision for this batch
        self.decision = np.full(n, -1)  # its row number; -1 if none opened the batch
        self.log_e_value = no_evidence(n) if plan.rule.name == "sequential" else None
        self.peak = np.full(n, -np.inf)  # of the log e-value
        self.probe_log_e_value = no_evidence(n)

    def run(self) -> None:
        """Let days pass until nothing can happen any more."""
        active = [WAITING, WIDENED]
        while np.isin(self.phase, active).any() or self._may_be_boosted().any():
            self._upload()
            self._widen()
            self._cool()
            self._boost()
            self.day += 1

    def _upload(self) -> None:
        """Show new videos to all personas, then to fresh viewers of the best one."""
        video = np.flatnonzero((self.phase == WAITING) & (self.plan.upload == self.day))
        if not len(video):
            return
        self.since[video], self.stage[video] = self.day, 1
        n_personas, size = len(self.audience.size), int(self.plan.stages[0])
        first = self.audience.batches(
            np.repeat(video, n_personas),
            np.tile(np.arange(n_personas), len(video)),
            np.tile(spread(size, n_personas), len(video)),
        )
        # With one persona there is nothing to choose, and the first batch decides.
        shown = self._show(first, 1, self.log_e_value if n_personas == 1 else None)
        mean = np.full((len(self.phase), n_personas), -np.inf)
        mean[first.video, first.persona] = shown.mean
        best = mean[video].max(axis=1, keepdims=True)
        # Equal personas are as likely to be taken, not the first of them.
        lots = self.rng.random((len(video), n_personas))
        self.persona[video] = ((mean[video] == best) * lots).argmax(axis=1)
        n = self.exposures[video]
        self._note("first batch", video, exposures=n, score=best[:, 0])
        if n_personas > 1:
            first = self._next_batches(video, size)
            if not len(first.video):
                return
            shown = self._show(first, 1, self.log_e_value)
            video = first.video
            self._note("rescored", video, exposures=shown.n, score=shown.mean)
        self._decide(first, shown)

    def _widen(self) -> None:
        """Show widened videos to the next batch, of the persona that likes them."""
        video = np.flatnonzero((self.phase == WIDENED) & (self.due <= self.day))
        batches = self._next_batches(video, self.plan.stages[self.stage[video]])
        video = batches.video
        if not len(video):
            return
        self.stage[video] += 1
        shown = self._show(batches, self.stage[video], self.log_e_value)
        rewarded = self.decision[video] >= 0
        self.log.reward(self.decision[video][rewarded], shown.total[rewarded])
        self._note("wider batch", video, exposures=shown.n, score=shown.mean)
        self._decide(batches, shown)

    def _next_batches(self, video: Ints, size: int | Ints) -> Batches:
        """Size the next batch of each video; end those that their persona has seen."""
        batches = self.audience.batches(video, self.persona[video], size)
        seen = np.setdiff1d(video, batches.video)
        self.phase[seen] = EXHAUSTED
        self._note("no viewers left", seen)
        return batches

    def _show(self, batches: Batches, stage: Any, log_e_value: Floats | None) -> Shown:
        """Show videos chunk by chunk; log the impressions and add up the points."""
        stage = np.broadcast_to(np.asarray(stage, dtype=np.int8), batches.count.shape)
        parts = []
        for rows in _chunks(batches.count):
            part = batches.take(rows)
            viewer = self.audience.draw(part)  # (n_impressions,)
            video = np.repeat(part.video, part.count)
            signals = self._react(video, viewer)  # (n_impressions, 5)
            points = signals @ self.plan.points
            parts.append(self._add_up(part, signals, points, log_e_value))
            if self.sink is not None:
                opened_with = self.opened_with[part.video]
                columns = {"video": video, "viewer": viewer, "day": self.day}
                columns["stage"] = np.repeat(stage[rows], part.count)
                columns["propensity"] = np.repeat(opened_with, part.count)
                columns |= dict(zip(SIGNALS, signals.T, strict=True))
                columns["points"] = points.astype(np.float32)
                self.sink(columns)
        return Shown(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _react(self, video: Ints, viewer: Ints) -> Bools:
        """Draw the five signals; whoever watches again has also completed."""
        proba = check_response(self.plan.response(video, viewer, self.day), len(video))
        u = self.rng.random(proba.shape, dtype=np.float32)
        u[:, 1] = u[:, 0]
        signals = u < proba
        signals[:, 1] |= signals[:, 0]
        return signals

    def _add_up(
        self,
        batches: Batches,
        signals: Bools,
        points: Floats,
        log_e_value: Floats | None,
    ) -> tuple[Any, ...]:
        """Return the fields of `Shown`, and add the points to those of the videos."""
        video, n = batches.video, batches.count
        first = np.cumsum(n) - n
        # Of counts, which are exact: as many likes are as many points in any order.
        counts = np.add.reduceat(signals, first, axis=0, dtype=np.int64)
        total = (counts * self.plan.points).sum(axis=1)
        distance = points - np.repeat(total / n, n)
        squares = np.add.reduceat(distance * distance, first)
        # A video has several first batches, one a persona.
        np.add.at(self.points, video, total)
        np.add.at(self.exposures, video, n)
        peak = np.full(len(total), -np.inf)
        if log_e_value is not None:
            log_e_value[video], peak = add_evidence(
                log_e_value[video], points, self.plan.threshold[video], n
            )
        return n, total, squares, peak

    def _decide(self, batches: Batches, shown: Shown) -> None:
        """Score the batches that ended today, and widen or pause their videos."""
        plan, video = self.plan, batches.video
        self.score[video] = shown.mean
        self.peak[video] = np.maximum(self.peak[video], shown.peak)
        goes_on = self.stage[video] < len(plan.stages)
        passed, video = video[~goes_on], video[goes_on]
        self.phase[passed] = COOLED
        cooled_on = self.since[passed] + plan.cooldown_days
        self._note("cooled down", passed, day=cooled_on)
        if not len(video):
            return
        candidates = Candidates(
            stage=self.stage[video],
            exposures=shown.n[goes_on],
            score=self.score[video],
            sd=shown.sd[goes_on],
            evidence=self.peak[video],
            threshold=plan.threshold[video],
        )
        probability, chance = plan.rule.chance(candidates)
        widened = self.rng.random(len(video)) < chance
        self.decision[video] = self.log.decide(
            video=video,
            day=self.day,
            **vars(candidates),
            probability=probability,
            propensity=np.where(widened, chance, 1 - chance),
            widened=widened,
        )
        for event, rows in (("widened", widened), ("paused", ~widened)):
            self._note(
                event,
                video[rows],
                exposures=candidates.exposures[rows],
                score=candidates.score[rows],
                chance=chance[rows],
            )
        self.opened_with[video] = chance
        self.phase[video] = np.where(widened, WIDENED, PAUSED)
        self.due[video] = self.day + 1
        self.paused_on[video] = self.day

    def _cool(self) -> None:
        """End what has been shown for long enough."""
        is_old = self.day + 1 - self.since >= self.plan.cooldown_days
        video = np.flatnonzero((self.phase == WIDENED) & is_old)
        self.phase[video] = COOLED
        self._note("cooled down", video, day=self.day + 1)

    def _may_be_boosted(self) -> Bools:
        """Tell which paused videos may get another chance, from today on."""
        waits = (self.phase == PAUSED) & ~self.boosted
        if self.plan.momentum == "probe":
            return waits & (self.day <= self.paused_on + PROBE_DAYS)
        if self.plan.momentum == "creator":
            return waits & (self.day < self.plan.falls.shape[1])
        return waits & False

    def _boost(self) -> None:
        """Give paused videos another chance from tomorrow on, each once."""
        waits = self._may_be_boosted() & (self.paused_on < self.day)
        if not waits.any():
            return
        if self.plan.momentum == "creator":
            video = np.flatnonzero(waits & self.plan.falls[:, self.day])
        else:
            video = self._probe(np.flatnonzero(waits))
        self.phase[video], self.boosted[video] = WIDENED, True
        self.since[video] = self.due[video] = self.day + 1
        self.decision[video], self.opened_with[video] = -1, 1.0
        self._note("boosted", video)

    def _probe(self, video: Ints) -> Ints:
        """Show paused videos to a few viewers; return those with evidence enough."""
        batches = self.audience.batches(video, self.persona[video], PROBES_A_DAY)
        if not len(batches.video):
            return batches.video
        self.opened_with[batches.video] = 1.0
        shown = self._show(batches, 0, self.probe_log_e_value)
        return batches.video[shown.peak >= -np.log(self.plan.rule.alpha)]

    def _note(self, event: str, video: Ints, **columns: Any) -> None:
        """Log an event of some videos, of today unless another day is named."""
        defaults = {"day": self.day, "exposures": 0, "score": np.nan, "chance": np.nan}
        columns = defaults | columns
        self.log.note(event=event, video=video, stage=self.stage[video], **columns)


def check_response(proba: Any, n: int) -> NDArray[Any]:
    """Refuse what are no probabilities of the five signals."""
    names = list(getattr(proba, "columns", SIGNALS))
    if names != list(SIGNALS):
        raise ValueError(
            f"response must return the columns {list(SIGNALS)} in this order, got "
            f"{names}. Select them."
        )
    proba = np.asarray(proba)
    if proba.shape != (n, len(SIGNALS)):
        raise ValueError(
            f"response must return an array of shape ({n}, {len(SIGNALS)}), one column "
            f"for each of {list(SIGNALS)}, got shape {proba.shape}."
        )
    low, high = proba.min(), proba.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            "response must return probabilities in [0, 1], got values from "
            f"{low} to {high}. Clip them, or divide counts by impressions."
        )
    return proba


def _chunks(counts: Ints) -> Iterator[slice]:
    """Cut batches into runs of about `_CHUNK_ROWS` viewers; no batch is split."""
    number = (np.cumsum(counts) - 1) // _CHUNK_ROWS
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    for start, stop in zip(edges, np.append(edges[1:], len(counts)), strict=True):
        yield slice(start, stop)


EVENTS = {
    "video": np.int64,
    "day": np.int64,
    "event": object,
    "stage": np.int64,
    "exposures": np.int64,
    "score": np.float64,
    "chance": np.float64,  # that the batch is widened, if that was decided
}
DECISIONS = {
    "video": np.int64,
    "day": np.int64,
    "stage": np.int64,
    "exposures": np.int64,
    "score": np.float64,
    "sd": np.float64,
    "evidence": np.float64,
    "threshold": np.float64,
    "probability": np.float64,
    "propensity": np.float64,
    "widened": np.bool_,
}


class EventLog:
    """Events and decisions, appended in blocks and joined once at the end."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._decisions: list[dict[str, Any]] = []
        self._rewards: list[tuple[Ints, Floats]] = []
        self._n_decisions = 0

    def note(self, **columns: Any) -> None:
        """Append an event of some videos."""
        if len(columns["video"]):
            self._events.append(columns)

    def decide(self, **columns: Any) -> Ints:
        """Append decisions and return their row numbers."""
        self._decisions.append(columns)
        first = self._n_decisions
        self._n_decisions += len(columns["video"])
        return np.arange(first, self._n_decisions)

    def reward(self, decisions: Ints, points: Floats) -> None:
        """Credit decisions, by row number, with the points of what they opened."""
        self._rewards.append((decisions, points))

    def events(self) -> pd.DataFrame:
        """Return all events, those of each video together and in order."""
        events = _to_frame(self._events, EVENTS)
        return events.sort_values(["video", "day"], kind="stable", ignore_index=True)

    def decisions(self) -> pd.DataFrame:
        """Return all decisions with their rewards."""
        decisions = _to_frame(self._decisions, DECISIONS)
        reward = np.zeros(len(decisions))
        for rows, points in self._rewards:
            reward[rows] = points
        return decisions.assign(reward=reward)


def _to_frame(blocks: list[dict[str, Any]], kinds: dict[str, Any]) -> pd.DataFrame:
    """Join blocks of columns; scalars in a block are repeated."""
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for block in blocks:
        n = len(block["video"])
        for name, kind in kinds.items():
            values = np.asarray(block[name], dtype=kind)
            columns[name].append(np.broadcast_to(values, n))
    return pd.DataFrame(
        {
            name: np.concatenate([np.empty(0, dtype=kinds[name]), *parts])
            for name, parts in columns.items()
        }
    ).infer_objects()


def creator_falls(activity: Floats) -> Bools:
    """Find the days on which creators turn quiet.

    A creator's activity has fallen on a day if its mean over the seven days that end
    there is at most half of the mean over the seven days before those, and that was
    above zero. The trigger fires on the first such day of each fall. A mean above the
    half by less than one part in 1e9 still counts, because sums of fractions are
    rounded.

    Parameters
    ----------
    activity : ndarray of shape (n_creators, n_days)
        Activity, such as videos posted or sessions, at least 0.

    Returns
    -------
    fires : ndarray of bool of shape (n_creators, n_days)
        Whether the trigger fires.
    """
    if activity.shape[1] < 2 * WINDOW_DAYS:
        return np.zeros(activity.shape, dtype=bool)
    # Sums of windows, not differences of running totals: quiet weeks are exactly zero.
    recent = sliding_window_view(activity, WINDOW_DAYS, axis=1).sum(axis=-1)
    now, before = recent[:, WINDOW_DAYS:], recent[:, :-WINDOW_DAYS]
    fallen = np.zeros(activity.shape, dtype=bool)
    fallen[:, 2 * WINDOW_DAYS - 1 :] = (before > 0) & (
        now <= FALL * before * (1 + ROUNDING)
    )
    yesterday = np.pad(fallen, ((0, 0), (1, 0)))[:, :-1]
    return fallen & ~yesterday
