"""What the scripts of widgets have in common."""

HELPERS = """
    // Where the arrow keys lead: to the right, and down.
    const STEPS = {
        ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]
    };

    function part(parent, tag, kind, text = "") {
        const made = document.createElement(tag);
        made.className = kind;
        made.textContent = text;
        parent.append(made);
        return made;
    }
"""


def with_helpers(script: str) -> str:
    """Return a widget's script with ``STEPS`` and ``part(parent, tag, kind, text)`` before it.

    Example:
        >>> "function part(" in with_helpers('part(el, "div", "nst-pad");')
        True
    """
    return HELPERS + script
