"""Street scenes a second on one core, at 256 x 128, for both looks.

    python benchmarks/streets.py [--rounds 11] [--images 30]

Every round draws the same number of new scenes in each look, in turn. Printed are medians over the rounds, with the smallest and
largest in brackets. The clock counts the time that this process computes, on its one thread; the kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import statistics
import time

from segshift.data.streets import LOOKS, render_street


def main() -> None:
    """Time both looks and print images a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--images", type=int, default=30)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {look: [] for look in LOOKS}
    for look in LOOKS:
        render_street(0, 0, look=look)
    for number in range(options.rounds):
        for look in LOOKS:
            start = time.process_time()
            for index in range(number * options.images, (number + 1) * options.images):
                render_street(0, index, look=look)
            rates[look].append(options.images / (time.process_time() - start))
    for look, found in rates.items():
        print(f"{look:8} {statistics.median(found):6.1f} images/s [{min(found):.1f} to {max(found):.1f}]")


if __name__ == "__main__":
    main()
