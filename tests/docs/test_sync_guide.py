"""The guide for authors of clients describes every entity of the change log."""

from support.repository import ROOT, text_of
from todo.models.entities import ENTITY_MODELS, one_of

GUIDE = text_of(ROOT / "docs/sync.md")


# Task: T-452
def test_sync_guide_names_every_entity() -> None:
    phrase = one_of(ENTITY_MODELS)

    assert f"A change has a `type`: {phrase}." in GUIDE, f"list the types of changes in docs/sync.md: {phrase}"


# Task: T-452
def test_client_in_the_sync_guide_reads_every_member_of_the_snapshot() -> None:
    members = [entity.snapshot_field for entity in ENTITY_MODELS.values()]

    missing = [name for name in members if f"data.{name}" not in GUIDE or f"`{name}`" not in GUIDE]
    assert not missing, (
        f"describe these members of the snapshot in docs/sync.md, and read them in its client: {missing}"
    )
