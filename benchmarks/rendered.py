"""Covers, and an export with covers, whose truth is known because it is rendered."""

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
