"""A process that performs runs of a study: `python -m segshift.study.worker`.

Jobs come on standard input, messages go to standard output, one JSON object a line. What libraries print goes to standard error, the log.
When the driver is gone, standard input ends and so does this process, at once: every run can be resumed.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from dataclasses import asdict

from segshift.study.jobs import Job, Message, perform


def main() -> None:
    """Performs jobs until the driver says no more."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Standard input stays free: the loading processes that a run forks close it, and would wait for a thread that reads it.
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    sent = threading.Lock()
    jobs: queue.Queue[Job] = queue.Queue()

    def send(message: Message) -> None:
        with sent:
            channel.write(json.dumps(asdict(message)) + "\n")
            channel.flush()

    def read() -> None:
        for line in orders:
            jobs.put(Job(**json.loads(line)))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        perform(jobs.get(), send)


if __name__ == "__main__":
    main()
