"""The results as a Markdown table."""

COLUMNS = {
    "enqueue_one": "one by one/s",
    "enqueue_bulk": "bulk/s",
    "drain": "drained/s",
    "latency": "latency p50/p99 ms",
}
REFERENCE = ("asyncflow", "postgres")
FOOTNOTE = (
    "In parentheses: times the figure of asyncflow on PostgreSQL (of the latency, the p50: less is "
    "faster). —: there is no such call, or it was not measured."
)


def table(results):
    reference = {r["scenario"]: r for r in results if (r["peer"], r["backend"]) == REFERENCE}
    rows = {}
    for result in results:
        name = "%s %s" % (result["peer"], result["version"])
        row = rows.setdefault((name, result["backend"], result["durability"]), {})
        row[result["scenario"]] = cell(result, reference.get(result["scenario"]))
    lines = [["queue", "on", "durability", *COLUMNS.values()], ["---"] * 3 + ["---:"] * 4]
    for key, row in rows.items():
        lines.append([*key, *(row.get(scenario, "—") for scenario in COLUMNS)])
    return "\n".join("| %s |" % " | ".join(line) for line in lines) + "\n\n" + FOOTNOTE


def cell(result, reference):
    figure = "per_second" if "per_second" in result else "p50_ms"
    text = "{per_second:,.0f}" if figure == "per_second" else "{p50_ms:.2f} / {p99_ms:.2f}"
    text = text.format(**result)
    if reference and reference[figure]:
        text += " (%.2f×)" % (result[figure] / reference[figure])
    return text
