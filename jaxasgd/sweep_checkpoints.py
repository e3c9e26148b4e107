"""A sweep's finished members on disk: what is there is not computed again."""

from __future__ import annotations

import json
import os
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import GO_ON, Checkpoint, described, first, made_folder, refuse
from .checks import unsaved
from .sweep_results import Member


@dataclass
class Store:
    """Members in files of their own, `members-0000.npz`, each whole or not there; `sweep.json` says whose they are."""

    where: Checkpoint
    jobs: list
    found: dict = field(default_factory=dict)  # (job, line, point) -> Member
    fresh: dict = field(default_factory=dict)  # not written yet
    latest: float = field(default_factory=time.monotonic)
    files: int = 0

    def get(self, job, line, point) -> Member | None:
        return self.found.get((self.jobs.index(job), line, point))

    def offer(self, job, members) -> None:
        """Take finished members of a job, and write them where it is time."""
        number = self.jobs.index(job)
        for member in members:
            line = next(
                i for i, (clock, seed, _) in enumerate(job.lines) if (clock, seed) == (member.clock, member.seed)
            )
            point = next(p for p, numbers in enumerate(job.points) if numbers is member.numbers)
            if (number, line, point) not in self.found:
                self.fresh[number, line, point] = member
        if time.monotonic() - self.latest >= self.where.seconds:
            self.write()

    def write(self) -> None:
        """Write what is new: beside, then renamed."""
        if not self.fresh:
            return
        about: list[dict] = []
        arrays: dict[str, Any] = {}
        for k, (place, member) in enumerate(self.fresh.items()):
            about.append({"place": place, "status": member.status, "ended": member.ended, "summary": member.summary})
            arrays |= {f"{k} {name}": column for name, column in member.columns.items()}
        target = Path(self.where.folder, f"members-{self.files:04}.npz")
        beside = target.with_name("." + target.name)
        try:
            with open(beside, "wb") as file:
                np.savez(file, about=np.array(json.dumps(about)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise unsaved("finished runs", self.where.folder, error, GO_ON) from error
        self.found |= self.fresh
        self.fresh, self.latest, self.files = {}, time.monotonic(), self.files + 1

    def read(self) -> None:
        """Take what is there."""
        for path in sorted(Path(self.where.folder).glob("members-*.npz")):
            try:
                with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                    about = json.loads(str(file["about"]))
                    arrays = {name: file[name] for name in file.files if name != "about"}
                for k, one in enumerate(about):
                    number, line, point = one["place"]
                    columns = {
                        name.partition(" ")[2]: a for name, a in arrays.items() if name.partition(" ")[0] == str(k)
                    }
                    self.found[number, line, point] = self.member(number, line, point, one, columns)
            except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"{str(path)!r} is damaged: delete it, and its runs are made again ({first(error)})"
                ) from error
            self.files = int(path.stem.partition("-")[2]) + 1

    def member(self, number, line, point, one, columns) -> Member:
        job = self.jobs[number]
        clock, seed, _ = job.lines[line]
        who = {"method": job.method, "seed": seed, "clock": clock, "numbers": job.points[point]}
        return Member(status=one["status"], ended=one["ended"], columns=columns, summary=one["summary"], **who)


def store(where: Checkpoint | None, jobs, setting) -> Store | None:
    """The store of a sweep of (way, job)s, with what is in it already.

    Raises:
        ValueError: where the folder holds another sweep, something else, or a damaged file, or can't be written.
    """
    if where is None:
        return None
    own: dict[str, Any] = {"sweep": [way for way, _ in jobs] + [setting.chunk, len(setting.devices)]}
    for n, (_, job) in enumerate(jobs):
        part = described(job.parts, job.plans, setting.problem, setting.key, job.consts, setting.targets)
        own |= {name: value for name, value in part.items() if name not in ("schedule", "rule")}
        own |= {f"{name} of {job.method} ({n})": part[name] for name in ("schedule", "rule")}
    mine = lambda name: name in ("sweep.json", ".sweep.json") or name.lstrip(".").startswith("members-")
    folder = made_folder(where, mine)
    about = folder / "sweep.json"
    if about.exists():
        try:
            theirs = json.loads(about.read_text())
        except ValueError as error:
            raise ValueError(f"{str(about)!r} is damaged: start anew in another folder ({first(error)})") from error
        refuse(where, own, theirs)
    else:
        beside = folder / ".sweep.json"
        try:
            beside.write_text(json.dumps(own, indent=2) + "\n")
            beside.replace(about)
        except OSError as error:
            remedy = "make room, or choose another folder"
            raise unsaved("the description of a sweep", where.folder, error, remedy) from error
    made = Store(where, [job for _, job in jobs])
    made.read()
    return made
