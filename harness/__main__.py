"""The command: `python -m harness [-m] [group=option] [key=value]`; `--help` tells the rest.

Exit codes: 0 all runs done, 1 a run failed, 2 refused before anything ran, 130 and 143 interrupted.
"""

import errno
import os
import signal
import sys
import time
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from harness.config import CONF, run_dir
from harness.dryrun import dry_run
from harness.errors import ConfigError, Terminated
from harness.killed import make_all
from harness.sweep import check_unfinished, check_without_loading, job, plan, status, summary

UNWRITABLE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    args = get_args_parser().parse_args()
    if os.getcwd() not in sys.path:  # the console script leaves it out, and a user's own methods lie there
        sys.path.insert(0, os.getcwd())
    if args.shell_completion:  # of a command that is not complete yet
        _hydra()
        return 0
    try:
        if args.config_name or args.config_path:
            raise ConfigError("The harness has one configuration: add files of your own with --config-dir.")
        _warn_of_shadowed(args.config_dir)
        cfgs = plan(args.overrides, args.multirun, args.config_dir)
        if args.help or args.hydra_help or args.cfg or args.info:
            _hydra()
            return 0
        if any(cfg.trainer.dry_run for cfg in cfgs):
            check_without_loading(cfgs)
            print(dry_run(cfgs))
            return 0
        _prepare_workers(cfgs)
        check_unfinished(cfgs)
    except ConfigError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    before = [status(run_dir(cfg)) for cfg in cfgs]
    signal.signal(signal.SIGTERM, _terminate)  # an exception, so that joblib ends its workers
    try:
        if set(before) != {"done"}:
            make_all(_hydra, [run_dir(cfg) for cfg in cfgs])
    except OSError as error:  # of a run it would be a RunFailed: this is the folder of the sweep
        if error.errno not in UNWRITABLE:
            raise
        print(f"harness: {type(error).__name__}: {error}", file=sys.stderr)
    except Terminated:
        sys.exit(143)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        text, complete = summary(cfgs, before)
        print(text)
    return 0 if complete else 1


def _terminate(*_) -> None:
    raise Terminated


def _hydra() -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through instead of ending the process
    hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(job)()


def _prepare_workers(cfgs: list[DictConfig]) -> None:
    """Set what this process and its workers read: threads, before they import torch, and the extent of a sweep."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(cfgs[0].trainer.threads)
    if len(cfgs) > 1:
        os.environ["HARNESS_RUNS"] = str(sum(status(run_dir(cfg)) != "done" for cfg in cfgs))
        os.environ["HARNESS_STARTED"] = str(time.time())


def _warn_of_shadowed(config_dir: str | None) -> None:
    for path in sorted(Path(config_dir).rglob("*.yaml")) if config_dir else []:
        if (CONF / path.relative_to(config_dir)).exists():
            print(f"harness: {path} is not read, a built-in file has its name: rename it.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
