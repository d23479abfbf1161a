"""One experiment, top to bottom: problems, policy, rollouts, credit, updates, evaluation, records.

Left out on purpose: scheduling of runs (Hydra's launchers do that), and anything that depends on
which method runs.
"""

from __future__ import annotations

import os
import random
import shlex
import warnings
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is TRL's own door for engines
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import transformers
from datasets import Dataset
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from trl import GRPOConfig

from harness.checkpoints import LOADERS, blaming, check_checkpoint
from harness.config import refuse_other, run_dir
from harness.curve import LearningCurve
from harness.deltas import KeptDeltas
from harness.errors import Unrecorded
from harness.failure import record_failure, set_scene
from harness.judge import Drawn, Judge
from harness.policy import Policy
from harness.records import DONE, Records, environment
from harness.rollouts import RolloutEngine
from harness.suites import Suite
from harness.trainer import CreditGRPOTrainer
from harness.vllm import VllmSampler


def run(cfg: DictConfig) -> None:
    """Do what is left of one run: nothing if it is done, the rest if it was interrupted.

    Any exception is written to STATUS and raised again as one picklable `RunFailed`, so that the other
    runs of a sweep go on.
    """
    refuse_other(cfg)
    records = Records(run_dir(cfg))
    if records.status == DONE:
        return
    try:
        with records.locked():
            if records.status == DONE:  # by another command, since this one looked
                return
            records.begin(cfg)
            try:
                _run(cfg, records)
            except (Exception, SystemExit) as error:  # a part that calls sys.exit must not end the sweep
                raise record_failure(cfg, records, error) from None
    except OSError as error:
        raise Unrecorded(f"{cfg.label} seed {cfg.seed}: {records.directory} cannot be written: {error}") from None


def _run(cfg: DictConfig, records: Records) -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise RuntimeError("the runner is one process a run: start it without a distributed launcher")
    seed_everything(cfg.seed)
    torch.set_num_threads(cfg.trainer.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # About a name that TRL still uses; there is nothing a user could do.
    warnings.filterwarnings(
        "ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning
    )

    suite: Suite = instantiate(cfg.suite, _convert_="all")
    policy: Policy = instantiate(cfg.policy)
    method = instantiate(cfg.method, _convert_="all")
    uses_engine = not cfg.trainer.extra.get("use_vllm", False)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=cfg.seed, autocast=policy.autocast)
    problems = Drawn(suite.training(cfg.seed))
    first = cfg.trainer.steps * cfg.trainer.prompts_per_step

    def row(number: int) -> dict[str, Any]:
        problem = problems[number]
        return {"prompt": policy.message(problem.prompt), "reference": problem.reference, "problem": number}

    def reserve(step: int, turn: int) -> list[dict[str, Any]]:
        # they follow the problems that every method sees, which stay the same with dynamic sampling
        start = first + (step * method.dynamic_sampling + turn - 1) * cfg.trainer.prompts_per_step
        fresh = map(row, range(start, start + cfg.trainer.prompts_per_step))
        return [own for own in fresh for _ in range(cfg.trainer.completions_per_prompt)]

    rows = [row(number) for number in range(first)]
    records.write_environment(environment(command(cfg), policy, uses_engine, suite.facts()))
    judge = Judge(suite, problems, policy)
    args = trainer_args(cfg, records, policy)
    trainer = CreditGRPOTrainer(
        policy.model,
        judge.reward,
        method=method,
        engine=engine if uses_engine else None,
        signal_funcs={"decisive": judge.decisive},
        args=args,
        reserve=reserve,
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
    )
    trainer.create_model_card = lambda *_, **__: None  # the run's folder says what it is
    trainer.remove_callback(transformers.PrinterCallback)
    sampler = engine if uses_engine else VllmSampler(trainer)
    curve = LearningCurve(cfg, records, suite, policy, sampler, trainer, judge)
    trainer.add_callback(curve)

    checkpoint = records.last_checkpoint()
    updates, folder = checkpoint or (0, None)
    try:
        if folder:
            blaming(folder, check_checkpoint)(folder, updates, trainer.model)
            for name in LOADERS:
                setattr(trainer, name, blaming(folder, getattr(trainer, name)))
        if cfg.trainer.deltas_every:
            deltas = KeptDeltas(records.directory, policy.model, cfg.trainer.deltas_every, args.max_steps)
            print(deltas.size(), flush=True)
            deltas.start(updates)
            trainer.add_callback(deltas)
        curve.start(updates // cfg.trainer.updates_per_step)
        if updates < args.max_steps:
            trainer.train(resume_from_checkpoint=str(folder) if folder else None)
        else:  # only the last evaluation is missing
            trainer._load_from_checkpoint(str(folder))
            trainer.state.global_step = updates
        curve.finish()
        records.set_status(DONE)
    except (Exception, SystemExit) as error:
        set_scene(error, trainer, curve, judge, str(folder) if folder else None)
        raise error


def seed_everything(seed: int) -> None:
    """Seed every generator: a worker process keeps its state from one run of a sweep to the next."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def command(cfg: DictConfig) -> str:
    """The command that repeats this run alone."""
    if not HydraConfig.initialized():
        return "harness.run.run(cfg)"
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("hydra.")]
    return shlex.join(["python", "-m", "harness", *overrides])


def trainer_args(cfg: DictConfig, records: Records, policy: Policy) -> GRPOConfig:
    """TRL's configuration of one run; the method's surrogate is added by the trainer."""
    of_the_machine = {
        "output_dir": str(records.directory / "checkpoint"),
        "bf16": policy.autocast,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "chat_template_kwargs": policy.template_options or None,
    }
    return GRPOConfig(**of_the_machine | trainer_settings(cfg))


def trainer_settings(cfg: DictConfig) -> dict[str, Any]:
    """The fields of `trl.GRPOConfig` that follow from the configuration alone."""
    t = cfg.trainer
    rows = t.prompts_per_step * t.completions_per_prompt // t.updates_per_step  # of one update
    passes = rows // (t.rows_per_pass or rows)
    settings = dict(
        per_device_train_batch_size=rows // passes,
        gradient_accumulation_steps=passes,
        steps_per_generation=t.updates_per_step * passes,
        num_generations=t.completions_per_prompt,
        max_steps=t.steps * t.updates_per_step,
        max_completion_length=t.max_completion_tokens,
        temperature=t.temperature,
        learning_rate=t.learning_rate,
        beta=t.beta,
        max_grad_norm=t.max_grad_norm,
        seed=cfg.seed,
        shuffle_dataset=False,  # the suite has laid the problems out in the order of the seed
        remove_unused_columns=False,
        logging_steps=t.updates_per_step,
        save_steps=t.checkpoint_every * t.updates_per_step,
        save_total_limit=t.checkpoints_kept or None,
        report_to=list(t.report_to) or "none",
        run_name=f"{cfg.experiment_name}/{cfg.label}/seed-{cfg.seed}",
        disable_tqdm=True,
        lr_scheduler_type="constant",  # so that a run's length does not change its beginning
        gradient_checkpointing=False,
    )
    return settings | OmegaConf.to_container(t.extra, resolve=True)
