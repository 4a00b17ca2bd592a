"""Menus that the keyboard reaches in JupyterLab."""

from __future__ import annotations

import anywidget


class MenuKeys(anywidget.AnyWidget):
    """Lets the menus of a lab have the keys that are pressed in them; it shows nothing itself.

    JupyterLab reads keys that are pressed in an output as commands to the notebook, unless someone
    writes there: an arrow would leave the menu for the next cell, and the letter m, meant for a
    style, would turn the lab's cell into text. So such keys end where they were pressed. Those with
    Ctrl, Alt or the command key stay JupyterLab's.
    """

    _esm = """
    function keep(event) {
        const command = event.ctrlKey || event.altKey || event.metaKey;
        if (!command && event.target.matches('[class*="nst-"] select')) event.stopPropagation();
    }
    export default {
        render() {
            window.addEventListener("keydown", keep, true);
            return () => window.removeEventListener("keydown", keep, true);
        }
    };
    """

    def __init__(self) -> None:
        super().__init__(layout={"display": "none"})
