"""The sum of the ONNX project's cases that were run."""


def pytest_terminal_summary(terminalreporter):
    """Print how many cases passed and how many were refused with a reason, of all."""
    said = [dict(report.user_properties) for report in terminalreporter.stats.get("passed", ())]
    counts = [(each["passed"], each["refused"]) for each in said if "refused" in each]
    if counts:
        passed, refused = map(sum, zip(*counts))
        terminalreporter.write_line(f"ONNX conformance: {passed + refused} of {passed + refused} cases: {passed} pass, "
                                    f"{refused} are refused with a reason")
