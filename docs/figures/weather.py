"""Draw docs/images/weather.jpg: each weather at severity 1, 3 and 5 on a drawn street. With a domain, that image to another file.

python docs/figures/weather.py
python docs/figures/weather.py "camvid:DATA/camvid:train?sequence=0006R0&part=20/40&depth=plane" out.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from segshift.data.dataset import open_domain

PICTURE = Path(__file__).parents[1] / "images" / "weather.jpg"
STREET = "streets::test?look=camera&size=512x256&part=4/100"
WEATHERS = ("fog", "rain", "night", "snow")


def draw(domain: str, path: Path) -> None:
    """A row a weather, clear on the left."""
    shape = open_domain(domain)[0].image.shape
    figure = Figure(figsize=(14, 3.5 * len(WEATHERS) * shape[1] / shape[2] + 1), layout="constrained")
    for row, weather in zip(figure.subplots(len(WEATHERS), 4), WEATHERS, strict=True):
        for axes, severity in zip(row, (0, 1, 3, 5), strict=True):
            name = f"{weather}@{severity}" if severity else "clear"
            axes.imshow(np.asarray(open_domain(f"{domain}+{name}" if severity else domain)[0].image.permute(1, 2, 0)))
            axes.set_title(name, fontsize=9)
            axes.set_axis_off()
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 88} if path.suffix == ".jpg" else None)


if __name__ == "__main__":
    draw(*((sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 2 else (STREET, PICTURE)))
