"""An experiment from a claim's file to its result, in a folder; a killed one continues, and ends with the same bytes.

    runs/claims/dropout-1a2b3c4d-small/       the claim, the first digits of its file's SHA-256, the size
        claim.py                              the file itself, as it was when the experiment began
        env.json                              machine and versions
        records/pilot-ARM-RATE-SEED.json      one training each
        records/ARM-RATE-SEED.json
        result.json                           verdict, intervals, and the quantities of every seed
        times.jsonl                           CPU seconds of each training; the only file that differs between two runs

A training is a job: a function of the file, the size, the arm, the rate and the seed (training.py). Jobs run side by
side in worker processes, one for each core, with one thread each. Every record is written atomically, and only once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minicnn import atomic
from minicnn.claims import files
from minicnn.claims.claim import Claim, Plan
from minicnn.claims.images import source
from minicnn.claims.pilot import Pilot
from minicnn.claims.verdict import judge
from minicnn.claims.workers import Job, finished
from minicnn.environment import differences, environment
from minicnn.lock import Lock

ROOT = Path("runs/claims")
SERIES = 1000
"""Series s has the seeds 1000·s, 1000·s + 1, …, and its pilot those from 1000·s + 900 on."""
MOST_SEEDS = 900


@dataclass(frozen=True)
class Setup:
    """What the user chooses: the size, how many seeds (0: as the file says), which series of them, where to compute."""

    size: str = "small"
    seeds: int = 0
    series: int = 1
    device: str = "cpu"
    data: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seeds <= MOST_SEEDS or self.seeds == 1:
            raise ValueError(f"seeds (={self.seeds}) must be from 2 to {MOST_SEEDS}: one seed has no spread")
        if self.series < 1:
            raise ValueError(f"series (={self.series}) must be at least 1")


def folder_of(name: str, setup: Setup, root: Path = ROOT) -> Path:
    """The folder of an experiment: it depends on the claim's file, the size and the series."""
    stem = Path(name).stem if name.endswith(".py") else name
    series = f"-series{setup.series}" if setup.series > 1 else ""
    return root / f"{stem}-{files.digest(name)[:8]}-{setup.size}{series}"


class Experiment:
    """The experiment of one claim: `Experiment("dropout", Setup()).run()` → its result. `with` or `run` locks it."""

    def __init__(self, name: str, setup: Setup, root: Path = ROOT):
        self.name, self.setup, self.claim = name, setup, files.load(name)
        self.plan: Plan = self.claim.plan(setup.size)
        count = setup.seeds or self.plan.seeds
        self.seeds = [SERIES * setup.series + i for i in range(count)]
        self.folder = folder_of(name, setup, root)
        self.jobs_done = 0

    @property
    def trainings(self) -> int:
        """How many trainings the experiment has, before any pilot's grid grows."""
        pilots = [Pilot.of(self.plan, arm) for arm in self.plan.arms]
        return len(self.seeds) * len(pilots) + sum(len(p.missing()) * self.plan.pilot_seeds for p in pilots)

    def run(self, on_job: Callable[[int, int, str], None] = lambda done, all_, what: None,
            stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:  # fmt: skip
        """Run what is missing, and return the result, which is also in result.json.

        on_job(done, all, what) is called after each training.   stop(): whether to end now, by a KeyboardInterrupt.
        FileNotFoundError where the data is missing; RuntimeError where another process has the folder.
        """
        source(self.plan.data, self.setup.data, self.plan.size)
        (self.folder / "records").mkdir(parents=True, exist_ok=True)
        with Lock(self.folder):
            self._begin()
            pilots = [Pilot.of(self.plan, arm) for arm in self.plan.arms]
            self.jobs_done, total = 0, self.trainings
            while wanted := [(pilot, rate) for pilot in pilots for rate in pilot.missing()]:
                seeds = [SERIES * self.setup.series + MOST_SEEDS + i for i in range(self.plan.pilot_seeds)]
                jobs = {(p.arm, rate): [self._job(p.arm, rate, seed, True) for seed in seeds] for p, rate in wanted}
                total = max(total, self.jobs_done + sum(map(len, jobs.values())) + len(self.seeds) * len(pilots))
                records = self._records([job for several in jobs.values() for job in several], total, on_job, stop)
                for pilot, rate in wanted:
                    pilot.score(rate, [records[job] for job in jobs[pilot.arm, rate]], self.plan)
            total = self.jobs_done + len(self.seeds) * len(pilots)
            main = [self._job(pilot.arm, pilot.best, seed, False) for seed in self.seeds for pilot in pilots]
            records = self._records(main, total, on_job, stop)
            result = summary(self, pilots, {(job.arm, job.seed): record for job, record in records.items()})
            _write(self.folder / "result.json", result)
            return result

    def _begin(self) -> None:
        """Files that say what this is; an environment that changed since is noted in result.json."""
        for path in (self.folder, self.folder / "records"):
            atomic.sweep(path, ["*"])
        if not (self.folder / "env.json").exists():
            shutil.copyfile(files.path(self.name), self.folder / "claim.py")
            _write(self.folder / "env.json", self._environment())

    def _environment(self) -> dict[str, Any]:
        return {**environment(self.setup.device), "threads": 1}  # of a worker

    @property
    def changed(self) -> str:
        """What has changed since the experiment began, and affects the last bits: "numpy: 2.1.0, now 2.2.0"."""
        try:
            return differences(json.loads((self.folder / "env.json").read_bytes()), self._environment())
        except (OSError, ValueError, AttributeError):
            return ""

    def _job(self, arm: str, rate: float, seed: int, pilot: bool) -> Job:
        return Job(self.name, self.setup.size, arm, rate, seed, pilot, self.setup.device, self.setup.data)

    def _records(self, jobs: list[Job], total: int, on_job: Callable[[int, int, str], None],
                 stop: Callable[[], bool]) -> dict[Job, dict[str, Any]]:  # fmt: skip
        """The records of these jobs: read where they are there, otherwise computed and written."""
        found: dict[Job, dict[str, Any]] = {}
        for job in jobs:
            if (record := _read(self._place(job))) is not None:
                found[job] = record
                self._tell(job, total, on_job)
        missing = [job for job in jobs if job not in found]
        for job, record, seconds in finished(missing, self.setup.workers, stop):
            _write(self._place(job), record)
            with open(self.folder / "times.jsonl", "a", encoding="utf-8") as times:
                times.write(json.dumps({"job": job.key, "cpu_seconds": round(seconds, 2)}) + "\n")
            found[job] = record
            self._tell(job, total, on_job)
        return {job: found[job] for job in jobs}

    def _tell(self, job: Job, total: int, on_job: Callable[[int, int, str], None]) -> None:
        self.jobs_done += 1
        on_job(self.jobs_done, total, f"{job.arm}{', pilot' if job.pilot else ''}")

    def _place(self, job: Job) -> Path:
        return self.folder / "records" / f"{job.key}.json"


def summary(experiment: Experiment, pilots: Iterable[Pilot], records: dict[tuple[str, int], dict]) -> dict[str, Any]:
    """The result as plain values: a function of the records alone."""
    claim: Claim = experiment.claim
    seeds, plan = experiment.seeds, experiment.plan
    verdict, outcomes = judge(claim, records, seeds)
    arms = {}
    for pilot in pilots:
        own = [records[pilot.arm, seed] for seed in seeds]
        names = dict.fromkeys(name for record in own for name in record["values"])
        arms[pilot.arm] = {
            "rate": pilot.best, "at_edge": pilot.at_edge,
            "tried": {f"{rate:g}": score for rate, score in sorted(pilot.scores.items())},
            "diverged": sum(record["diverged"] for record in own),
            "reached": sum(record["reached"] for record in own),
            "values": {name: [record["values"].get(name) for record in own] for name in names},
        }  # fmt: skip
    return {
        "claim": claim.name, "sha256": files.digest(experiment.name), "size": experiment.setup.size,
        "series": experiment.setup.series, "seeds": seeds, "planned_seeds": plan.seeds, "verdict": verdict,
        "outcomes": [asdict(outcome) for outcome in outcomes], "arms": arms,
        "environment": _read(experiment.folder / "env.json"),
    }  # fmt: skip


def cpu_seconds(folder: Path) -> float:
    """The CPU seconds of all trainings in a folder, from times.jsonl; each job counts once."""
    try:
        lines = [json.loads(line) for line in (folder / "times.jsonl").read_text("utf-8").splitlines()]
        return sum({line["job"]: float(line["cpu_seconds"]) for line in lines}.values())
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _read(path: Path) -> Any:
    """A JSON document; None where it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, values: Any) -> None:
    atomic.write(path, (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())



