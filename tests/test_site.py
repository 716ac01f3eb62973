"""The documentation's site: it builds without a warning, links lead somewhere, and nothing comes from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documents import ROOT

import fpnas

LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}


def build(pages: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does."""
    (line,) = re.findall(r"^\t\$\(BIN\)/sphinx-build (.*) docs site$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    options = line.replace("build/doctrees", str(site.with_name("doctrees"))).split()
    command = [sys.executable, "-m", "sphinx", *options, str(pages), str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    built = build(ROOT / "docs", folder)
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


class Page(HTMLParser):
    """What a page loads, what it links to, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loads += [given[LOADING[tag]]] if LOADING.get(tag) in given else []


def dead_links(site: Path) -> Iterator[str]:
    """Links within the site that lead nowhere."""
    pages = {path: Page(path) for path in site.glob("*.html")}
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in pages and place not in pages[target].places):
                yield f"{path.name}: {link}"


def from_elsewhere(site: Path) -> Iterator[str]:
    """What pages and style sheets load over the network."""
    for path in site.rglob("*.html"):
        yield from (f"{path.name}: {link}" for link in Page(path).loads if urlsplit(link).scheme not in ("", "data"))
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        yield from (
            f"{path.name}: {link}" for link in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", text)
        )


def test_every_page_is_there(site: Path) -> None:
    pages = {path.with_suffix(".html").name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".rst")}
    assert pages <= {path.name for path in site.iterdir()}


def test_no_link_leads_nowhere(site: Path) -> None:
    assert list(dead_links(site)) == []


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    assert list(from_elsewhere(site)) == []


def test_the_reference_has_whatever_the_package_offers(site: Path) -> None:
    text = (site / "reference.html").read_text(encoding="utf-8")
    section = text[text.index('id="the-package"') : text.index('id="searching-and-training"')]
    offered = [name for name in fpnas.__all__ if not name.startswith("__")]
    assert offered and [name for name in offered if f'"pre">{name}</span>' not in section] == []


def test_the_reference_names_modules_that_exist() -> None:
    """A name of the package that is no longer a module would be documented as whatever it is now."""
    named = re.findall(r"^\.\. automodule:: (\S+)$", (ROOT / "docs" / "reference.rst").read_text(), re.MULTILINE)
    assert len(named) > 20 and [name for name in named if importlib.util.find_spec(name) is None] == []


def test_comments_are_not_shown(site: Path) -> None:
    for path in site.glob("*.html"):
        assert not re.search(r"&lt;!-- (not run|shown|output|file|add|change)", path.read_text(encoding="utf-8")), path


def test_mistakes_stop_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(ROOT / "docs" / "conf.py", pages)
    mistakes = ["[a](nowhere.md)", "[b](index.md#nothing)", "![c](absent.svg)"]
    (pages / "index.md").write_text("# Title\n\n" + "\n\n".join(mistakes) + "\n")
    built = build(pages, tmp_path / "site")
    assert built.returncode != 0
    assert all(re.search(rf"index\.md:.*{word}", built.stderr) for word in ("nowhere", "nothing", "absent"))


def test_what_is_looked_for_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#c">c</a><img src="https://example.org/d.png">')
    (tmp_path / "e.css").write_text("@import 'https://example.org/f.css'; p { background: url(//example.org/g.png) }")
    assert list(dead_links(tmp_path)) == ["a.html: b.html", "a.html: #c"]
    assert [line.split("/")[-1] for line in from_elsewhere(tmp_path)] == ["d.png", "f.css", "g.png"]
