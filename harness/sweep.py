"""The runs of one command: planned and checked as a whole, run one by one, and counted at the end."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.check import check, check_keys, check_parts, check_problems
from harness.compose import composer, parse
from harness.config import identity, refuse_other, run_dir
from harness.errors import ConfigError, Unrecorded

LATER, ALONE = "HARNESS_LATER", "HARNESS_ALONE"  # runs that a worker process leaves out, and the one it makes


def job(cfg: DictConfig) -> None:
    """Run one configuration, unless it is finished: then nothing heavy is imported either."""
    if is_left_out(run_dir(cfg)) or status(run_dir(cfg)) == "done":
        return
    follow_parent()
    from harness.run import run

    try:
        run(cfg)
    except Unrecorded as error:  # said here, for of several errors Hydra passes on the first only
        print(f"harness: {error}", file=sys.stderr, flush=True)
        raise


def is_left_out(run: Path) -> bool:
    """Whether this process is to leave a run that `harness.killed` makes at another time of the same command."""
    if alone := os.environ.get(ALONE):
        return str(run) != alone
    return str(run) in os.environ.get(LATER, "").split("\n")


@cache
def follow_parent() -> None:
    """End this process soon after the command whose worker process it is; does nothing in any other process.

    It would train on, holding the run's folder against the same command, and then make what it has been given next.
    """
    if not multiprocessing.current_process().name.startswith("LokyProcess"):  # joblib's
        return
    parent = multiprocessing.parent_process().pid

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)  # its own processes end when their pipes do

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()


def plan(overrides: list[str], sweep: bool, config_dir: str | None) -> list[DictConfig]:
    """Return the configuration of every run of a command, checked without torch. Raises ConfigError."""
    with composer(config_dir) as compose:
        parsed = parse(overrides)
        swept = [override for override in parsed if override.is_sweep_override()]
        if any(override.key_or_group == "experiment" for override in swept):
            raise ConfigError("Experiments cannot be swept, each brings its own sweep: run them in turn.")
        base = compose([override.input_line for override in parsed if override not in swept])
        if sweep or base.hydra.mode == RunMode.MULTIRUN:
            cfgs = [compose(job_overrides) for job_overrides in _jobs(base, overrides)]
        elif swept:
            raise ConfigError(f"{swept[0].input_line} stands for several runs: add -m to sweep over them.")
        else:
            cfgs = [base]
        for cfg in cfgs:
            check(cfg)
            cfg.label = cfg.label  # fixed while `cfg` still knows its overrides
            refuse_other(_without_hydra(cfg))
    for path, times in Counter(map(run_dir, cfgs)).items():
        if times > 1:
            raise ConfigError(f"{times} runs would write to {path}: give every seed and every value once.")
    return cfgs


def check_unfinished(cfgs: list[DictConfig]) -> None:
    """Construct each different method and suite that is still to run. Raises ConfigError; imports torch."""
    unfinished = [cfg for cfg in cfgs if status(run_dir(cfg)) != "done"]
    for cfg in _different(unfinished, "suite"):
        check_parts(cfg, "suite")
        check_problems(cfg)
    check_methods(unfinished)


def check_without_loading(cfgs: list[DictConfig]) -> None:
    """Construct each different method and suite, which reads no problems yet, and check the policies' keys.

    Raises ConfigError; imports torch.
    """
    for cfg in _different(cfgs, "suite"):
        check_parts(cfg, "suite")
    for cfg in _different(cfgs, "policy"):
        check_keys(cfg.policy, "policy")
    check_methods(cfgs)


def check_methods(cfgs: list[DictConfig]) -> None:
    """Construct each different method. Raises ConfigError; imports torch."""
    for cfg in _different(cfgs, "method"):
        check_parts(cfg, "method")


def _different(cfgs: list[DictConfig], group: str) -> list[DictConfig]:
    return list({json.dumps(identity(cfg)[group], sort_keys=True): cfg for cfg in cfgs}.values())


def status(run: Path) -> str:
    """Return what a run's STATUS says: running, done, failed: why; or "not started"."""
    path = run / "STATUS"
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else "not started"


def summary(cfgs: list[DictConfig], before: list[str]) -> tuple[str, bool]:
    """Say how the runs ended, given their statuses before, and whether all are done."""
    runs = [run_dir(cfg) for cfg in cfgs]
    after = [status(run) for run in runs]
    skipped = sum(now == "done" == then for now, then in zip(after, before, strict=True))
    unfinished = [f"  {run}: {now}" for run, now in zip(runs, after, strict=True) if now != "done"]
    done = len(runs) - skipped - len(unfinished)
    lines = [f"{done} done, {skipped} skipped (done before), {len(unfinished)} not finished", *unfinished]
    if unfinished:
        lines.append(
            "The same command takes up what is not finished; a run that fails again says in its STATUS why."
        )
    elif len(runs) == 1:
        lines.append(f"Records: {runs[0]}")
    else:
        names = [cfg.label.rpartition("-")[0] for cfg in cfgs]
        baseline = next((name for name in names if name.partition("+")[0] == "grpo"), names[0])
        if cfgs[0].tuned:  # the comparison chooses among the tuned values, so that a method is one label
            baseline = baseline.partition("+")[0]
        lines.append(f"Compare: python -m harness.compare runs={runs[0].parent.parent} baseline={baseline}")
    return "\n".join(lines), not unfinished


def _without_hydra(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])


def _jobs(base: DictConfig, overrides: list[str]) -> list[list[str]]:
    """Return the overrides of each job of a sweep, as Hydra's own sweeper will make them."""
    params = [f"{key}={value}" for key, value in (base.hydra.sweeper.params or {}).items()]
    ours = [override for override in parse(params + overrides) if not override.is_hydra_override()]
    hydras = [override.input_line for override in parse(overrides) if override.is_hydra_override()]
    [jobs] = BasicSweeper.split_arguments(ours, max_batch_size=None)
    return [hydras + job for job in jobs]
