"""Chromium, driven as a reader would: what a page asks for, says, shows, and how it takes to the keyboard."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOREIGN = "foreign.example"
"""A name that leads the browser to this machine, as that of a hostile page may."""


@dataclass
class Browser:
    """A browser and the page that is open in it."""

    driver: Any

    def open(self, where: Path | str, *, width: int = 1600, scheme: str = "light", height: int = 1000) -> None:
        """Open a file or an address, in a window of a width and under a colour scheme."""
        self.resize(width, height)
        self.prefer(scheme)
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.get(where.resolve().as_uri() if isinstance(where, Path) else where)

    def resize(self, width: int, height: int = 1000) -> None:
        """Set the size of the window's inside, pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str) -> None:
        """Set what the reader prefers: `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a piece of JavaScript."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """What the page said since it was opened, or was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since then; what stands in the page itself is not asked for."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = (m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent")
        return [address for address in sent if not address.startswith(("data:", "blob:"))]

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def point_at(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self.run("return document.querySelector(arguments[0])", selector)
        ActionChains(self.driver).move_to_element(element).perform()

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """The first true value of a condition; fails after so many seconds."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            time.sleep(0.05)
        return value
