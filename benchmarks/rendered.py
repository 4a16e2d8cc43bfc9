"""Covers, and an export with covers, whose truth is known because it is rendered."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96  # pixels


def draw_cover(path, level, rng):
    """Draw a disc on grainy ground; its hue says `level`, from blue (-1) to red (1).

    Place, size, ground and light are drawn at random, so no single pixel tells.
    """
    ground = rng.uniform(50, 200, size=3) + rng.normal(0, 15, size=(SIZE, SIZE, 3))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    red = 0.5 + 0.5 * np.clip(level, -1, 1)
    light = rng.uniform(0.7, 1.0)
    colour = tuple(int(255 * light * c) for c in (red, 0.15, 1 - red))
    radius = rng.uniform(12, 22)
    x, y = rng.uniform(radius, SIZE - radius, size=2)
    box = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(image).ellipse(box, fill=colour)
    image.save(path, quality=90)


def draw_covers(folder, levels, rng):
    """Draw one cover a level and return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{i:05d}.jpg") for i in range(len(levels))]
    for path, level in zip(paths, levels, strict=True):
        draw_cover(path, level, rng)
    return paths


_GOOD = ("love", "happy", "best", "fun", "great", "beautiful")
_BAD = ("sad", "awful", "hate", "boring", "worst", "angry")
_PLAIN = ("dance", "today", "street", "song", "friends", "morning", "city", "shoes")
_TAGS = ("fyp", "foryou", "viral", "dance", "pets", "food", "sport", "diy")
_START = 1_600_000_000  # Unix seconds


def write_export(folder, n_videos=975, videos_per_user=3, random_state=0):
    """Render covers and write an export in the layout of tiktok-scraper.

    Views grow with the followers to the power 0.7, and with five things of about equal
    weight: the creator, the tone of the caption, the hue of the cover, the length of
    the video, and luck.

    Returns
    -------
    path : pathlib.Path
        The JSON file; its covers are paths.
    """
    rng = np.random.default_rng(random_state)
    user = np.arange(n_videos) // videos_per_user
    followers = rng.lognormal(9, 2, size=user.max() + 1).round()
    talent = rng.normal(size=user.max() + 1)
    tone, hue, length, luck = rng.normal(size=(4, n_videos))
    score = talent[user] + tone + hue - length + luck
    plays = np.exp(4 + 0.7 * np.log1p(followers[user]) + 0.6 * score).round()
    covers = draw_covers(Path(folder) / "covers", hue / 2, rng)
    videos = [
        {
            "id": str(10**17 + i),
            "text": _caption(tone[i], rng),
            "createTime": _START + int(rng.integers(0, 86_400 * 60)),
            "authorMeta": _author(int(user[i]), followers[user[i]], talent[user[i]]),
            "musicMeta": {"musicId": str(i % 40), "musicOriginal": i % 3 == 0}
            | {"musicName": f"sound {i % 40}", "duration": 15 + i % 45},
            "covers": {"default": covers[i]},
            "videoMeta": {"height": 1024, "width": 576}
            | {"duration": int(20 * np.exp(0.5 * length[i])) + 1},
            "playCount": int(plays[i]),
            "diggCount": int(plays[i] * rng.uniform(0.05, 0.2)),
            "shareCount": int(plays[i] * rng.uniform(0.0, 0.02)),
            "commentCount": int(plays[i] * rng.uniform(0.0, 0.01)),
            "mentions": [],
            "hashtags": [{"name": t} for t in rng.choice(_TAGS, 2, replace=False)],
            "effectStickers": [{"name": f"effect{i % 5}"}] if i % 4 == 0 else [],
        }
        for i in range(n_videos)
    ]
    path = Path(folder) / "export.json"
    path.write_text(json.dumps({"collector": videos}))
    return path


def _author(user, followers, talent):
    return {
        "id": f"user{user:04d}",
        "name": f"user{user:04d}",
        "verified": bool(followers > 200_000),
        "fans": int(followers),
        "following": 100 + user % 300,
        "heart": int(followers * np.exp(2 + 0.5 * talent)),
        "digg": 50 + user % 1000,
        "video": 20 + user % 200,
    }


def _caption(tone, rng):
    toned = _GOOD if tone > 0 else _BAD
    n_toned = min(4, int(abs(tone) * 2 + 0.5))
    words = [*rng.choice(_PLAIN, 4), *rng.choice(toned, n_toned)]
    return " ".join(rng.permutation(words))
