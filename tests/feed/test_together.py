"""The whole workflow on real files: review, duplicate search and rollout."""

import numpy as np
import pandas as pd
from feed.films import write
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from skchallenge.feed import BatchRollout, DuplicateFinder, FeedWorkflow, ReviewGate


def test_files_are_reviewed_compared_and_rolled_out(tmp_path):
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 255, (2, 60, 12, 12), dtype=np.uint8)
    one, other = (film.repeat(32, axis=1).repeat(32, axis=2) for film in (one, other))
    (tmp_path / "broken.mp4").write_text("no film")
    paths = [
        write(tmp_path / "one.mp4", one),
        write(tmp_path / "mirrored.mp4", one[:, :, ::-1]),
        str(tmp_path / "broken.mp4"),
        write(tmp_path / "short.mp4", other[:30]),
        write(tmp_path / "other.mp4", other),
    ]
    videos = pd.DataFrame(
        {"video_id": list("abcde"), "creator_id": list("vwxyz"), "path": paths}
    )
    viewers = pd.DataFrame({"viewer_id": range(2000), "persona": "all"})
    finder = make_pipeline(
        make_column_transformer(("passthrough", ["path"])), DuplicateFinder()
    )
    workflow = FeedWorkflow(
        BatchRollout((50, 500), threshold=3.0, random_state=0),
        review=ReviewGate(path="path").fit(videos),
        human_review=lambda flagged: ~flagged["path"].str.contains("short").to_numpy(),
        duplicates=finder,
    ).fit()

    def response(video, viewer, day):
        likes = np.array([0.9, 0, 0, 0, 0.05])[video]  # row by row of `videos`
        return np.column_stack([0 * likes, likes, 0 * likes, 0 * likes, likes])

    journeys = workflow.run(videos, viewers, response).journeys.set_index("video_id")
    assert journeys["outcome"].to_dict() == {
        "a": "cooled down",
        "b": "duplicate",
        "c": "rejected",
        "d": "rejected",
        "e": "paused",
    }
    reasons = journeys["reasons"].map(" | ".join)
    assert "a copy of 'a'" in reasons["b"]
    assert "cannot be decoded" in reasons["c"]
    assert "human review: reject" in reasons["d"]
    assert journeys["exposures"]["e"] < 500 <= journeys["exposures"]["a"]
