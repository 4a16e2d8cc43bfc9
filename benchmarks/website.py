"""Look at the built site as its readers do, in a real browser.

Every public callable has an anchor, and every internal link and picture leads
somewhere: this needs no browser. With Chromium and the package playwright, each page is
opened at the width of a desktop and of a phone: no error in the console, nothing asked
of another host, nothing sideways beyond the edge. Words that people type into the
search lead to the page that answers.

    make docs && pip install playwright && python benchmarks/website.py
    python benchmarks/website.py docs/_build/html --screenshots screenshots
"""

import argparse
import functools
import inspect
import re
import shutil
import sys
import threading
import zlib
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

ROOT = Path(__file__).parents[1]
DESKTOP, PHONE = (1400, 900), (390, 844)
# What people type, and pages one of which must be among the first three results.
SEARCHES = {
    "csv": {"howto_spreadsheet", "howto_columns"},
    "excel": {"howto_spreadsheet"},
    "spreadsheet": {"howto_spreadsheet"},
    "folder": {"howto_spreadsheet", "howto_many_files"},
    "many files": {"howto_many_files"},
    "column names": {"howto_columns"},
    "tiktok scraper": {"howto_many_files"},
    "gpu": {"install", "scale"},
    "memory": {"embedding"},
    "cluster": {"scale"},
    "offline": {"howto_offline"},
    "imbalance": {"howto_imbalance"},
    "leak": {"noise", "participation_rules", "virality"},
    "explain": {"howto_explain"},
    "optuna": {"howto_optuna"},
    "serve": {"howto_serve"},
    "DeepChallenger": {"generated/skchallenge.DeepChallenger"},
}
SHOTS = {
    "home": "index.html",
    "guide": "participation.html",
    "howto": "howto_spreadsheet.html",
    "gallery": "auto_examples/index.html",
    "api": "generated/skchallenge.load_tiktok_export.html",
    "search": "search.html?q=excel",
}


# What is wider than the window, but for what scrolls in a box of its own.
BEYOND_THE_EDGE = """() => {
    const root = document.documentElement, width = root.clientWidth, found = [];
    if (root.scrollWidth > width)
        found.push(`scrolls sideways: ${root.scrollWidth} px on ${width}`);
    const scrolls = e => !e.matches(".bd-article-container")  // the page itself
        && ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
    for (const e of document.querySelectorAll("main *")) {
        const box = e.getBoundingClientRect();
        if (box.width === 0 || box.right <= width + 1) continue;
        let parent = e.parentElement;
        while (parent && parent.tagName !== "MAIN" && !scrolls(parent))
            parent = parent.parentElement;
        if (parent && parent.tagName !== "MAIN") continue;
        if (e.closest(".sidebar, dialog, .pst-hidden, [aria-hidden=true]")) continue;
        found.push(`${e.tagName} ${e.className} is cut: ${e.textContent.slice(0, 40)}`);
        break;
    }
    return found;
}"""


class Page(HTMLParser):
    """Ids, links and sources of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "a" and attrs.get("href"):
            self.links.add(attrs["href"])
        for name in ("src", "href" if tag == "link" else "src"):
            if attrs.get(name):
                self.sources.add(attrs[name])


def read_pages(folder):
    return {
        str(path.relative_to(folder)): Page(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts  # the theme's own
    }


def crawl(folder, pages):
    """List links, anchors and sources that lead nowhere, and sources of other hosts."""
    count, broken = 0, []
    for name, page in pages.items():
        for link in page.links | page.sources:
            if urlsplit(link).scheme or link.startswith("//"):
                if link in page.sources and not link.startswith("data:"):
                    broken.append(f"{name}: loads {link} from elsewhere")
                continue
            count += 1
            target, anchor = urldefrag(urljoin(name, link))
            target = unquote(urlsplit(target).path) or name
            if not (folder / target).is_file():
                broken.append(f"{name}: {link} does not exist")
            elif (
                anchor
                and target in pages
                and link in page.links
                and unquote(anchor) not in pages[target].ids
            ):
                broken.append(f"{name}: {link} has no such anchor")
    return count, broken


def inventory(folder):
    """Read the names of Python objects that have an anchor."""
    _, _, _, _, packed = (folder / "objects.inv").read_bytes().split(b"\n", 4)
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split()[0] for line in lines if " py:" in line}


def public_callables():
    """Yield public names, and those of their public methods."""
    packages = [p.parent.name for p in (ROOT / "skchallenge").glob("*/__init__.py")]
    for package in ("", "exceptions", *sorted(packages)):
        module = import_module(f"skchallenge.{package}".rstrip("."))
        for name in module.__all__:
            obj = getattr(module, name)
            yield name
            if not inspect.isclass(obj):
                continue
            for method, function in inspect.getmembers(obj, callable):
                home = (getattr(function, "__module__", None) or "").partition(".")[0]
                if not method.startswith("_") and home in {"skchallenge", "sklearn"}:
                    yield f"{name}.{method}"


def missing_anchors(folder):
    known = {re.sub(r"^skchallenge\.([a-z_]+\.)?", "", n) for n in inventory(folder)}
    names = set(public_callables())
    return len(names), sorted(names - known)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def serve(folder):
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def open_pages(browser, base, names, size):
    """Open each page; return what its console said and what is too wide."""
    faults = []
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.on("console", lambda m: m.type == "error" and faults.append(m.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda r: (
            r.url.startswith((base, "data:", "blob:")) or faults.append(f"asks {r.url}")
        ),
    )
    found = []
    for name in names:
        page.goto(base + name)
        faults += page.evaluate(BEYOND_THE_EDGE)
        found += [f"{name} at {size[0]} px: {fault}" for fault in faults]
        faults.clear()
    page.close()
    return found


def search(browser, base, words):
    page = browser.new_page()
    page.goto(f"{base}search.html?q={words.replace(' ', '+')}")
    page.wait_for_selector("#search-results .search-summary", timeout=20_000)
    page.wait_for_function(
        "!document.querySelector('#search-progress') || "
        "/finished|did not match/.test("
        "document.querySelector('.search-summary').textContent)",
        timeout=20_000,
    )
    hrefs = page.eval_on_selector_all(
        "#search-results ul.search > li > a", "links => links.map(a => a.href)"
    )
    page.close()
    results = [urlsplit(h).path.lstrip("/").removesuffix(".html") for h in hrefs]
    return list(dict.fromkeys(results))


def look(folder, pages, screenshots):
    """Open the site in Chromium; return what is wrong."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("No browser test: it needs Chromium and `pip install playwright`.")
        return []
    server = serve(folder)
    base = f"http://127.0.0.1:{server.server_port}/"
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for size in (DESKTOP, PHONE):
            wrong += open_pages(browser, base, pages, size)
            print(f"{len(pages)} pages opened at {size[0]} px")
        for words, wanted in SEARCHES.items():
            first = search(browser, base, words)[:3]
            print(f"search {words!r}: {', '.join(first)}")
            if not wanted & set(first):
                wrong.append(f"search {words!r} leads to {first}, not to {wanted}")
        for name, path in SHOTS.items() if screenshots else ():
            for width, height in (DESKTOP, PHONE):
                view = browser.new_page(viewport={"width": width, "height": height})
                view.goto(base + path)
                view.wait_for_timeout(1500 if name == "search" else 300)
                view.screenshot(path=screenshots / f"{name}_{width}.png")
                view.close()
        browser.close()
    server.shutdown()
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", default=ROOT / "docs/_build/html")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures")
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    folder = Path(options.folder)
    pages = read_pages(folder)
    count, wrong = crawl(folder, pages)
    print(f"{len(pages)} pages, {count} internal links: {len(wrong)} broken")
    count, missing = missing_anchors(folder)
    print(f"{count} public callables, {len(missing)} without an anchor")
    wrong += [f"{name} has no anchor" for name in missing]
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    if not options.no_browser:
        wrong += look(folder, list(pages), options.screenshots)
    print(*wrong, f"{len(wrong)} faults", sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
