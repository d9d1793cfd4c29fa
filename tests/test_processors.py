"""What is promised bit for bit, on the kernels of other processors than this one.

OpenBLAS, numpy and torch choose their kernels by processor, and environment variables make them
take an older one's. Each case is a child process, for kernels are chosen once.
"""

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
WORLD = "b9339851d42a797f01b4e35688435031bfcb5554a101a61a04e792d79513d115"
"""Of three scenes of every class, on every processor: a changed scene changes it."""

# The promises' own tests, of scenes and of searches that are resumed (numpy), and of pixels and
# responses in company (torch).
# Of optimizers, this project's own: what other libraries promise is theirs, and takes seconds.
OWN = (
    *("cholesky", "composite", "genetic", "hessian", "random_search", "rank_sphere", "sep"),
    "snes",
)
ARRAYS = (
    "tests/scorers/test_scenes.py",
    *(f"tests/optimizers/test_{name}.py" for name in (*OWN, "sphere")),
)
NETWORKS = (
    "tests/scorers/test_scorer.py",
    "tests/generators/test_mini.py",
    "tests/test_row_products.py",
    "tests/generators/test_winograd.py",
)
# Scenes alone and among others are drawn by `digest_of_world` in the same child.
NAMES = "(alone and not a_scene_depends) or company or bit_identical or what_render_draws"

CORES = (
    "Nehalem",
    *(pytest.param(c, marks=pytest.mark.soak) for c in ("Haswell", "Sandybridge")),
)
TORCH = {
    "default": {"ATEN_CPU_CAPABILITY": "default"},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}


def numpy_features() -> tuple[str, ...]:
    """Return what numpy uses here and can be told not to."""
    return tuple(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))


def environment(kernels):
    """Return the child's environment, or skip where these kernels cannot run."""
    if kernels == "numpy's plainest":
        return {"NPY_DISABLE_CPU_FEATURES": " ".join(numpy_features())}
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip(f"{kernels} are kernels of x86-64; this is {platform.machine()}")
    if kernels != "Nehalem" and not {"AVX2", "X86_V3"} & set(numpy_features()):
        pytest.skip(f"this processor has no AVX2, and cannot run {kernels}")
    return {"OPENBLAS_CORETYPE": kernels}


def run(*arguments, extra):
    child = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stdout[-4000:] + child.stderr[-2000:]
    return child.stdout.split()


def keeps_promises(files, extra):
    """Return the world's digest in a child that has run the promises' own tests.

    It fails, too, where none has such a name.
    """
    return run(__file__, "-p", "no:cacheprovider", "-k", NAMES, *files, extra=extra)[-1]


def test_the_world_is_the_same_on_every_processor():
    assert digest_of_world() == WORLD
    assert run(__file__, extra=environment("numpy's plainest")) == [WORLD]


@pytest.mark.parametrize("core", CORES)
def test_promises_hold_and_the_world_is_the_same_on_every_core_type(core):
    assert keeps_promises(ARRAYS, environment(core)) == WORLD


@pytest.mark.soak
@pytest.mark.parametrize("kernels", TORCH)
def test_promises_hold_on_other_kernels_of_torch(kernels):
    if kernels != "default":
        environment("Haswell")  # skips where there is no AVX2
    assert keeps_promises(NETWORKS, TORCH[kernels]) == WORLD


def digest_of_world():
    """Return the sha256 of scenes drawn together and, which must agree, by themselves."""
    from scorers.mini import scenes

    found = hashlib.sha256()
    for index, name in enumerate(scenes.CLASSES):
        factors = np.random.default_rng(index).standard_normal((3, len(scenes.FACTORS)))
        together = scenes.render(index, factors)
        for k in (0, 2):
            if (scenes.render(index, factors[k : k + 1])[0] != together[k]).any():
                raise SystemExit(f"{name}: scene {k} alone is another than among others")
        found.update(together.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    promises = sys.argv[1:]
    if status := promises and pytest.main(["-q", *promises]):
        sys.exit(status)
    sys.stdout.write(digest_of_world())
