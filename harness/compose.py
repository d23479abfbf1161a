"""Composing configurations beside whatever else Hydra does, with errors that name the nearest valid name."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config import CONF
from harness.errors import ConfigError, nearest

_one_at_a_time = threading.RLock()


@contextmanager
def composer(config_dir: str | Path | None = None) -> Iterator[Callable[[list[str]], DictConfig]]:
    """Yield `compose(overrides)`, which returns a configuration with its `hydra` node, or raises ConfigError.

    Hydra composes through one global object: an outer one, such as that of the run this is called in, is put
    back afterwards. `config_dir` adds a folder of the user's own groups.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise ConfigError(f"There is no folder {config_dir} to read configurations from.")

    def composed(overrides: list[str]) -> DictConfig:
        parse(overrides)
        try:
            return compose("config", overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_explain(error, overrides)) from error

    with _one_at_a_time:
        outer = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            search_path = create_config_search_path(str(CONF))
            if config_dir:  # where Hydra's own --config-dir goes
                own = f"file://{Path(config_dir).resolve()}"
                search_path.prepend("command-line", own, SearchPathQuery(provider="schema"))
            version.setbase("1.3")
            Hydra.create_main_hydra2("harness", search_path)
            yield composed
        finally:
            GlobalHydra.instance().hydra = outer


def parse(overrides: list[str]) -> list[Override]:
    """Parse `key=value` texts inside a `composer`. Raises ConfigError."""
    try:
        return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(overrides)
    except OverrideParseException as error:
        raise ConfigError(f"'{error.override}' is not key=value; quote special characters.") from error


def _explain(error: Exception, overrides: list[str]) -> str:
    """Find the override at fault and the names nearest to it; for anything else say what Hydra says."""
    loader = GlobalHydra.instance().config_loader()
    groups = {group: loader.get_group_options(group, ObjectType.CONFIG) for group in _groups(loader)}
    parsed = [override for override in parse(overrides) if not override.is_hydra_override()]
    choices = [o for o in parsed if o.key_or_group in groups]
    for o in choices:
        group, name = o.key_or_group, o.value()
        if name is not None and name not in groups[group]:
            return f"There is no {group} named {name}. {nearest(str(name), groups[group])}"
    if in_file := re.search(r"In '(.+?)': .*\n(.*)\n\s*full_key: (\S+)", str(error)):
        file, reason, key = in_file.groups()
        if reason.startswith("Key "):
            return f"In {file}.yaml there is no key {key}. {nearest(key, _keys(compose('config')))}"
        return f"In {file}.yaml, {key}: {reason}."
    chosen = [o.input_line for o in choices if o.value() is not None]
    try:
        chosen_cfg = compose("config", chosen)
        keys = _keys(chosen_cfg)
    except (HydraException, OmegaConfBaseException) as own:  # a file among them is at fault, not a key
        return f"{' '.join(chosen) or 'The configuration'} does not compose: {str(own).splitlines()[0]}"
    for o in parsed:
        key = o.key_or_group
        parent = key.rpartition(".")[0]
        while parent and parent not in keys:
            parent = parent.rpartition(".")[0]
        if key not in keys and _is_open(chosen_cfg, parent) and not (o.is_add() or o.is_force_add()):
            return f"A new field of {parent} needs a plus: +{o.input_line}."
        if "/" in key and o not in choices:
            return f"There is no group {key}. {nearest(key, groups)}"
        if key not in keys and o not in choices:
            return f"There is no key {key}. {nearest(key, [*keys, *groups])}"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None) or "configuration"
    at_fault = next((o.input_line for o in parsed if o.key_or_group == key), key)
    return f"{at_fault}: {str(cause).splitlines()[0].rstrip('.')}."


def _groups(loader: ConfigLoader, parent: str = "") -> Iterator[str]:
    for name in loader.list_groups(parent):
        group = f"{parent}/{name}".lstrip("/")
        if group != "hydra":
            yield group
            yield from _groups(loader, group)


def _is_open(cfg: DictConfig, key: str) -> bool:
    """Whether `key` is a mapping of the user's own entries: neither part of the schema nor a call's arguments."""
    node = OmegaConf.select(cfg, key) if key else None
    return OmegaConf.is_dict(node) and OmegaConf.get_type(node) is dict and "_target_" not in node


def _keys(cfg: DictConfig, prefix: str = "") -> set[str]:
    """Return every dotted key of a configuration, of groups as well as of values."""
    keys = set()
    for key in cfg:
        keys.add(f"{prefix}{key}")
        if OmegaConf.is_dict(cfg._get_node(key)):
            keys |= _keys(cfg[key], f"{prefix}{key}.")
    return keys
