"""What comes out of simulated worlds: journeys, unequal exposure, and mistakes."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._html import Bunch
from skchallenge._table import read_numbers
from skchallenge.exceptions import FewViewersWarning
from skchallenge.feed._engagement import SIGNALS
from skchallenge.feed._simulation import OUTCOMES, EventLog, Plan, Sink, World

RESULTS = ("stage", "exposures", "points", "score", "outcome", "reasons")
_TESTS = ("first batch", "rescored")  # what every rule shows, before it decides
_BATCHES = (*_TESTS, "wider batch")

_BATCH = (
    "{event} of stage {stage}: {exposures} fresh viewers of {persona} give {score:.2f} "
    "points"
)
_DECISION = (
    "stage {stage} scored {score:.2f} against {threshold:.2f}: rule {rule!r} widens "
    "with probability {chance:.3g}; {event}"
)
_REASONS = {
    "first batch": "first batch of {exposures} viewers spans {n_personas} personas; "
    "{persona} likes it best, {score:.2f} points",
    "rescored": _BATCH,
    "wider batch": _BATCH,
    "widened": _DECISION,
    "paused": _DECISION,
    "no viewers left": "its persona has no viewers left who have not seen it",
    "cooled down": "cooled down after {cooldown_days} days, before its next batch",
    "passed": "passed all stages; cooled down after {cooldown_days} days",
    "passed with few": "passed all stages, the last with {shown} of {size} viewers, "
    "all that its persona had left; cooled down after {cooldown_days} days",
    "creator": "momentum: the creator's activity has fallen; boosted",
    "probe": "momentum: probes show interest above the threshold; boosted",
}


def report(
    world: World, number: int, videos: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the journeys, events and decisions of a world."""
    events, decisions = world.log.events(), world.log.decisions()
    events["reason"] = reasons = _reasons(events, world)
    decisions.insert(3, "persona", world.plan.names[world.persona[decisions["video"]]])
    # Events are sorted by video, and each video has at least its first batch.
    stops = np.cumsum(np.bincount(events["video"])).tolist()
    own = [reasons[start:stop] for start, stop in pairwise([0, *stops])]
    journeys = videos.assign(
        stage=world.stage,
        exposures=world.exposures,
        points=world.points,
        score=world.score,
        outcome=np.array(OUTCOMES, dtype=object)[world.phase],
        reasons=pd.Series(own, index=videos.index, dtype=object),
    )
    journeys.insert(0, "world", number)
    return journeys, *_label(events, decisions, number, videos)


def no_report(videos: pd.DataFrame, viewers: pd.DataFrame, *, log: bool) -> Bunch:
    """Return the tables of a simulation in which no video takes part."""
    none, videos = np.zeros(0, dtype=np.int64), videos[:0]
    events = EventLog().events().assign(reason=None)
    decisions = EventLog().decisions()
    decisions.insert(3, "persona", viewers["persona"].iloc[:0].to_numpy())
    events, decisions = _label(events, decisions, 0, videos)
    journeys = videos.assign(**dict.fromkeys(RESULTS, 0))
    journeys.insert(0, "world", 0)
    result = Bunch(journeys=journeys, events=events, decisions=decisions, means=None)
    if log:
        columns: dict[str, Any] = {"video": none, "viewer": none, "day": 0}
        columns |= {"stage": none.astype(np.int8), "propensity": none.astype(float)}
        columns |= dict.fromkeys(SIGNALS, none.astype(np.bool_))
        columns |= {"points": none.astype(np.float32)}
        chunks: list[pd.DataFrame] = []
        named_log(chunks.append, 0, videos, viewers)(columns)
        result["log"] = chunks[0]
    return result


def named_log(
    take: Callable[[pd.DataFrame], object],
    number: int,
    videos: pd.DataFrame,
    viewers: pd.DataFrame,
) -> Sink:
    """Return what hands each chunk of a world's log on as a table with ids."""
    video_id = videos["video_id"].to_numpy()
    viewer_id, persona = viewers["viewer_id"].to_numpy(), viewers["persona"].to_numpy()

    def sink(columns: dict[str, Any]) -> None:
        video, viewer = columns.pop("video"), columns.pop("viewer")
        day = np.full(len(video), columns.pop("day"), dtype=np.int32)
        ids = {"video_id": video_id[video], "viewer_id": viewer_id[viewer]}
        first = {"world": number, "day": day, **ids, "persona": persona[viewer]}
        take(pd.DataFrame(first | columns, copy=False))

    return sink


def _reasons(events: pd.DataFrame, world: World) -> list[str]:
    """Say in words what happened in each event."""
    plan = world.plan
    common = {
        "rule": plan.rule.name,
        "n_personas": len(plan.names),
        "cooldown_days": plan.cooldown_days,
    }
    video = events["video"].to_numpy()
    # Lists: their items are Python's, and iterating them is fast.
    names = ("event", "stage", "exposures", "score", "chance")
    columns = {name: events[name].tolist() for name in names}
    columns["persona"] = plan.names[world.persona[video]].tolist()
    columns["threshold"] = plan.threshold[video].tolist()
    reasons: list[str] = []
    shown, size = 0, int(plan.stages[-1])  # events of a video are together, in order
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        kind = row["event"]
        if kind in _BATCHES:
            shown = row["exposures"]
        if kind == "boosted":
            kind = str(plan.momentum)
        elif kind == "cooled down" and row["stage"] == len(plan.stages):
            kind = "passed" if shown == size else "passed with few"
        values = common | row | {"shown": shown, "size": size}
        reasons.append(_REASONS[kind].format_map(values))
    return reasons


def warn_of_few_viewers(result: Bunch, plan: Plan) -> None:
    """Warn if batches are smaller than their stages, or are not there at all."""
    events, n = result["events"], len(result["journeys"])
    size = plan.stages[events["stage"] - 1]
    is_small = events["event"].isin(_BATCHES) & (events["exposures"] < size)
    is_small |= events["event"] == "no viewers left"
    n_small = len(events.loc[is_small, ["world", "video_id"]].drop_duplicates())
    if not n_small:
        return
    sizes = np.bincount(plan.persona)
    warnings.warn(
        f"stages={tuple(plan.stages.tolist())} ask for more viewers than there are: in "
        f"{n_small} of {n} journeys a batch was smaller than its stage, or missing, "
        "because its persona had no others who had not seen the video; personas have "
        f"{sizes.min()} to {sizes.max()} viewers. A video that 'passed all stages' may "
        "have done so before few. Take smaller stages, fewer personas or more viewers.",
        FewViewersWarning,
        stacklevel=3,
    )


def _label(
    events: pd.DataFrame, decisions: pd.DataFrame, number: int, videos: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name world and videos in the tables of a world."""
    for table in (events, decisions):
        table.insert(0, "video_id", videos["video_id"].to_numpy()[table.pop("video")])
        table.insert(0, "world", number)
    return events.drop(columns="chance"), decisions


def small_creators(videos: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which videos have fewer followers than the median of the videos.

    Raises
    ------
    ValueError
        If a number of followers is missing, infinite or below 0.
    """
    followers = read_numbers(videos["followers"], "videos['followers']")
    wrong = ~((followers >= 0) & np.isfinite(followers))
    if wrong.any():
        raise ValueError(
            "videos['followers'] must hold finite numbers of at least 0, got "
            f"{followers[wrong][0]}. Drop such rows, or the column."
        )
    return np.asarray(followers < np.median(followers))


def exposure_of(journeys: pd.DataFrame) -> pd.DataFrame:
    """Sum up the journeys of all worlds, as `BatchRollout.simulate` says.

    Parameters
    ----------
    journeys : DataFrame
        Columns `world`, `exposures`, and `followers` if the fractions of small creators
        are asked for; the same videos in the same order in each world.

    Returns
    -------
    worlds : DataFrame
        One row a world. What is a fraction of nothing is NaN.
    """
    n_worlds = journeys["world"].nunique()
    shown = journeys["exposures"].to_numpy(np.int64).reshape(n_worlds, -1)
    n, total = shown.shape[1], shown.sum(axis=1)
    # Differences of all pairs: of n numbers in order, the i-th from 0 is the greater
    # one of i pairs, and the lesser one of n - 1 - i.
    differences = np.sort(shown, axis=1) @ (2 * np.arange(n) - n + 1)
    columns = {
        "world": np.arange(n_worlds),
        "exposures": total,
        "gini": _ratio(differences, n * total),
    }
    if "followers" in journeys.columns:
        small = small_creators(journeys[:n])
        columns["small_creators"] = _ratio(shown[:, small].sum(axis=1), total)
    return pd.DataFrame(columns)


def mistakes_of(
    result: Any, means: Any, worth: float, stages: NDArray[np.int64]
) -> pd.DataFrame:
    """Judge the journeys of all worlds, as `BatchRollout.mistakes` says.

    Raises
    ------
    ValueError
        If the means are neither given nor known.
    """
    if means is None:
        means = result.get("means")
    if means is None:
        raise ValueError(
            "means=None takes those of a learned response, but the result is of "
            "another. Pass a table of the true mean points, one row a video and one "
            "column a persona."
        )
    journeys, decisions = result["journeys"], result["decisions"]
    n_worlds = journeys["world"].nunique()
    keys = ["world", "video_id"]
    true = _check_means(means, journeys["video_id"], decisions["persona"])
    best = true.max(axis=1)
    deserves = (best >= worth).reshape(n_worlds, -1)
    reached = (journeys["stage"] == len(stages)).to_numpy().reshape(n_worlds, -1)

    video = pd.MultiIndex.from_frame(journeys[keys])
    tests = result["events"][result["events"]["event"].isin(_TESTS)]
    tested = tests.groupby(keys)["exposures"].sum().reindex(video, fill_value=0)
    later = journeys["exposures"].to_numpy(np.int64) - tested.to_numpy(np.int64)
    # The persona of a video is settled before the first decision. Without one, nothing
    # was shown later.
    persona = decisions.drop_duplicates(keys).set_index(keys)["persona"]
    column = means.columns.get_indexer(persona.reindex(video))
    gain = (true[np.arange(len(true)), column] - worth) * later
    gained = np.where(column < 0, 0.0, gain).reshape(n_worlds, -1).sum(axis=1)
    possible = (best - worth).clip(min=0).reshape(n_worlds, -1).sum(axis=1)
    kept_back, let_through = deserves & ~reached, reached & ~deserves
    return pd.DataFrame(
        {
            "world": np.arange(n_worlds),
            "false_negative_rate": _ratio(kept_back.sum(axis=1), deserves.sum(axis=1)),
            "false_positive_rate": _ratio(
                let_through.sum(axis=1), (~deserves).sum(axis=1)
            ),
            "regret": 1 - _ratio(gained, possible * stages[1:].sum()),
        }
    )


def _check_means(
    means: Any, videos: "pd.Series[Any]", personas: "pd.Series[Any]"
) -> NDArray[np.float64]:
    """Return the means of each row of the journeys, one column a persona.

    Raises
    ------
    TypeError
        If they are not a pandas table.
    ValueError
        If a video or persona is not there, or not once, or a mean is not finite.
    """
    if not isinstance(means, pd.DataFrame):
        raise TypeError(
            "means must be a pandas DataFrame, whose index are the video ids and whose "
            f"columns are the personas, got {type(means).__name__}. Wrap an array in "
            "pandas.DataFrame(..., index=videos['video_id'], columns=...)."
        )
    for name, found, needed in (
        ("video ids", means.index, videos),
        ("personas", means.columns, personas),
    ):
        missing = pd.Index(needed.unique()).difference(found).tolist()
        if missing or not found.is_unique:
            raise ValueError(
                f"means must have all {name} of the simulation, each once, got "
                f"{len(found)}, {found.duplicated().sum()} of them repeated, and lacks "
                f"{missing[:5]}."
            )
    true = means.to_numpy(dtype=np.float64)[means.index.get_indexer(pd.Index(videos))]
    if not np.isfinite(true).all():
        raise ValueError(
            "means must be finite numbers, the true mean points of every video to "
            f"every persona, got {np.isfinite(true).sum()} of {true.size}."
        )
    return true


def _ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """Divide; a fraction of nothing is NaN."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan), dtype=np.float64)
