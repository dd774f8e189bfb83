"""Shape annotations are executed in the tests; numba kernels (compiled, not called as Python) and the command line (no tensors) are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores

import jaxtyping
import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).resolve().parents[1] / "src"


def hooked_modules() -> list[str]:
    """Every module of the package with shape annotations; in the others mypy has looked at all types, and drawing a scene is thousands of calls."""
    files = [p.relative_to(SOURCE) for p in (SOURCE / "segshift").rglob("*.py") if p.name not in ("kernels.py", "__init__.py") and "jaxtyping" in p.read_text()]
    return [".".join(p.with_suffix("").parts) for p in files]


install_import_hook(hooked_modules(), "beartype.beartype")


@pytest.fixture
def as_a_user() -> Iterator[None]:
    """Annotations are not executed, as outside of these tests: for what a user may give."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session", autouse=True)
def few_rehearsals() -> Iterator[None]:
    """Three corruptions of thirteen: each costs a calibration three forward passes an image."""
    from segshift.engine import rehearsal  # after the hook

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "CORRUPTIONS", ("c_fog@4", "c_brightness@5", "c_gaussian_noise@2"))
        yield


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The folder of real images; tests that use it are skipped without it."""
    folder = Path(os.environ.get("SEGSHIFT_CAMVID", SOURCE.parents[1] / "shared" / "data" / "camvid"))
    if not folder.is_dir():
        pytest.skip("no CamVid folder: set SEGSHIFT_CAMVID")
    return folder


@pytest.fixture
def mini_camvid(tmp_path: Path) -> Path:
    """Two sequences in train (25 and 3 frames), one in val; no test."""
    from miniature import indices, picture, write  # after the hook, since it imports the package

    root = tmp_path / "camvid copy"
    frames = {"train": [f"0001TP_{n:06d}" for n in range(30, 780, 30)] + [f"0016E5_{n:05d}" for n in (90, 120, 150)], "val": ["0016E5_07959", "0016E5_07961"]}
    for split, names in frames.items():
        for i, name in enumerate(names):
            write(root / split / f"{name}.png", picture(i))
            write(root / f"{split}annot" / f"{name}.png", indices(i, 12))
    return root
