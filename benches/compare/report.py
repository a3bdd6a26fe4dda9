"""The section of docs/performance.md and its pictures, from the results."""
import math
import re

BEGIN = "<!-- Written by benches/compare/run from here on. -->"
END = "<!-- Written by benches/compare/run up to here. -->"
COLOURS = ["#b2182b", "#2166ac", "#1a9850", "#666666"]


def picture(title, x_name, y_name, series, is_linear=False):
    """A plot with a logarithmic or a linear x: a line for each series, which has a name and points."""
    width, height, left, right, top, bottom = 640, 320, 70, 24, 58, 44
    points = [point for _, line in series for point in line]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    most = nice(max(y for _, y in points))

    def x_at(x):
        if is_linear:
            return left + (width - left - right) * x / high
        span = math.log(high / low) or 1
        return left + (width - left - right) * math.log(x / low) / span

    def y_at(y):
        return height - bottom - (height - bottom - top) * y / most

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           'font-size="12">', f'<rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text x="{left}" y="20" font-size="14">{title}</text>',
           f'<text x="8" y="{top - 12}">{y_name}</text>',
           f'<text x="{width - right}" y="{height - 8}" text-anchor="end">{x_name}</text>']
    for step in range(5):
        value = most * step / 4
        out.append(f'<path d="M{left} {y_at(value):.0f}H{width - right}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y_at(value) + 4:.0f}" text-anchor="end">{number(value)}</text>')
    labelled = 2 * width
    for x in sorted({x for x, _ in points}, reverse=True):
        # On a linear axis the small numbers are too close to each other.
        if labelled - x_at(x) < 30:
            continue
        labelled = x_at(x)
        out.append(f'<path d="M{x_at(x):.0f} {top}V{height - bottom}" stroke="#eee"/>'
                   f'<text x="{x_at(x):.0f}" y="{height - bottom + 16}" text-anchor="middle">{number(x)}</text>')
    place = width - right
    for (name, line), colour in reversed(list(zip(series, COLOURS))):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        out += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in line]
        out.append(f'<text x="{place}" y="{top - 12}" text-anchor="end" fill="{colour}">{name}</text>')
        place -= 8 * len(name) + 16
    return "\n".join(out) + "\n</svg>\n"


def nice(value):
    """The next number above that four steps divide well."""
    power = 10 ** math.floor(math.log10(value or 1))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= value)


def number(value):
    """A number with three digits at least, and a space between thousands."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}".replace(",", " ")
    return text


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def skipped(part):
    return "".join(f"\nLeft out: {name} ({reason}).\n" for name, reason in part.get("skipped", {}).items())


def http(part):
    rows = [[f"`{row['path']}`", row["bytes"], row["connections"], number(row["bare"][0]), number(row["twin"][0]),
             f"{row['ratio'][0]:.2f}", number(row["bare"][1]), number(row["twin"][1]), f"{row['ratio'][1]:.2f}"]
            for row in part["rows"]]
    return ("### The device's API beside a bare hyper server\n\nThe same head and body, `wrk -t1`, on the same two "
            "cores. The ratios are medians over the rounds: of requests a second, and of the CPU of the server for a "
            "request.\n\n"
            + table(["path", "bytes", "connections", "bare", "wwsim", "ratio", "CPU bare, µs", "CPU wwsim, µs",
                     "ratio of CPU"], rows) + "\n"), {}


def peers(part):
    base = next(row for row in part["rows"] if row["name"] == "wwsim")
    rows = []
    for row in part["rows"]:
        load = {int(connections): medians for connections, medians in row["load"].items()}
        ours = {int(connections): medians for connections, medians in base["load"].items()}
        rows.append([f"{row['name']} {row['version']}", number(load[16][0]), number(load[64][0]),
                     f"{load[64][0] / ours[64][0]:.3f}", number(load[64][1]), number(row["start"]),
                     number(row["rest"]), number(row["loaded"])])
    return (f"### Beside other simulators\n\nEach answers `GET /api/v1/report` with the same {part['bytes']} bytes of "
            "JSON. The twin computes them for each reading, the others have them in their configuration. They take turns. CPU and the "
            "share of what the twin gives are those at 64 connections. WireMock keeps as many requests in its journal "
            "as the twin keeps entries, 10 000.\n\n"
            + table(["", "16 connections, a second", "64 connections", "of wwsim", "CPU, µs", "first reply after, ms",
                     "memory at rest, MB", "after load, MB"], rows) + "\n" + skipped(part)), {}


def slaves(part):
    rows = [[f"{row['name']} {row['version']}", row["connections"], number(row["load"][0]), number(row["load"][1]),
             "" if row["name"] == "wwsim" else f"{row['ratio'][0]:.2f}",
             "" if row["name"] == "wwsim" or row["ratio"][1] is None else f"{row['ratio'][1]:.2f}",
             number(row["start"]), number(row["rest"])] for row in part["rows"]]
    return ("### Slaves beside other Modbus servers\n\nReads of ten registers, each connection sends the next request "
            "when it has the reply (`benches/compare/modbus_load.c`). The journal of the twin has an entry for each.\n\n"
            + table(["", "connections", "requests a second", "CPU, µs", "wwsim gives × as many",
                     "and needs × the CPU", "ready after, ms", "memory, MB"], rows) + "\n" + skipped(part)), {}


def connections(part):
    rows = [[number(row["connections"]), number(row["bare"][0]), number(row["twin"][0]), number(row["bare"][1]),
             number(row["twin"][1])] for row in part["rows"]]
    idle = [[number(row["connections"]), number(row["memory"])] for row in part["idle"]]
    lines = [("wwsim", [(row["connections"], row["twin"][0]) for row in part["rows"]]),
             ("bare hyper", [(row["connections"], row["bare"][0]) for row in part["rows"]])]
    return ("### Growth with connections\n\n`/api/v1/report`.\n\n"
            + table(["connections", "bare, a second", "wwsim, a second", "CPU bare, µs", "CPU wwsim, µs"], rows)
            + "\n\n" + table(["kept connections", "memory, MB"], idle) + "\n"), {
        "performance-connections": ("Requests a second by connections", "connections", "1/s", lines)}


def devices(part):
    rows = [[number(row["devices"]), number(row["ready"]), number(row["memory"]), number(row.get("each")),
             number(row["cpu"])] for row in part["rows"]]
    how = "A fleet of one kind." if part["fleet"] else "A scenario with so many devices."
    return (f"### Growth with devices\n\n{how} The time includes the start of the process. CPU is at rest, in percent "
            "of a core.\n\n"
            + table(["devices", "first reply after, ms", "memory, MB", "a device, KB", "CPU, %"], rows) + "\n"), {
        "performance-devices": ("Memory by devices", "devices", "MB",
                                [("memory", [(row["devices"], row["memory"]) for row in part["rows"]])], True),
        "performance-start": ("Time until the first reply by devices", "devices", "ms",
                              [("time", [(row["devices"], row["ready"]) for row in part["rows"]])], True)}


def rules(part):
    rows = [[number(row["rules"]), number(row["api"][1]), f"{row['api_ratio'][1]:.2f}", number(row["slave"][1]),
             f"{row['slave_ratio'][1]:.2f}"] for row in part["rows"]]
    # Zero has no place on a logarithmic axis.
    lines = [(name, [(max(row["rules"], 1), row[key][1]) for row in part["rows"]])
             for name, key in (("API", "api"), ("slave", "slave"))]
    return ("### Growth with fault rules\n\nRules that do not match: a quarter each at the path that is asked with "
            "another method, at other addresses of the slave and function that are read, at another path, and at a "
            "target. CPU for a request at 16 connections, in µs.\n\n"
            + table(["rules", "`/api/v1/settings`", "of none", "read of a slave", "of none"], rows) + "\n"), {
        "performance-rules": ("CPU of a request by rules that do not match", "rules (1 stands for none)", "µs", lines)}


def live(part):
    rows = [[number(row["clients"]), number(row["events"]), number(row["core"]), number(row["cpu"]),
             number(row["memory"]), number(row["each"])] for row in part["rows"]]
    how = "a fleet on one port" if part["fleet"] else "a port for each"
    return (f"### Growth with live clients\n\nA device has one live client, so there are as many devices, {how}. A meter "
            "that sends each second, at the speed of real time.\n\n"
            + table(["clients", "events a second", "CPU, % of a core", "CPU of an event, µs", "memory, MB",
                     "a client, KB"], rows) + "\n"), {
        "performance-live": ("CPU by live clients", "clients", "% of a core",
                             [("CPU", [(row["clients"], row["core"]) for row in part["rows"]])], True)}


PARTS = [http, peers, slaves, connections, devices, rules, live]


def section(results):
    """The text of the section, and the pictures by name."""
    about = results["about"]
    text = [f"## Comparison\n\nMeasured by `benches/compare/run` on {about['machine']}; {about['rounds']} rounds of "
            f"{about['seconds']} s, medians. Versions: {about['versions']}."]
    if about["note"]:
        text.append(about["note"])
    pictures = {}
    for part in PARTS:
        if part.__name__ in results:
            words, drawn = part(results[part.__name__])
            text.append(words.rstrip())
            for name, drawing in drawn.items():
                pictures[name] = picture(*drawing)
                text.append(f"![{drawing[0]}]({name}.svg)")
    return "\n\n".join(text), pictures


def write(root, results):
    words, pictures = section(results)
    for name, drawing in pictures.items():
        (root / "docs" / f"{name}.svg").write_text(drawing)
    file = root / "docs" / "performance.md"
    text = file.read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    written = f"{BEGIN}\n\n{words}\n\n{END}"
    file.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: written, text, flags=re.DOTALL))
    return [f"docs/{name}.svg" for name in pictures]
