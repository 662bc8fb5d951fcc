"""What pyproject.toml cannot say: README for readers who do not have the repository before them."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def repository() -> str:
    """Return the address in pyproject.toml; empty if nobody has set it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    address: str = settings["tool"]["golem-assemble"]["repository"]
    return address.rstrip("/")


def description(text: str, files: str) -> str:
    """Return README with links below *files*; without that, with the text of relative links."""
    link = rf"[\1]({files}\2)" if files else r"\1"
    return re.sub(r"\[([^]]*)\]\((?!https?:)([^)]*)\)", link, text)


def urls(address: str, files: str) -> dict[str, str]:
    """Return the project's pages."""
    if not address:
        return {}
    return {
        "Repository": address,
        "Documentation": f"{files}docs/build.md",
        "Changelog": f"{files}CHANGELOG.md",
    }


ADDRESS = repository()
FILES = f"{ADDRESS}/blob/main/" if ADDRESS else ""

setup(
    long_description=description((ROOT / "README.md").read_text("utf-8"), FILES),
    long_description_content_type="text/markdown",
    project_urls=urls(ADDRESS, FILES),
)
