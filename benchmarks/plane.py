"""Errors of the plane prior on drawn streets, whose depth is known: median relative error by class, and of fog.

    python benchmarks/plane.py [--streets 40]

Of each class, the median over its pixels in each street, then the median and the 90 % quantile over the streets; the second table has the
pitch's sign wrong.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from segshift.data.label_space import LABEL_SPACES
from segshift.data.streets import render_street
from segshift.weather import prepare_fog
from segshift.weather.plane import estimate_plane_depth
from segshift.weather.view import GROUND, SKY

CLASSES = LABEL_SPACES["cityscapes-19"].classes
BETA = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streets", type=int, default=40)
    count = parser.parse_args().streets
    for title, sign in (("right pitch", 1), ("pitch with the wrong sign", -1)):
        errors: dict[str, list[float]] = defaultdict(list)
        for index in range(count):
            street = render_street(seed=0, index=index, look="camera", height=256, width=512)
            camera = replace(street.camera, pitch=sign * street.camera.pitch)
            depth = estimate_plane_depth(torch.from_numpy(street.label), CLASSES, camera).numpy()
            error = np.abs(depth / street.depth - 1)
            standing = np.ones(depth.shape, bool)
            for train, name in enumerate(CLASSES):
                inside = street.label == train
                if name in (*GROUND, *SKY):
                    standing &= ~inside
                if inside.sum() > 20:
                    errors[name].append(float(np.median(error[inside])))
            errors["all that stands"].append(float(np.median(error[standing])))
            errors[f"transmittance, beta {BETA} (absolute)"].append(float(np.abs(np.exp(-BETA * depth) - np.exp(-BETA * street.depth)).mean()))
            if sign > 0:
                image = torch.from_numpy(street.image).permute(2, 0, 1).contiguous()
                truth = prepare_fog(image, torch.from_numpy(street.depth), camera)
                for refine in (None, "guided"):
                    scene = prepare_fog(image, torch.from_numpy(depth), camera, truth.airlight, refine)
                    for beta in (0.005, BETA):
                        gap = (scene.render(beta).float() - truth.render(beta).float()).abs().mean()
                        errors[f"fog {beta}, refine {refine}"].append(float(gap) / 100)  # printed in hundredths
        print(f"{title}, {count} streets of 512 x 256: median and 90 % quantile over streets, %; of fog in grey levels")
        for name, values in errors.items():
            print(f"{name:36}{100 * np.median(values):8.1f}{100 * np.quantile(values, 0.9):8.1f}")


if __name__ == "__main__":
    main()
