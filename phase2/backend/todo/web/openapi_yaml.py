"""The OpenAPI document as YAML. Separate from ``openapi``, so that a server does not load the YAML library."""

from typing import Any

import yaml


def render(document: dict[str, Any]) -> str:
    """Return the document as YAML. The same document always gives the same text."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Generated from the code by `make openapi`: do not edit.\n{text}"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, and repeated objects in full instead of aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - no object gets an alias.
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
