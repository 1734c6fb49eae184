"""Durable state: rows, written in groups that commit once per turn of the event loop."""

from moorings.store.base import Args, Group, Migration, Row, Store
from moorings.store.commit import Commit
from moorings.store.folder import DataFolder
from moorings.store.sqlite import SqliteStore, Synchronous

__all__ = ["Args", "Commit", "DataFolder", "Group", "Migration", "Row", "SqliteStore", "Store", "Synchronous"]
