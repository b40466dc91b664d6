"""The commands and programs that the documentation asks people to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
# Decisions name commands and do not ask anybody to type them.
GUIDES = tuple(page for page in PAGES if page.parent.name != "decisions")
# What a page's inline code begins with when it is a command.
PROGRAMS = ("make", "curl", "aws", "git", "python", "python3", "pytest", "node", "npm", "npx", "cdk", "order-engine")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command; ``words`` are as a shell splits them, without variables before it and comments after it."""

    page: str
    text: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(*pages: Path) -> list[Block]:
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(page.relative_to(ROOT).as_posix(), language, text)
        for page in pages or PAGES
        for language, text in fenced.findall(page.read_text(encoding="utf-8"))
    ]


def commands() -> list[Command]:
    """All commands that people are asked to type, of shell blocks and of inline code."""
    found = [
        command for block in blocks(*GUIDES) if block.language == "sh" for command in _lines(block.page, block.text)
    ]
    for page in GUIDES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]+)`", text):
            words = _split(" ".join(code.split()))
            if len(words) > 1 and (words[0] in PROGRAMS or words[0].startswith(".venv/bin/")):
                found.append(Command(page.relative_to(ROOT).as_posix(), code, words))
    return found


def _lines(page: str, text: str) -> Iterator[Command]:
    for line in text.replace("\\\n", " ").splitlines():
        words = _split(line)
        if words:
            yield Command(page, line.strip(), words)


def _split(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return ()
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return tuple(words)
