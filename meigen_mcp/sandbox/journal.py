"""What a sandbox with a name has accepted, on the disk, so that the next process knows it."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from meigen_mcp.catalogue.models import Model
from meigen_mcp.sandbox.state import Job, Upload
from meigen_mcp.system import private_folder


class Journal:
    """One line for each job and upload. One process at a time has it.

    Args:
        folder: its own; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"
        self._uploads = folder / "uploads"

    def add(self, job: Job) -> None:
        """Write a job down; once this returns it outlives the process.

        Raises:
            OSError: it cannot be written.
        """
        entry = {field.name: getattr(job, field.name) for field in fields(job)}
        self._write({"job": entry | {"model": job.model.id}})

    def add_upload(self, upload: Upload) -> None:
        """Write a finished upload down.

        Raises:
            OSError: it cannot be written.
        """
        private_folder(self._uploads)
        (self._uploads / upload.name).write_bytes(upload.data or b"")
        self._write({"upload": [upload.name, upload.content_type, upload.size]})

    def _write(self, entry: dict[str, Any]) -> None:
        private_folder(self._path.parent)
        line = json.dumps(entry) + "\n"
        descriptor = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self, find_model: Callable[[str], Model | None]) -> Iterator[Job | Upload]:
        """Yield what was written, in its order; a model that is no more leaves its jobs out."""
        for entry in self._entries():
            if "job" in entry:
                model = find_model(entry["job"]["model"])
                if model is not None:
                    yield Job(**entry["job"] | {"model": model})
            elif "upload" in entry:
                name, content_type, size = entry["upload"]
                yield Upload(name, content_type, size, (self._uploads / name).read_bytes())

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:  # its process died while it wrote; nobody was answered for it
                continue
