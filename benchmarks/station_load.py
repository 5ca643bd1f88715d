"""What `benchmarks/station.py` has Locust send: photographs of a folder, as raw bodies, at a rate or without a pause.

Settings come by environment: `LOAD_PHOTOS` (a folder), `LOAD_RATE` (requests a second of each user; 0 for no pause),
`LOAD_CATEGORY` (empty for none), `LOAD_TOKEN` (for a station that asks for one).
"""

import os
import random
from pathlib import Path

import gevent
from locust import FastHttpUser, task

PHOTOS = [
    file.read_bytes()
    for file in sorted(Path(os.environ["LOAD_PHOTOS"]).rglob("*"))
    if file.suffix.lower() in (".png", ".jpg", ".jpeg") and "ground_truth" not in file.parts
]
RATE = float(os.environ["LOAD_RATE"])
QUERY = f"?category={category}" if (category := os.environ.get("LOAD_CATEGORY", "")) else ""

TOKEN = os.environ.get("LOAD_TOKEN", "")
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}


class Line(FastHttpUser):
    """A line controller that sends a photograph and waits for its verdict."""

    connection_timeout = network_timeout = 120.0

    def wait_time(self) -> float:
        """Seconds to the next part: parts come at random, and lines do not send in step."""
        return random.expovariate(RATE) if RATE else 0.0

    def on_start(self) -> None:
        """Begin at a moment of its own."""
        gevent.sleep(self.wait_time())

    @task
    def inspect(self) -> None:
        """One part."""
        photo = random.choice(PHOTOS)
        sent = {"data": photo, "headers": HEADERS, "name": "answered", "catch_response": True}
        with self.client.post(f"/v1/inspections{QUERY}", **sent) as answer:
            if answer.status_code == 503:
                answer.request_meta["name"] = "busy"  # refused at once, with the time to come back
                answer.success()
            elif answer.status_code != 201:
                answer.failure(f"status {answer.status_code}")
