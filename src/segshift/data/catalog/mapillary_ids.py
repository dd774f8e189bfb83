"""The ids of Mapillary Vistas (a label's place in its config.json), and which of Cityscapes' 19 classes they become.

The mapping of v1.2 is that of RobustNet (Choi et al. 2021): lane markings and manholes are road, curbs are sidewalk, all riders are rider,
vehicles on rails are train. v2.0 splits those classes; its parts follow the class that they come from.
"""

from __future__ import annotations

from segshift.data.catalog.spaces import CITYSCAPES
from segshift.data.label_space import VOID

CLASSES_V1_2 = """
    bird, ground-animal, curb, fence, guard-rail, barrier, wall, bike-lane, crosswalk-plain, curb-cut, parking, pedestrian-area, rail-track, road,
    service-lane, sidewalk, bridge, building, tunnel, person, bicyclist, motorcyclist, other-rider, marking-crosswalk, marking-general, mountain, sand,
    sky, snow, terrain, vegetation, water, banner, bench, bike-rack, billboard, catch-basin, cctv-camera, fire-hydrant, junction-box, mailbox, manhole,
    phone-booth, pothole, street-light, pole, traffic-sign-frame, utility-pole, traffic-light, traffic-sign-back, traffic-sign-front, trash-can, bicycle,
    boat, bus, car, caravan, motorcycle, on-rails, other-vehicle, trailer, truck, wheeled-slow, car-mount, ego-vehicle, unlabeled
"""

CLASSES_V2_0 = """
    bird, ground-animal, barrier-ambiguous, concrete-block, curb, fence, guard-rail, other-barrier, road-median, road-side, separator, barrier-temporary,
    wall, bike-lane, crosswalk-plain, curb-cut, driveway, parking, parking-aisle, pedestrian-area, rail-track, road, road-shoulder, service-lane,
    sidewalk, traffic-island, bridge, building, garage, tunnel, person, person-group, bicyclist, motorcyclist, other-rider, marking-dashed,
    marking-solid, marking-zigzag, marking-ambiguous, arrow-left, arrow-other, arrow-right, arrow-split-left-or-straight,
    arrow-split-right-or-straight, arrow-straight, crosswalk-zebra, give-way-row, give-way-single, hatched-chevron, hatched-diagonal, other-marking,
    stop-line, symbol-bicycle, symbol-other, marking-text, only-dashed, only-crosswalk-zebra, only-other-marking, only-text, mountain, sand, sky, snow,
    terrain, vegetation, water, banner, bench, bike-rack, catch-basin, cctv-camera, fire-hydrant, junction-box, mailbox, manhole, parking-meter,
    phone-booth, pothole, sign-advertisement, sign-ambiguous, sign-back, sign-information, sign-other, sign-store, street-light, pole, pole-group,
    traffic-sign-frame, utility-pole, traffic-cone, light-general-single, light-pedestrians, light-general-upright, light-general-horizontal,
    light-cyclists, light-other, traffic-sign-ambiguous, traffic-sign-back, direction-back, direction-front, traffic-sign-front,
    information-parking, temporary-back, temporary-front, trash-can, bicycle, boat, bus, car, caravan, motorcycle, on-rails, other-vehicle, trailer,
    truck, vehicle-group, wheeled-slow, water-valve, car-mount, dynamic, ego-vehicle, ground, static, unlabeled
"""

MEMBERS = {
    "road": """road, manhole, marking-general, marking-dashed, marking-solid, marking-zigzag, marking-ambiguous, arrow-left, arrow-other, arrow-right,
        arrow-split-left-or-straight, arrow-split-right-or-straight, arrow-straight, give-way-row, give-way-single, hatched-chevron, hatched-diagonal,
        other-marking, stop-line, symbol-bicycle, symbol-other, marking-text, only-dashed, only-other-marking, only-text""",
    "sidewalk": "sidewalk, curb",
    "building": "building, garage",
    "wall": "wall",
    "fence": "fence",
    "pole": "pole, utility-pole",
    "traffic light": """traffic-light, light-general-single, light-pedestrians, light-general-upright, light-general-horizontal, light-cyclists,
        light-other""",
    "traffic sign": "traffic-sign-front, direction-front, information-parking, temporary-front",
    "vegetation": "vegetation",
    "terrain": "terrain",
    "sky": "sky",
    "person": "person, person-group",
    "rider": "bicyclist, motorcyclist, other-rider",
    "car": "car",
    "truck": "truck",
    "bus": "bus",
    "train": "on-rails",
    "motorcycle": "motorcycle",
    "bicycle": "bicycle",
}
"""Class of Cityscapes -> those of Mapillary, of either version; the others are void."""


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def ids_of(classes: str) -> dict[int, int]:
    """Raw id -> train id of the 19 classes."""
    train_ids = {member: CITYSCAPES.classes.index(name) for name, members in MEMBERS.items() for member in words(members)}
    return {raw: train_ids.get(name, VOID) for raw, name in enumerate(words(classes))}


V1_2 = ids_of(CLASSES_V1_2)
V2_0 = ids_of(CLASSES_V2_0)
