"""The names of the columns of exports: ours, those of scrapers, and their spellings.

A column is found by its name, in this order: as it is, without the prefixes that a
ColumnTransformer adds, without the suffixes of joins and repeated names, without the
marks of a logarithm; each time also without leading parts of a dotted name. Case and
punctuation do not matter.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import pandas as pd

Role = Literal[
    "pre_post", "label_part", "post_outcome", "scrape_aggregate", "exposure", "unknown"
]

# The columns of load_tiktok_export, then columns that it drops; with the names that
# scrapers and their users have for them.
NAMES: dict[Role, dict[str, str]] = {
    "pre_post": {
        "user_id": "authorMeta.id author.id author_id userId authorMeta.name "
        "author.uniqueId authorMeta.secUid author.secUid user_name username author",
        "caption": "text desc description video_desc",
        "hashtags": "challenges textExtra tags hashtag_names",
        "mentions": "",
        "effect_stickers": "effectStickers effects",
        "song": "musicMeta.musicName music.title music song_name",
        "sound_id": "musicMeta.musicId music.id music_id",
        "sound_original": "musicMeta.musicOriginal music.original",
        "sound_duration_s": "musicMeta.duration music.duration music_duration",
        "sound_author": "musicMeta.musicAuthor music.authorName",
        "sound_album": "musicMeta.musicAlbum music.album",
        "sound_url": "musicMeta.playUrl music.playUrl",
        "sound_cover": "musicMeta.coverThumb musicMeta.coverMedium "
        "musicMeta.coverLarge music.coverThumb music.coverMedium music.coverLarge",
        "duration_s": "videoMeta.duration video.duration video_length duration",
        "width": "videoMeta.width video.width",
        "height": "videoMeta.height video.height",
        "cover": "covers.default video.cover covers.origin covers.dynamic "
        "video.originCover video.dynamicCover",
        "path": "",
    },
    "label_part": {
        "n_followers": "authorMeta.fans authorStatsV2.followerCount "
        "authorStats.followerCount followerCount followers fans num_followers "
        "author_followers user_followers followers_count",
    },
    "post_outcome": {
        "n_plays": "playCount statsV2.playCount stats.playCount plays views viewCount "
        "n_views num_views video_views plays_count views_count "
        "video_view_count video_play_count statistics_play_count statistics_view_count",
        "n_likes": "diggCount statsV2.diggCount stats.diggCount likes likeCount "
        "num_likes video_likes likes_count video_like_count "
        "statistics_digg_count statistics_like_count",
        "n_comments": "commentCount statsV2.commentCount stats.commentCount comments "
        "num_comments comments_count video_comment_count "
        "statistics_comment_count",
        "n_shares": "shareCount statsV2.shareCount stats.shareCount shares num_shares "
        "forwardCount shares_count video_share_count statistics_share_count",
        "n_saves": "collectCount statsV2.collectCount stats.collectCount saves "
        "saveCount bookmarks saves_count favorites_count statistics_collect_count",
        "n_reposts": "repostCount statsV2.repostCount stats.repostCount",
        "n_downloads": "downloadCount stats.downloadCount video_download_count "
        "statistics_download_count",
        "virality": "virality_score viral is_viral views_per_follower "
        "engagement engagement_rate",
    },
    "scrape_aggregate": {
        "verified": "authorMeta.verified author.verified is_verified",
        "n_following": "authorMeta.following authorStatsV2.followingCount "
        "authorStats.followingCount followingCount following",
        "n_total_likes": "authorMeta.heart authorStatsV2.heartCount "
        "authorStatsV2.heart authorStats.heartCount authorStats.heart heartCount",
        "n_user_likes": "authorMeta.digg authorStatsV2.diggCount authorStats.diggCount",
        "n_total_videos": "authorMeta.video authorStatsV2.videoCount "
        "authorStats.videoCount videoCount n_total_vids",
        "nickname": "authorMeta.nickName author.nickname",
        "signature": "authorMeta.signature author.signature bio",
        "avatar": "authorMeta.avatar author.avatarThumb author.avatarMedium "
        "author.avatarLarger",
        "downloaded": "",
    },
    "exposure": {
        "create_time": "createTime video_time createTimeISO create_date created_at "
        "timestamp upload_time upload_date post_time post_date posted_at published_at "
        "publish_time create_time_utc",
        "video_age": "age_days video_age_days age",
        # The upper half of a video's id is its time of posting; addresses hold the id.
        "video_id": "id secretID aweme_id itemId",
        "video_url": "webVideoUrl videoUrl videoUrlNoWaterMark videoApiUrlNoWaterMark "
        "video.playAddr video.downloadAddr url",
    },
}


def plain(name: str) -> str:
    """Return the letters and digits of a name."""
    return re.sub(r"[\W_]", "", name.casefold())


_CANONICAL = {
    plain(alias): canonical
    for columns in NAMES.values()
    for canonical, aliases in columns.items()
    for alias in (canonical, *aliases.split())
}
REPEATED = re.compile(r"(_x|_y|_right|\.\d+)$")  # as pandas and polars mark them
_LOGARITHM = re.compile(r"^log(1p|10|2)?_|_log(1p|10|2)?$")


def canonical_name(column: str, *, logarithms: bool = True) -> str | None:
    """Return the name that `load_tiktok_export` has for a column, None if unknown.

    With `logarithms`, the logarithm of a column goes by the column's name.
    """
    names = _readings(column, logarithms)
    return next(filter(None, (_CANONICAL.get(plain(name)) for name in names)), None)


def find_columns(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the column that holds each known column, if it holds anything.

    The table's own names go before those of scrapers.
    """
    names = sorted(frame.columns, key=lambda c: c != canonical_name(c))
    filled = [c for c in names if frame[c].notna().any()]
    found: dict[str, Any] = {}
    for column in filled:
        found.setdefault(canonical_name(column, logarithms=False) or "", column)
    return found


def _readings(column: str, logarithms: bool) -> Iterator[str]:
    """Yield the ways to read a name, the fullest first."""
    column = str(column)
    name = column.rpartition("__")[2]
    once = REPEATED.sub("", name)
    bare = _LOGARITHM.sub("", once) if logarithms else once
    for whole in dict.fromkeys((column, name, once, bare)):
        parts = whole.split(".")
        yield from (".".join(parts[i:]) for i in range(len(parts)))
