"""What each column of an export may be used for.

A column is found by its name, in this order: as it is, without the prefixes that a
ColumnTransformer adds, without the suffixes of joins and repeated names, without the
marks of a logarithm; each time also without leading parts of a dotted name. Case and
punctuation do not matter.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from skchallenge.exceptions import LeakageError

Role = Literal[
    "pre_post", "label_part", "post_outcome", "scrape_aggregate", "exposure", "unknown"
]

# The columns of load_tiktok_export, then columns that it drops; with the names that
# scrapers and their users have for them.
_NAMES: dict[Role, dict[str, str]] = {
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


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


_CANONICAL = {
    _plain(alias): canonical
    for columns in _NAMES.values()
    for canonical, aliases in columns.items()
    for alias in (canonical, *aliases.split())
}
_ROLES: dict[str, Role] = {
    canonical: role for role, columns in _NAMES.items() for canonical in columns
}
# What MetadataFeaturizer and SentimentFeaturizer make of a column: known as soon as the
# column is, but for the parts of a time that say nothing about the age of the video.
_DERIVED = re.compile(
    r"(?P<base>.+)_"
    r"(?P<made>length|count|(hour|weekday)_(sin|cos)|compound|pos|neu|neg)"
)
_REPEATED = re.compile(r"(_x|_y|_right|\.\d+)$")  # as pandas and polars mark them
_LOGARITHM = re.compile(r"^log(1p|10|2)?_|_log(1p|10|2)?$")
_WHY: dict[Role, str] = {
    "post_outcome": "it is counted after the video was posted",
    "exposure": (
        "it tells how long the video has been seen, not what it is; MetadataFeaturizer "
        "makes the hour and the weekday of a create_time"
    ),
}


def column_roles(columns: Iterable[str]) -> dict[str, Role]:
    """Say what each column of an export may be used for.

    Parameters
    ----------
    columns : iterable of str
        Names of columns: those of `load_tiktok_export`, or those of the known
        scrapers, such as ``"diggCount"`` or ``"stats.diggCount"``. Prefixes that a
        ColumnTransformer adds (``"remainder__n_likes"``), case and punctuation do not
        matter. What `MetadataFeaturizer` and `SentimentFeaturizer` make of a column,
        such as ``"caption_length"``, has the role of the column; but the hour and the
        weekday of a time are ``pre_post``.

    Returns
    -------
    roles : dict of str to str
        One role a column, in the given order:

        ====================  ========================================================
        role                  meaning
        ====================  ========================================================
        ``pre_post``          known when the video is posted: caption, tags, sound,
                              picture, length
        ``label_part``        half of the label: followers, where the label is views
                              per follower
        ``post_outcome``      counted after posting: views, likes, comments, shares
        ``scrape_aggregate``  about the user, as of the scrape: it sums up later videos
                              and this one
        ``exposure``          how long the video has been online: raw time of posting,
                              video ids (their upper half is that time) and addresses
        ``unknown``           any other name
        ====================  ========================================================

    See Also
    --------
    MetadataFeaturizer : Refuses columns by their role.
    skchallenge.exceptions.LeakageError : What it raises.

    Examples
    --------
    >>> from skchallenge.tabular import column_roles
    >>> column_roles(["text", "authorMeta.fans", "remainder__diggCount", "my_column"])
    {'text': 'pre_post', 'authorMeta.fans': 'label_part',
     'remainder__diggCount': 'post_outcome', 'my_column': 'unknown'}
    """
    return {column: _role(column) for column in columns}


def check_roles(columns: Iterable[str], nowcast: Iterable[str] = ()) -> dict[str, Role]:
    """Return the role of each column; refuse those that are not known in time.

    Parameters
    ----------
    columns : iterable of str
        Names of columns, see `column_roles`.
    nowcast : str or iterable of str, default=()
        Columns that are let through all the same. Any known name of a column will do.

    Raises
    ------
    LeakageError
        If a column that `nowcast` does not list is a ``post_outcome`` or ``exposure``.
    TypeError
        If `nowcast` holds other things than strings.
    """
    nowcast = [nowcast] if isinstance(nowcast, str) else list(nowcast)
    if not all(isinstance(name, str) for name in nowcast):
        raise TypeError(f"nowcast must hold names of columns, got {nowcast!r}.")
    roles = column_roles(columns)
    allowed = {_identity(name) for name in nowcast}
    refused = [c for c in roles if roles[c] in _WHY and _identity(c) not in allowed]
    if refused:
        first = refused[0]
        more = f" So must {refused[1:]}." if refused[1:] else ""
        raise LeakageError(
            f"X has the column {first!r} ({_origin(first)[0]}), whose role is "
            f"{roles[first]!r}: {_WHY[roles[first]]}. Drop it.{more} To describe "
            "videos that are online rather than predict, pass "
            f"nowcast={tuple(refused)!r}."
        )
    return roles


def canonical_name(column: str, *, logarithms: bool = True) -> str | None:
    """Return the name that `load_tiktok_export` has for a column, None if unknown.

    With `logarithms`, the logarithm of a column goes by the column's name.
    """
    names = _readings(column, logarithms)
    return next(filter(None, (_CANONICAL.get(_plain(name)) for name in names)), None)


def _role(column: str) -> Role:
    base, made = _origin(column)
    if base == "create_time" and made.startswith(("hour", "weekday")):
        return "pre_post"
    return "unknown" if base is None else _ROLES[base]


def _origin(column: str) -> tuple[str | None, str]:
    """Return the known column that this one is or is made of, and what is made."""
    canonical = canonical_name(column)
    derived = None if canonical else _DERIVED.fullmatch(_REPEATED.sub("", str(column)))
    if derived is None:
        return canonical, ""
    return canonical_name(derived["base"]), derived["made"]


def _identity(column: str) -> str:
    return _origin(column)[0] or _plain(str(column).rpartition("__")[2])


def _readings(column: str, logarithms: bool) -> Iterator[str]:
    """Yield the ways to read a name, the fullest first."""
    column = str(column)
    name = column.rpartition("__")[2]
    once = _REPEATED.sub("", name)
    bare = _LOGARITHM.sub("", once) if logarithms else once
    for whole in dict.fromkeys((column, name, once, bare)):
        parts = whole.split(".")
        yield from (".".join(parts[i:]) for i in range(len(parts)))
