"""The specification as a file. Apart from ``openapi``, because a server does without YAML and its memory."""

from typing import Any

import yaml


def render(document: dict[str, Any]) -> str:
    """Write the document as YAML: always the same text for the same document."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Generated from the code by `make openapi`: do not edit.\n{text}"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and what stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the same for everything.
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
