"""A small world for the tests of the feed: videos, viewers and what they do."""

import numpy as np
import pandas as pd

SHARES = np.array([0.2, 1.0, 0.05, 0.1, 0.3])  # of a video's appeal, by signal


class World:
    """Videos with an appeal for each persona, which may change after some day."""

    def __init__(self, n_videos=40, n_viewers=8000, n_personas=4, *, sd=0.3, seed=0):
        rng = np.random.default_rng(seed)
        self.videos = pd.DataFrame(
            {
                "video_id": [f"v{i:02}" for i in range(n_videos)],
                "creator_id": [f"c{i % 7}" for i in range(n_videos)],
                "day": np.arange(n_videos) % 3,
            }
        )
        persona = rng.integers(0, n_personas, n_viewers)
        self.viewers = pd.DataFrame(
            {"viewer_id": np.arange(n_viewers) + 500, "persona": persona}
        )
        appeal = rng.normal(0.25, 0.1, (n_videos, 1))
        self.appeal = appeal * np.exp(rng.normal(0, sd, (n_videos, n_personas)))
        self.appeal = self.appeal.clip(0.01, 0.9)

    def response(self, video, viewer, day):
        persona = self.viewers["persona"].to_numpy()[viewer]
        return self.appeal[video, persona][:, None] * SHARES


def mean_points(appeal):
    """Expected points: a re-watch is one of the completions."""
    return appeal * (10 * 0.2 + 8 * 1.0 + 6 * 0.05 + 4 * 0.1 + 2 * 0.3)
