"""One simulated world: days pass, videos are shown, decisions are taken."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skchallenge.feed._audience import Audience, Batches, Ints, spread
from skchallenge.feed._diary import (
    COOLED,
    EXHAUSTED,
    PAUSED,
    WAITING,
    WIDENED,
    Diary,
)
from skchallenge.feed._engagement import SIGNALS
from skchallenge.feed._evidence import grow, no_evidence
from skchallenge.feed._momentum import PROBE_DAYS, PROBES_A_DAY
from skchallenge.feed._rules import Floats, Scores, chance_to_widen

Response = Callable[[Ints, Ints, int], NDArray[Any]]
Sink = Callable[[dict[str, Any]], None]

_CHUNK_ROWS = 250_000  # impressions at a time: some 40 MB


@dataclass
class Plan:
    """What all worlds of a simulation share.

    Parameters
    ----------
    stages : viewers of each stage
    rule, alpha, fraction, epsilon, cooldown_days, momentum : as in `BatchRollout`
    upload : ndarray of shape (n_videos,), the day of each video's upload
    points : ndarray of shape (5,), of each signal
    threshold : ndarray of shape (n_videos,), the points that it must reach
    persona : ndarray of shape (n_viewers,), numbers of the personas
    names : ndarray of shape (n_personas,), their names
    response : what viewers do
    falls : ndarray of shape (n_videos, n_days), whether the creator turns quiet
    """

    stages: Ints
    rule: str
    alpha: float
    fraction: float
    epsilon: float
    cooldown_days: int
    momentum: str | None
    upload: Ints
    points: Floats
    threshold: Floats
    persona: Ints
    names: NDArray[Any]
    response: Response
    falls: NDArray[np.bool_]


@dataclass
class Sums:
    """Sums over the viewers of each batch, and the evidence's peak.

    Parameters
    ----------
    n : of viewers
    total : of points
    spread : of squared distances of points from their mean
    peak : the highest log evidence after any of the viewers
    """

    n: Ints
    total: Floats
    spread: Floats
    peak: Floats


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
        self.diary = Diary(plan.rule)
        self.audience = Audience(plan.persona, n, rng)
        self.phase = np.full(n, WAITING)
        self.stage, self.exposures, self.persona = np.zeros((3, n), dtype=np.int64)
        # Days: of the first batch, of the next batch, of the pause.
        self.since, self.due, self.paused_on = np.zeros((3, n), dtype=np.int64)
        self.boosted = np.zeros(n, dtype=bool)
        self.points, self.score = np.zeros(n), np.full(n, np.nan)
        self.opened_with = np.ones(n)  # propensity of the decision for this batch
        self.decision = np.full(n, -1)  # its row number
        self.reward: list[tuple[Ints, Floats]] = []
        self.bets = no_evidence(n) if plan.rule == "sequential" else None
        self.probe_bets = no_evidence(n)
        self.peak = np.full(n, -np.inf)

    def run(self) -> None:
        """Let days pass until nothing can happen any more."""
        day = int(self.plan.upload.min())
        while np.isin(self.phase, [WAITING, WIDENED]).any() or self._may_boost(day):
            self._upload(day)
            self._widen(day)
            self._cool(day)
            if self.plan.momentum is not None:
                self._boost(day)
            day += 1

    def _may_boost(self, day: int) -> bool:
        waits = (self.phase == PAUSED) & ~self.boosted
        if self.plan.momentum == "probe":
            return bool((waits & (day <= self.paused_on + PROBE_DAYS)).any())
        if self.plan.momentum == "creator":
            return bool(waits.any() and day < self.plan.falls.shape[1])
        return False

    def _upload(self, day: int) -> None:
        """Show new videos to all personas, then to fresh viewers of the best one."""
        video = np.flatnonzero((self.phase == WAITING) & (self.plan.upload == day))
        if not len(video):
            return
        self.since[video], self.stage[video] = day, 1
        n_personas, size = len(self.plan.names), int(self.plan.stages[0])
        batches = self.audience.plan(
            np.repeat(video, n_personas),
            np.tile(np.arange(n_personas), len(video)),
            np.tile(spread(size, n_personas), len(video)),
        )
        sums = self._show(batches, day, 1, self.bets if n_personas == 1 else None)
        mean = np.full((len(self.phase), n_personas), -np.inf)
        mean[batches.video, batches.persona] = sums.total / sums.n
        best = mean[video] == mean[video].max(axis=1, keepdims=True)
        # Equal personas are as likely to be taken, not the first of them.
        self.persona[video] = (best * self.rng.random(best.shape)).argmax(axis=1)
        self._note_first(video, mean[video].max(axis=1), day)
        if n_personas > 1:
            batches = self._reserve(video, size, day)
            if not len(batches.video):
                return
            sums = self._show(batches, day, 1, self.bets)
            self._note_batch("rescored", batches, sums, day)
        self._decide(batches, sums, day)

    def _widen(self, day: int) -> None:
        """Show widened videos to their next batch."""
        video = np.flatnonzero((self.phase == WIDENED) & (self.due <= day))
        size = self.plan.stages[self.stage[video]]
        batches = self._reserve(video, size, day)
        if not len(batches.video):
            return
        self.stage[batches.video] += 1
        sums = self._show(batches, day, self.stage[batches.video], self.bets)
        rewarded = self.decision[batches.video] >= 0
        self.reward.append(
            (self.decision[batches.video][rewarded], sums.total[rewarded])
        )
        self._note_batch("wider batch", batches, sums, day)
        self._decide(batches, sums, day)

    def _decide(self, batches: Batches, sums: Sums, day: int) -> None:
        """Score the batches that ended today, and widen or pause."""
        self.score[batches.video] = sums.total / sums.n
        self.peak[batches.video] = np.maximum(self.peak[batches.video], sums.peak)
        last = self.stage[batches.video] == len(self.plan.stages)
        self._finish(batches.video[last])
        video, scores = batches.video[~last], self._scores(batches.video, sums, ~last)
        if not len(video):
            return
        probability, chance = chance_to_widen(
            scores,
            self.plan.rule,
            alpha=self.plan.alpha,
            fraction=self.plan.fraction,
            epsilon=self.plan.epsilon,
        )
        widened = self.rng.random(len(video)) < chance
        self.decision[video] = self.diary.decide(
            video=video,
            day=day,
            stage=scores.stage,
            persona=self.plan.names[self.persona[video]],
            exposures=scores.n,
            score=scores.mean,
            sd=scores.sd,
            evidence=scores.peak,
            threshold=scores.threshold,
            probability=probability,
            chance=chance,
            widened=widened,
        )
        self.opened_with[video] = chance
        self.phase[video] = np.where(widened, WIDENED, PAUSED)
        self.due[video] = day + 1
        self.paused_on[video] = day

    def _scores(self, video: Ints, sums: Sums, rows: NDArray[np.bool_]) -> Scores:
        video, n, mean = video[rows], sums.n[rows], self.score[video[rows]]
        # One viewer says nothing of the spread.
        sd = np.where(n > 1, np.sqrt(sums.spread[rows] / np.maximum(n - 1, 1)), np.inf)
        threshold, stage = self.plan.threshold[video], self.stage[video]
        return Scores(n, mean, sd, threshold, self.peak[video], stage)

    def _reserve(self, video: Ints, size: int | Ints, day: int) -> Batches:
        """Reserve viewers for each video; end those that their persona has seen."""
        batches = self.audience.plan(video, self.persona[video], size)
        seen = np.setdiff1d(video, batches.video)
        self.phase[seen] = EXHAUSTED
        reason = "its persona has no viewers left who have not seen it"
        self._note("no viewers left", seen, [reason] * len(seen), day)
        return batches

    def _finish(self, video: Ints) -> None:
        self.phase[video] = COOLED
        reason = f"passed all stages; cooled down after {self.plan.cooldown_days} days"
        day = self.since[video] + self.plan.cooldown_days
        self._note("cooled down", video, [reason] * len(video), day)

    def _cool(self, day: int) -> None:
        """Stop what has been shown for long enough."""
        old = (self.phase == WIDENED) & (
            day + 1 - self.since >= self.plan.cooldown_days
        )
        video = np.flatnonzero(old)
        self.phase[video] = COOLED
        reason = (
            f"cooled down after {self.plan.cooldown_days} days, before its next batch"
        )
        self._note("cooled down", video, [reason] * len(video), day + 1)

    def _boost(self, day: int) -> None:
        """Give paused videos another chance, each once."""
        waits = (self.phase == PAUSED) & ~self.boosted & (self.paused_on < day)
        if self.plan.momentum == "creator":
            known = day < self.plan.falls.shape[1]
            fires = waits & self.plan.falls[:, day] if known else waits & False
            reason = "momentum: the creator's activity has fallen; boosted"
        else:
            waits &= day <= self.paused_on + PROBE_DAYS
            fires = self._probe(np.flatnonzero(waits), day)
            reason = "momentum: probes show interest above the threshold; boosted"
        video = np.flatnonzero(fires)
        self.phase[video], self.boosted[video] = WIDENED, True
        self.since[video] = self.due[video] = day + 1
        self.decision[video] = -1
        self.opened_with[video] = 1.0
        self._note("boosted", video, [reason] * len(video), day)

    def _probe(self, video: Ints, day: int) -> NDArray[np.bool_]:
        fires = np.zeros(len(self.phase), dtype=bool)
        batches = self.audience.plan(video, self.persona[video], PROBES_A_DAY)
        if len(batches.video):
            self.opened_with[batches.video] = 1.0
            sums = self._show(batches, day, 0, self.probe_bets)
            fires[batches.video] = sums.peak >= -np.log(self.plan.alpha)
        return fires

    def _show(
        self, batches: Batches, day: int, stage: Any, bets: Floats | None
    ) -> Sums:
        """Show videos chunk by chunk; log the impressions and add up the points."""
        stage = np.broadcast_to(np.asarray(stage, dtype=np.int8), batches.count.shape)
        parts = []
        for rows in _chunks(batches.count):
            part = batches.take(rows)
            viewer = self.audience.draw(part)
            video = np.repeat(part.video, part.count)
            signals = self._react(video, viewer, day)
            points = signals @ self.plan.points
            parts.append(self._sum(part, signals, points, bets))
            if self.sink is not None:
                self.sink(
                    {"video": video, "viewer": viewer, "day": day}
                    | {"stage": np.repeat(stage[rows], part.count)}
                    | {
                        "propensity": np.repeat(
                            self.opened_with[part.video], part.count
                        )
                    }
                    | {name: signals[:, j] for j, name in enumerate(SIGNALS)}
                    | {"points": points.astype(np.float32)}
                )
        return Sums(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _react(self, video: Ints, viewer: Ints, day: int) -> NDArray[np.bool_]:
        """Draw the five signals; whoever watches again has also completed."""
        p = check_response(self.plan.response(video, viewer, day), len(video))
        luck = self.rng.random(p.shape, dtype=np.float32)
        luck[:, 1] = luck[:, 0]
        signals = luck < p
        signals[:, 1] |= signals[:, 0]
        return signals

    def _sum(
        self,
        batches: Batches,
        signals: NDArray[np.bool_],
        points: Floats,
        bets: Floats | None,
    ) -> tuple[Any, ...]:
        first = np.cumsum(batches.count) - batches.count
        # Of counts, which are exact: as many likes are as many points in any order.
        counts = np.add.reduceat(signals, first, axis=0, dtype=np.int64)
        total = (counts * self.plan.points).sum(axis=1)
        distance = points - np.repeat(total / batches.count, batches.count)
        spread = np.add.reduceat(distance * distance, first)
        np.add.at(self.points, batches.video, total)
        np.add.at(self.exposures, batches.video, batches.count)
        peak = np.full(len(total), -np.inf)
        if bets is not None:
            video = batches.video
            bets[video], peak = grow(
                bets[video], points, self.plan.threshold[video], batches.count
            )
        return batches.count, total, spread, peak

    def _note_first(self, video: Ints, score: Floats, day: int) -> None:
        names = self.plan.names[self.persona[video]]
        reasons = [
            f"first batch of {n} viewers spans {len(self.plan.names)} personas; "
            f"{name} likes it best, {s:.2f} points"
            for n, name, s in zip(self.exposures[video], names, score, strict=True)
        ]
        self._note("first batch", video, reasons, day, self.exposures[video], score)

    def _note_batch(self, event: str, batches: Batches, sums: Sums, day: int) -> None:
        names, stage = self.plan.names[batches.persona], self.stage[batches.video]
        mean = sums.total / sums.n
        reasons = [
            f"{event} of stage {k}: {n} fresh viewers of {name} give {s:.2f} points"
            for k, n, name, s in zip(stage, sums.n, names, mean, strict=True)
        ]
        self._note(event, batches.video, reasons, day, sums.n, mean)

    def _note(
        self,
        event: str,
        video: Ints,
        reasons: list[str],
        day: int | Ints,
        exposures: Any = 0,
        score: Any = np.nan,
    ) -> None:
        columns = {"day": day, "exposures": exposures, "score": score}
        self.diary.note(event, reasons, video=video, stage=self.stage[video], **columns)


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
