"""A lab's own torch modules, named by where Python finds them: ``module:attr``.

Importing a module runs it: a session file that names one is to be trusted as a program is.
Knows imports, weight files and modules. Knows nothing of what a module is for.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from evolver.errors import ConfigError
from evolver.lab_code import OWN_FAILURES, error_text, find_attribute
from evolver.weights import hub
from evolver.weights.read import TensorTable, fill, fitted, read_weight_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COUNTER = "num_batches_tracked"  # of training; older files lack it, and nothing here reads it


def make_module(role: str, name: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """Import what `name` says, and make a module of it.

    Parameters
    ----------
    role : what messages call it, as "generator"
    name : "module:attr", an import path and what is to be found there; `attr` may have dots: a
        torch.nn.Module, its class, or a function that returns one
    arguments : handed to the class or function

    Raises
    ------
    ConfigError
        It cannot be imported or made, or is no torch module.
    """
    target = find_attribute(role, name)
    if isinstance(target, torch.nn.Module):
        if arguments:
            raise ConfigError(f"{role} {name!r} is a module already and takes no arguments")
        return target
    if not callable(target):
        raise ConfigError(
            f"{role} {name!r} must be a torch.nn.Module, its class, or a function that "
            f"returns one; it is a {type(target).__name__}"
        )
    try:
        module = target(**arguments)
    except OWN_FAILURES as error:
        raise ConfigError(
            f"{role} {name!r} must be made of arguments {dict(arguments)!r}; it says: "
            f"{error_text(error)}"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(
            f"{role} {name!r} must return a torch.nn.Module; it returns a "
            f"{type(module).__name__}"
        )
    return module


def fill_module(
    net: torch.nn.Module,
    name: str,
    weights: str | Path | None,
    *,
    entry: str | None = None,
) -> str:
    """Put a weight file's tensors into a module; return the digest of its weights.

    Parameters
    ----------
    net : must want exactly the tensors of the file, or of one table in it
    name : what messages call it
    weights : a safetensors file, or torch's, or a checkpoint that holds the module's tensors;
        ``repo:file`` on the Hub. The module's own tensors stay when None
    entry : the tensors' place in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    WeightsError
        The weight file is missing, or is of another module.
    """
    if weights is None:
        return digest_of_module(net)
    location = hub.find_weights(name, weights)
    file = read_weight_file(location.path, sha256=location.sha256)
    fitted(file, partial(_filled, net, path=location.path), entry=entry)
    return file.sha256


def digest_of_module(net: torch.nn.Module) -> str:
    """Return a digest of a module's tensors, their names and shapes."""
    digest = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _filled(net: torch.nn.Module, tensors: TensorTable, *, path: Path) -> torch.nn.Module:
    counters = {
        key: value
        for key, value in net.state_dict().items()
        if key.rpartition(".")[2] == _COUNTER and key not in tensors
    }
    fill(net, {**tensors, **counters}, path=path)
    return net
