"""Where each layout of a TikTok export keeps the columns of the table.

Nested fields have dotted names (``authorMeta.id``), as in the CSV form of an export.
``"a b"`` reads ``b`` where ``a`` is not filled. ``"challenges[].title"`` reads `title`
of each dict in the list `challenges`.
"""

from collections.abc import Iterable
from typing import Literal

Kind = Literal["id", "time", "text", "tags", "flag", "count", "size"]

KINDS: dict[str, Kind] = {
    "video_id": "id",
    "user_id": "id",
    "create_time": "time",
    "caption": "text",
    "hashtags": "tags",
    "mentions": "tags",
    "effect_stickers": "tags",
    "song": "text",
    "sound_id": "id",
    "sound_original": "flag",
    "sound_duration_s": "size",
    "duration_s": "size",
    "width": "size",
    "height": "size",
    "verified": "flag",
    "n_plays": "count",
    "n_likes": "count",
    "n_comments": "count",
    "n_shares": "count",
    "n_followers": "count",
    "n_following": "count",
    "n_total_likes": "count",
    "n_user_likes": "count",
    "n_total_videos": "count",
    "cover": "text",
    "path": "text",
}
REQUIRED = ("video_id", "user_id", "create_time")

SCRAPER = {
    "video_id": "id",
    "user_id": "authorMeta.id",
    "create_time": "createTime",
    "caption": "text",
    "hashtags": "hashtags[].name",
    "mentions": "mentions[].name",
    "effect_stickers": "effectStickers[].name",
    "song": "musicMeta.musicName",
    "sound_id": "musicMeta.musicId",
    "sound_original": "musicMeta.musicOriginal",
    "sound_duration_s": "musicMeta.duration",
    "duration_s": "videoMeta.duration",
    "width": "videoMeta.width",
    "height": "videoMeta.height",
    "verified": "authorMeta.verified",
    "n_plays": "playCount",
    "n_likes": "diggCount",
    "n_comments": "commentCount",
    "n_shares": "shareCount",
    "n_followers": "authorMeta.fans",
    "n_following": "authorMeta.following",
    "n_total_likes": "authorMeta.heart",
    "n_user_likes": "authorMeta.digg",
    "n_total_videos": "authorMeta.video",
    "cover": "covers.default",
}
# V2 comes first: it is exact, the older block overflows beyond 2**31.
API = {
    "video_id": "id",
    "user_id": "author.id",
    "create_time": "createTime",
    "caption": "desc",
    "hashtags": "challenges[].title textExtra[].hashtagName",
    "mentions": "textExtra[].userUniqueId",
    "effect_stickers": "effectStickers[].name",
    "song": "music.title",
    "sound_id": "music.id",
    "sound_original": "music.original",
    "sound_duration_s": "music.duration",
    "duration_s": "video.duration",
    "width": "video.width",
    "height": "video.height",
    "verified": "author.verified",
    "n_plays": "statsV2.playCount stats.playCount",
    "n_likes": "statsV2.diggCount stats.diggCount",
    "n_comments": "statsV2.commentCount stats.commentCount",
    "n_shares": "statsV2.shareCount stats.shareCount",
    "n_followers": "authorStatsV2.followerCount authorStats.followerCount",
    "n_following": "authorStatsV2.followingCount authorStats.followingCount",
    "n_total_likes": (
        "authorStatsV2.heartCount authorStatsV2.heart "
        "authorStats.heartCount authorStats.heart"
    ),
    "n_user_likes": "authorStatsV2.diggCount authorStats.diggCount",
    "n_total_videos": "authorStatsV2.videoCount authorStats.videoCount",
    "cover": "video.cover",
}
# The table's own names are read too: a saved table can be loaded again.
TABLE = {column: column for column in KINDS} | {
    "create_time": "create_time video_time",
    "caption": "caption video_desc",
    "hashtags": "hashtags[].name",
    "duration_s": "duration_s video_length",
    "n_total_videos": "n_total_videos n_total_vids",
}
LAYOUTS = {"tiktok-scraper": SCRAPER, "tiktok-api": API, "tiktok-api-table": TABLE}


def find_sources(column: str, layout: str, found: Iterable[str]) -> list[str]:
    """Return the fields of an export that hold `column`, the preferred one first."""
    alternatives = LAYOUTS[layout].get(column, "").split()
    names = set(found)
    return [a for a in alternatives if a.partition("[]")[0] in names]


def find_layout(found: Iterable[str], layout: str, file: str) -> str:
    """Return the one layout whose key columns `found` holds.

    Raises
    ------
    ValueError
        If none of the candidates fits, or if more than one does.
    """
    names = list(found)
    candidates = list(LAYOUTS) if layout == "auto" else [layout]
    lacks = {
        candidate: [
            f"{column!r} (as {LAYOUTS[candidate][column].replace(' ', ' or ')})"
            for column in REQUIRED
            if not find_sources(column, candidate, names)
        ]
        for candidate in candidates
    }
    fitting = [candidate for candidate in candidates if not lacks[candidate]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"{file} fits more than one layout: {fitting}. Choose one with layout=."
        )
    lines = [f"  layout {c!r} needs {', '.join(lacks[c])}" for c in candidates]
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    raise ValueError(
        f"{file} lacks columns that every export must have:\n"
        + "\n".join(lines)
        + f"\nIt has {names[:40]}{more}."
    )
