"""Made-up exports: the same three videos in every layout that people have."""

import json

import pandas as pd

DTYPES = {
    "video_id": str,
    "user_id": str,
    "create_time": "datetime64[us]",
    "caption": str,
    "hashtags": object,
    "mentions": object,
    "effect_stickers": object,
    "song": str,
    "sound_id": str,
    "sound_original": "boolean",
    "sound_duration_s": float,
    "duration_s": float,
    "width": float,
    "height": float,
    "verified": "boolean",
    "n_plays": float,
    "n_likes": float,
    "n_comments": float,
    "n_shares": float,
    "n_followers": float,
    "n_following": float,
    "n_total_likes": float,
    "n_user_likes": float,
    "n_total_videos": float,
    "cover": str,
    "path": str,
}

# The same three videos by hand in every layout; the third is as sparse as exports get.
# Row 2 has ids beyond 2**53 and counts that overflow 32 bits.
VIDEOS = [
    {
        "video_id": "6907228749016714497",
        "user_id": "0783",
        "create_time": "2020-12-17 14:15:17",
        "caption": "Shoes, \u201cnew\u201d\n#TryIt with @zoe",
        "hashtags": ["TryIt", "fyp"],
        "mentions": ["zoe"],
        "effect_stickers": ["Green Screen"],
        "song": "Element",
        "sound_id": "6808098113188120838",
        "sound_original": False,
        "sound_duration_s": 60.0,
        "duration_s": 15.0,
        "width": 576.0,
        "height": 1024.0,
        "verified": True,
        "n_plays": 44800.0,
        "n_likes": 3710.0,
        "n_comments": 68.0,
        "n_shares": 50.0,
        "n_followers": 43500.0,
        "n_following": 195.0,
        "n_total_likes": 1093998.0,
        "n_user_likes": 95.0,
        "n_total_videos": 3.0,
        "cover": "https://example.org/a.jpg",
    },
    {
        "video_id": "6907228749016714498",
        "user_id": "6812221792183403526",
        "create_time": "2020-12-17 14:15:18",
        "caption": "NA",
        "hashtags": ["\u6559\u5ba4"],
        "mentions": [],
        "effect_stickers": [],
        "song": "None",
        "sound_id": "6808098113188120839",
        "sound_original": True,
        "sound_duration_s": 7.5,
        "duration_s": 7.0,
        "width": 720.0,
        "height": 1280.0,
        "verified": False,
        "n_plays": 508800000.0,
        "n_likes": 0.0,
        "n_comments": 1.0,
        "n_shares": 2.0,
        "n_followers": 24100000.0,
        "n_following": 89.0,
        "n_total_likes": 7600000000.0,
        "n_user_likes": 6733.0,
        "n_total_videos": 829.0,
        "cover": "https://example.org/b.jpg",
    },
    {
        "video_id": "6907228749016714499",
        "user_id": "0783",
        "create_time": "2020-12-17 14:15:19",
        "caption": "",
        "hashtags": [],
        "mentions": [],
        "effect_stickers": [],
    },
]


def seconds(video):
    return int(pd.Timestamp(video["create_time"]).timestamp())


def as_scraper(video):
    get = video.get
    post = {
        "id": video["video_id"],
        "text": video["caption"],
        "createTime": seconds(video),
        "authorMeta": {
            "id": video["user_id"],
            "verified": get("verified"),
            "fans": get("n_followers"),
            "following": get("n_following"),
            "heart": get("n_total_likes"),
            "digg": get("n_user_likes"),
            "video": get("n_total_videos"),
        },
        "videoMeta": {k: get(k) for k in ("width", "height")}
        | {"duration": get("duration_s")},
        "covers": {"default": get("cover"), "origin": "unused"},
        "playCount": get("n_plays"),
        "diggCount": get("n_likes"),
        "commentCount": get("n_comments"),
        "shareCount": get("n_shares"),
        "mentions": ["@" + name for name in video["mentions"]],
        "hashtags": [{"id": "1", "name": t, "title": "?"} for t in video["hashtags"]],
        "effectStickers": [{"id": "1", "name": t} for t in video["effect_stickers"]],
    }
    if "sound_id" in video:
        post["musicMeta"] = {
            "musicId": video["sound_id"],
            "musicName": video["song"],
            "musicOriginal": video["sound_original"],
            "duration": video["sound_duration_s"],
        }
    return post


def as_api(video):
    def block(names):
        return {k: str(int(video[n])) for k, n in names.items() if n in video}

    item = {
        "id": video["video_id"],
        "desc": video["caption"],
        "createTime": str(seconds(video)),
        "author": {"id": video["user_id"], "uniqueId": "name"},
        "authorStatsV2": block(
            {
                "followerCount": "n_followers",
                "followingCount": "n_following",
                "heartCount": "n_total_likes",
                "diggCount": "n_user_likes",
                "videoCount": "n_total_videos",
            }
        ),
        # 7,600,000,000 does not fit 32 bits: TikTok's own older block is negative.
        "authorStats": {"heart": -989934592, "heartCount": -989934592},
        "statsV2": block(
            {
                "playCount": "n_plays",
                "diggCount": "n_likes",
                "commentCount": "n_comments",
                "shareCount": "n_shares",
            }
        ),
        "challenges": [{"id": "1", "title": tag} for tag in video["hashtags"]],
        "textExtra": [{"hashtagName": "", "userUniqueId": n} for n in video["mentions"]]
        + [{"hashtagName": tag} for tag in video["hashtags"]],
        "effectStickers": [{"ID": "1", "name": t} for t in video["effect_stickers"]],
    }
    if "sound_id" not in video:
        return item | {"authorStats": None, "music": None}
    item["author"]["verified"] = video["verified"]
    item["music"] = {
        "id": video["sound_id"],
        "title": video["song"],
        "duration": video["sound_duration_s"],
        "original": video["sound_original"],
    }
    item["video"] = {
        "height": video["height"],
        "width": video["width"],
        "duration": video["duration_s"],
        "cover": video["cover"],
    }
    return item


def as_table(video):
    row = dict.fromkeys(DTYPES) | video | {"create_time": seconds(video)}
    del row["path"]
    row["video_length"] = row.pop("duration_s")
    row["n_total_vids"] = row.pop("n_total_videos")
    return row


LAYOUTS = {
    "tiktok-scraper": as_scraper,
    "tiktok-api": as_api,
    "tiktok-api-table": as_table,
}


def expected(videos=VIDEOS):
    table = pd.DataFrame(
        {
            c: pd.Series([v.get(c) for v in videos], dtype=object).astype(t)
            if t is not str
            else pd.Series(["a", *(v.get(c) for v in videos)])[1:].reset_index(
                drop=True
            )
            for c, t in DTYPES.items()
        }
    )
    assert list(table["video_id"]) == [v["video_id"] for v in videos]
    return table


def flat(record):
    """Name nested fields as json2csv does: authorMeta.id."""
    out = {}
    for key, value in record.items():
        out |= (
            {f"{key}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    return out


def write(folder, records, form):
    file = folder / f"export{form}"
    if form == ".json":
        file.write_text(json.dumps(records), "utf-8")
    elif form == ".jsonl":
        lines = [json.dumps(r, ensure_ascii=False) for r in records]
        file.write_text("\n".join(lines) + "\n\n", "utf-8")
    elif form == ".parquet":
        pd.DataFrame(records).to_parquet(file)
    else:
        rows = pd.DataFrame(map(flat, records), dtype=object)
        is_list = rows.map(lambda cell: isinstance(cell, list))
        rows.mask(is_list, rows.map(json.dumps, na_action="ignore")).to_csv(
            file, index=False
        )
    return file


# --- further layouts, each by what it has ---------------------------------------------

NAMES = {"0783": "zoe_1", "6812221792183403526": "bob.b"}
BY_NAME = {"user_id": NAMES.__getitem__}


def as_apify(video):
    """Return a post of Apify's scrapers: tiktok-scraper's, but for the cover."""
    post = as_scraper(video)
    del post["covers"]
    post["videoMeta"]["coverUrl"] = video.get("cover")
    post["authorMeta"]["name"] = NAMES[video["user_id"]]
    return post | {"createTimeISO": video["create_time"] + "Z", "collectCount": 3}


def as_apify_row(video):
    """Return a row of their CSV: slashes, and a column for each place of a list."""
    row = {}
    for name, value in as_apify(video).items():
        if isinstance(value, dict):
            row |= {f"{name}/{key}": cell for key, cell in value.items()}
        elif isinstance(value, list):
            for place, item in enumerate(value):
                items = item if isinstance(item, dict) else {"": item}
                row |= {f"{name}/{place}/{k}".strip("/"): v for k, v in items.items()}
        else:
            row[name] = value
    return row


def as_research(video):
    get = video.get
    return {
        "id": int(video["video_id"]),
        "username": NAMES[video["user_id"]],
        "create_time": seconds(video),
        "video_description": video["caption"],
        "hashtag_names": video["hashtags"],
        "video_mention_list": video["mentions"],
        "music_id": int(video["sound_id"]) if "sound_id" in video else None,
        "video_duration": get("duration_s"),
        "view_count": get("n_plays"),
        "like_count": get("n_likes"),
        "comment_count": get("n_comments"),
        "share_count": get("n_shares"),
        "region_code": "FR",
    }


def as_info(video):
    """Return the info JSON of yt-dlp."""
    get = video.get
    return {
        "id": video["video_id"],
        "title": video["caption"][:5],
        "description": video["caption"],
        "timestamp": seconds(video),
        "upload_date": "20201217",
        "uploader": NAMES[video["user_id"]],
        "uploader_id": video["user_id"],
        "channel_id": "MS4wLjAB",
        "track": get("song"),
        "duration": get("duration_s"),
        "width": get("width"),
        "height": get("height"),
        "view_count": get("n_plays"),
        "like_count": get("n_likes"),
        "comment_count": get("n_comments"),
        "repost_count": get("n_shares"),
        "thumbnail": get("cover"),
        "formats": [{"format_id": "0", "width": 1}],
        "_type": "video",
    }


def as_gallery(video):
    """Return the metadata of gallery-dl: the web page's object, and a little."""
    return as_api(video) | {
        "category": "tiktok",
        "user": NAMES[video["user_id"]],
        "date": video["create_time"],
        "title": video["caption"],
        "num": 0,
    }


def as_page_item(video):
    """Return an item of a page's state, whose author is a mere name."""
    item = as_api(video)
    author = item.pop("author")
    name = NAMES[author["id"]]
    return item | {"author": name, "authorId": author["id"], "nickname": "Z"}


def as_aweme(video):
    get = video.get
    aweme = {
        "aweme_id": video["video_id"],
        "desc": video["caption"],
        "create_time": seconds(video),
        "author": {
            "uid": video["user_id"],
            "unique_id": NAMES[video["user_id"]],
            "follower_count": get("n_followers"),
            "following_count": get("n_following"),
            "total_favorited": get("n_total_likes"),
            "favoriting_count": get("n_user_likes"),
            "aweme_count": get("n_total_videos"),
        },
        "statistics": {
            "play_count": get("n_plays"),
            "digg_count": get("n_likes"),
            "comment_count": get("n_comments"),
            "share_count": get("n_shares"),
            "collect_count": 1,
        },
        "text_extra": [{"hashtag_name": tag} for tag in video["hashtags"]]
        + [{"user_id": "9", "user_unique_id": name} for name in video["mentions"]],
    }
    if "sound_id" in video:
        aweme["music"] = {
            "id_str": video["sound_id"],
            "title": video["song"],
            "duration": video["sound_duration_s"],
            "is_original": video["sound_original"],
        }
        aweme["video"] = {
            "duration": int(1000 * video["duration_s"]),
            "width": video["width"],
            "height": video["height"],
            "cover": {"url_list": [video["cover"], "https://example.org/other.jpg"]},
        }
    return aweme


def as_pyktok(video):
    get = video.get
    return {
        "video_id": video["video_id"],
        "video_timestamp": video["create_time"].replace(" ", "T"),
        "video_duration": get("duration_s"),
        "video_locationcreated": "FR",
        "video_diggcount": get("n_likes"),
        "video_sharecount": get("n_shares"),
        "video_commentcount": get("n_comments"),
        "video_playcount": get("n_plays"),
        "video_description": video["caption"],
        "author_username": NAMES[video["user_id"]],
        "author_name": "Z",
        "author_followercount": get("n_followers"),
        "author_followingcount": get("n_following"),
        "author_heartcount": get("n_total_likes"),
        "author_videocount": get("n_total_videos"),
        "author_diggcount": get("n_user_likes"),
        "author_verified": get("verified"),
    }


def in_page(videos):
    """Return the state of a web page with the videos in it, and much else."""
    items = {video["video_id"]: as_page_item(video) for video in videos}
    return {
        "AppContext": {"lang": "fr", "list": [{"id": 1, "name": "x"}]},
        "ItemModule": items,
        "UserModule": {"users": {"zoe_1": {"id": "0783", "uniqueId": "zoe_1"}}},
    }


SPOKEN = {"hashtags": [["TryIt"], [], []], "mentions": [["zoe"], [], []]}
_COUNTS = ["n_plays", "n_likes", "n_comments", "n_shares"]
_USERS = ["n_followers", "n_following", "n_total_likes", "n_user_likes"]
_SIZES = ["duration_s", "width", "height"]
_KEYS = ["video_id", "user_id", "create_time", "caption"]
# Of each layout that lacks some columns: what it has.
HAS = {
    "research": [
        *(*_KEYS, "hashtags", "mentions", "sound_id", "duration_s"),
        *_COUNTS,
    ],
    "yt-dlp": [*_KEYS, *SPOKEN, "song", *_SIZES, *_COUNTS, "cover"],
    "aweme": [c for c in DTYPES if c not in ("verified", "effect_stickers", "path")],
    "pyktok": [
        *(*_KEYS, *SPOKEN, "duration_s", "verified"),
        *(*_COUNTS, *_USERS, "n_total_videos"),
    ],
}


def table_of(layout):
    """Return the table that a layout holds of the three videos."""
    table = expected()
    absent = [c for c in DTYPES if c not in HAS.get(layout, DTYPES)]
    for column in absent:
        nothing = pd.Series(["a", None, None, None])[1:].reset_index(drop=True)
        kind = DTYPES[column]
        if kind is object:
            nothing = pd.Series([None] * 3, dtype=object)
        table[column] = nothing if kind in (str, object) else nothing.astype(kind)
    if layout in ("yt-dlp", "pyktok"):
        table = table.assign(**SPOKEN)
    if layout in ("research", "pyktok"):
        table["user_id"] = table["user_id"].map(NAMES)
    return table
