"""The one table of known columns: name, type, role, and names in every scraper.

From it are made the loader (`LAYOUTS`, and the converters of each kind), the roles of
`column_roles` and the guard against leaks, what a catalog hides, and the readers of
`MetadataFeaturizer`.

A new layout is an entry of `LAYOUTS`; what its fields are called is known from then on
wherever columns are looked for. Names that no layout has are a column's `others`. A
flat table of anybody's own needs no entry: see `table_sources`.

A column is found by its name, in this order: as it is, without the prefixes that a
ColumnTransformer adds, without the suffixes of joins and repeated names, without the
marks of a logarithm; each time also without leading parts of a dotted name. Case and
punctuation do not matter.

Counters have too many names for a list ("total_views", "bookmarkCount", "likes_24h").
Where leaks are looked for, `_grammar` also reads a name word by word.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import pandas as pd

Kind = Literal["id", "time", "text", "tags", "flag", "count", "size", "number"]
Role = Literal[
    "pre_post", "label_part", "post_outcome", "scrape_aggregate", "exposure", "unknown"
]


class Column(NamedTuple):
    """What is known of a column."""

    kind: Kind
    role: Role
    others: str = ""  # names that no layout has


# The columns of load_tiktok_export, in its order.
LOADED = {
    # The upper half of a video's id is its time of posting; addresses hold the id.
    "video_id": Column("id", "exposure", "secretID aweme_id itemId"),
    "user_id": Column(
        "id",
        "pre_post",
        "author_id userId creator_id authorMeta.name author.uniqueId authorMeta.secUid "
        "author.secUid user_name username author creator author_name creator_name",
    ),
    "create_time": Column(
        "time",
        "exposure",
        "createTimeISO create_date created_at timestamp upload_time upload_date "
        "post_time post_date posted_at published_at publish_time create_time_utc date "
        "datetime date_posted posting_date posting_time uploaded_at publish_date "
        "date_published created_utc unix_time",
    ),
    "caption": Column(
        "text", "pre_post", "captions description video_caption caption_text"
    ),
    "hashtags": Column("tags", "pre_post", "tags hashtag hash_tags tag_names"),
    "mentions": Column("tags", "pre_post"),
    "effect_stickers": Column("tags", "pre_post", "effects"),
    "song": Column("text", "pre_post", "music song_name"),
    "sound_id": Column("id", "pre_post", "music_id"),
    "sound_original": Column("flag", "pre_post"),
    "sound_duration_s": Column("size", "pre_post", "music_duration"),
    "duration_s": Column(
        "size",
        "pre_post",
        "duration_sec duration_seconds duration_in_seconds duration length_s length",
    ),
    "width": Column("size", "pre_post"),
    "height": Column("size", "pre_post"),
    "verified": Column("flag", "scrape_aggregate", "is_verified"),
    "n_plays": Column(
        "count",
        "post_outcome",
        "plays views viewCount n_views num_views video_views plays_count views_count "
        "video_view_count video_play_count statistics_play_count statistics_view_count",
    ),
    "n_likes": Column(
        "count",
        "post_outcome",
        "likes likeCount num_likes video_likes likes_count video_like_count "
        "statistics_digg_count statistics_like_count",
    ),
    "n_comments": Column(
        "count",
        "post_outcome",
        "comments num_comments comments_count video_comment_count "
        "statistics_comment_count",
    ),
    "n_shares": Column(
        "count",
        "post_outcome",
        "shares num_shares forwardCount shares_count video_share_count "
        "statistics_share_count",
    ),
    "n_followers": Column(
        "count",
        "label_part",
        "followerCount followers fans num_followers author_followers user_followers "
        "followers_count",
    ),
    "n_following": Column("count", "scrape_aggregate", "followingCount following"),
    "n_total_likes": Column("count", "scrape_aggregate", "heartCount"),
    "n_user_likes": Column("count", "scrape_aggregate"),
    "n_total_videos": Column("count", "scrape_aggregate", "videoCount"),
    "cover": Column(
        "text",
        "pre_post",
        "covers.origin covers.dynamic video.originCover video.dynamicCover",
    ),
    "path": Column("text", "pre_post"),
}
REQUIRED = ("video_id", "user_id", "create_time")

COLUMNS = LOADED | {
    # Columns that the loader drops, or that people make.
    "sound_author": Column(
        "text", "pre_post", "musicMeta.musicAuthor music.authorName"
    ),
    "sound_album": Column("text", "pre_post", "musicMeta.musicAlbum music.album"),
    "sound_url": Column("text", "pre_post", "musicMeta.playUrl music.playUrl"),
    "sound_cover": Column(
        "text",
        "pre_post",
        "musicMeta.coverThumb musicMeta.coverMedium musicMeta.coverLarge "
        "music.coverThumb music.coverMedium music.coverLarge",
    ),
    "n_saves": Column(
        "count",
        "post_outcome",
        "collectCount statsV2.collectCount stats.collectCount saves saveCount "
        "bookmarks saves_count favorites_count statistics_collect_count",
    ),
    "n_reposts": Column(
        "count", "post_outcome", "repostCount statsV2.repostCount stats.repostCount"
    ),
    "n_downloads": Column(
        "count",
        "post_outcome",
        "downloadCount stats.downloadCount video_download_count "
        "statistics_download_count",
    ),
    "virality": Column(
        "number",
        "post_outcome",
        "virality_score viral is_viral views_per_follower engagement engagement_rate",
    ),
    "watching": Column("number", "post_outcome"),
    "n_losses": Column("count", "post_outcome"),
    "n_user_plays": Column("count", "scrape_aggregate"),
    "nickname": Column(
        "text", "scrape_aggregate", "authorMeta.nickName author.nickname"
    ),
    "signature": Column(
        "text", "scrape_aggregate", "authorMeta.signature author.signature bio"
    ),
    "avatar": Column(
        "text",
        "scrape_aggregate",
        "authorMeta.avatar author.avatarThumb author.avatarMedium author.avatarLarger",
    ),
    "downloaded": Column("flag", "scrape_aggregate"),
    "video_age": Column(
        "number",
        "exposure",
        "age_days video_age_days age age_hours video_age_hours days_since_post "
        "days_since_posting hours_since_post hours_since_posting days_since_upload "
        "hours_since_upload days_since_publication days_old hours_old days_online "
        "hours_online",
    ),
    "video_url": Column(
        "text",
        "exposure",
        "webVideoUrl videoUrl videoUrlNoWaterMark videoApiUrlNoWaterMark "
        "video.playAddr video.downloadAddr url",
    ),
}

# Where each layout of an export keeps the columns. Nested fields have dotted names,
# whatever parts them in a flattened file ("authorMeta/id"). "a b" reads b where a is
# not filled, or of ids, if a is filled nowhere; "tags[].title" reads `title` of each
# dict in the list `tags`, and "urls.0" the first of a list. Marks: "@ms" is in
# milliseconds, "@name" the name of a user, no id, "@local" may lack its time zone.
LAYOUTS: dict[str, dict[str, str]] = {
    # Also what Apify's scrapers return.
    "tiktok-scraper": {
        "video_id": "id",
        "user_id": "authorMeta.id authorMeta.name@name",
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
        "cover": "covers.default videoMeta.coverUrl videoMeta.originalCoverUrl",
    },
    # Also what gallery-dl and web pages hold, where the author may be a mere name. V2
    # comes first: it is exact, the older block overflows beyond 2**31.
    "tiktok-api": {
        "video_id": "id",
        "user_id": "author.id authorId author.uniqueId@name author@name",
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
        "n_total_likes": "authorStatsV2.heartCount authorStatsV2.heart "
        "authorStats.heartCount authorStats.heart",
        "n_user_likes": "authorStatsV2.diggCount authorStats.diggCount",
        "n_total_videos": "authorStatsV2.videoCount authorStats.videoCount",
        "cover": "video.cover",
    },
    # The loader's own names are read too: a saved table can be loaded again.
    "tiktok-api-table": {column: column for column in LOADED}
    | {
        "create_time": "create_time video_time",
        "caption": "caption video_desc",
        "hashtags": "hashtags[].name",
        "duration_s": "duration_s video_length",
        "n_total_videos": "n_total_videos n_total_vids",
    },
    "research-api": {
        "video_id": "id",
        "user_id": "username@name",
        "create_time": "create_time",
        "caption": "video_description",
        "hashtags": "hashtag_names hashtag_info_list[].hashtag_name",
        "mentions": "video_mention_list",
        "effect_stickers": "effect_info_list[].effect_name",
        "sound_id": "music_id",
        "duration_s": "video_duration",
        "n_plays": "view_count",
        "n_likes": "like_count",
        "n_comments": "comment_count",
        "n_shares": "share_count",
    },
    "yt-dlp": {
        "video_id": "id",
        "user_id": "uploader_id uploader@name",
        "create_time": "timestamp",
        "caption": "description title",
        "song": "track",
        "duration_s": "duration",
        "width": "width",
        "height": "height",
        "n_plays": "view_count",
        "n_likes": "like_count",
        "n_comments": "comment_count",
        "n_shares": "repost_count",
        "n_followers": "channel_follower_count",
        "cover": "thumbnail",
    },
    # The objects of the mobile app.
    "aweme": {
        "video_id": "aweme_id",
        "user_id": "author.uid author_user_id author.unique_id@name",
        "create_time": "create_time",
        "caption": "desc",
        "hashtags": "cha_list[].cha_name text_extra[].hashtag_name",
        "mentions": "text_extra[].user_unique_id",
        "effect_stickers": "effect_stickers[].name",
        "song": "music.title",
        "sound_id": "music.id_str music.mid music.id",
        "sound_original": "music.is_original music.is_original_sound",
        "sound_duration_s": "music.duration",
        "duration_s": "video.duration@ms",
        "width": "video.width video.play_addr.width",
        "height": "video.height video.play_addr.height",
        "n_plays": "statistics.play_count",
        "n_likes": "statistics.digg_count",
        "n_comments": "statistics.comment_count",
        "n_shares": "statistics.share_count",
        "n_followers": "author.follower_count",
        "n_following": "author.following_count",
        "n_total_likes": "author.total_favorited",
        "n_user_likes": "author.favoriting_count",
        "n_total_videos": "author.aweme_count",
        "cover": "video.cover.url_list.0 video.origin_cover.url_list.0",
    },
    "pyktok": {
        "video_id": "video_id",
        "user_id": "author_username@name",
        "create_time": "video_timestamp@local",
        "caption": "video_description",
        "duration_s": "video_duration",
        "verified": "author_verified",
        "n_plays": "video_playcount",
        "n_likes": "video_diggcount",
        "n_comments": "video_commentcount",
        "n_shares": "video_sharecount",
        "n_followers": "author_followercount",
        "n_following": "author_followingcount",
        "n_total_likes": "author_heartcount",
        "n_user_likes": "author_diggcount",
        "n_total_videos": "author_videocount",
    },
}
TABLE = "table"  # a flat table whose columns are known by any of their names
# Fields that are objects, but elsewhere, such as the author, a mere name.
OBJECTS = {
    source.partition(".")[0]
    for fields in LAYOUTS.values()
    for sources in fields.values()
    for source in sources.split()
    if "." in source.partition("[]")[0]
}
# Lists in which what is no tag, or names nobody, lacks the name that is looked for.
PARTIAL = {"textExtra", "text_extra"}
_USER_NAMES = {
    *("authormetaname", "authoruniqueid", "author", "authorname", "authorusername"),
    *("creator", "creatorname", "username", "uploader"),
}

# The columns of a feed log, and what public logs call them: KuaiRand, KuaiRec,
# MicroLens, Tenrec, the WeChat challenge. The first that is there counts.
LOG = {
    "user_id": "user uid userid viewer_id",
    "video_id": "item item_id photo_id feedid iid",
    "genre": "tag feat video_category category",
    # Any unit, the same for both; of those in seconds the name says so.
    "play_time_ms": "play_duration playing_time play_time watch_time watch_time_ms "
    "play play_time_s watch_time_s",
    "duration_ms": "video_duration video_duration_ms duration duration_s "
    "video_duration_s videoplayseconds",
    "watch_ratio": "",
    "is_forward": "forward is_share share forwarded shared",
    "is_comment": "comment commented",
    "is_like": "like liked",
    "is_hate": "hate is_dislike dislike",
}
_SECONDS = {"playtimes", "watchtimes", "durations", "videodurations"}
_SECONDS |= {"videoplayseconds"}


def log_columns(columns: Iterable[Any]) -> dict[str, Any]:
    """Map each known column of a feed log to the one of the table that holds it."""
    columns = list(columns)
    of_name = {plain(str(column)): column for column in reversed(columns)}
    found = {}
    for known, others in LOG.items():
        names = (plain(name) for name in (known, *others.split()))
        held = [of_name[name] for name in names if name in of_name]
        if held:
            found[known] = known if known in columns else held[0]
    return found


def milliseconds_of(column: Any) -> int:
    """Return 1000 for a column of a log whose name says seconds, else 1."""
    return 1000 if plain(str(column)) in _SECONDS else 1


def plain(name: str) -> str:
    """Return the letters and digits of a name."""
    return re.sub(r"[\W_]", "", name.casefold())


class Source(NamedTuple):
    """Where a layout keeps a column."""

    field: str  # dotted
    key: str | None = None  # of the dicts in the field's lists
    mark: str = ""  # ms, name or local

    def __str__(self) -> str:
        return self.field if self.key is None else f"{self.field}[].{self.key}"


def sources_of(column: str, layout: str) -> list[Source]:
    """Return the fields of a layout that hold a column, the preferred one first."""
    sources = []
    for text in LAYOUTS[layout].get(column, "").split():
        path, _, mark = text.partition("@")
        field, brackets, key = path.partition("[].")
        sources.append(Source(field, key if brackets else None, mark))
    return sources


def _canonical_names() -> dict[str, str]:
    """Map each known name to its column; `textExtra`, which holds two, to the first."""
    names: dict[str, str] = {}
    for column, known in COLUMNS.items():
        for name in (column, *known.others.split()):
            names.setdefault(plain(name), column)
    for column in LOADED:
        for source in (s for layout in LAYOUTS for s in sources_of(column, layout)):
            names.setdefault(plain(source.field), column)
    return names


_CANONICAL = _canonical_names()
_RANKS = {name: rank for rank, name in enumerate(_CANONICAL)}
# A name has no more dotted parts than this that are looked at one by one.
_MOST_PARTS = 8


def table_sources(names: Iterable[str]) -> dict[str, list[Source]]:
    """Map columns to those of a flat table that go by any of their known names.

    The whole name counts, unlike in `canonical_name`: "user.id" is no video's. The
    column's own name comes first, then its `others`, then the fields of layouts.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        column = _CANONICAL.get(plain(name))
        if column in LOADED:
            found.setdefault(column, []).append(name)
    return {
        column: [
            Source(
                name,
                "name" if LOADED[column].kind == "tags" else None,
                "name" if plain(name) in _USER_NAMES else "",
            )
            for name in sorted(known, key=lambda n: (n != column, _RANKS[plain(n)]))
        ]
        for column, known in found.items()
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
        yield whole
        parts = whole.split(".")
        first = max(1, len(parts) - _MOST_PARTS)  # each of a million would take hours
        yield from (".".join(parts[i:]) for i in range(first, len(parts)))
