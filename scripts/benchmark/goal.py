"""What is hoped for of a figure, and whether it came."""


def most(bound):
    return {"most": bound}


def least(bound):
    return {"least": bound}


def said(goal):
    """As it stands in tables."""
    return f"≤ {goal['most']:,}" if "most" in goal else f"≥ {goal['least']:,}"


def judged(value, goal):
    """In words; nothing where there is no goal."""
    if not goal:
        return ""
    met = value <= goal["most"] if "most" in goal else value >= goal["least"]
    return f"{'met' if met else 'missed'}: {said(goal)}"


def figure(server, what, values, unit="", goal=None):
    """One line of the second table: `values` are what several goes gave, of which the median counts."""
    return {"server": server, "what": what, "values": list(values), "unit": unit, "goal": goal}
